"""The simulation: the real control plane, agents and keepers in one thread, on one clock, with seeded dice."""
