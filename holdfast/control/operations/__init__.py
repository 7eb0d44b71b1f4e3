"""Durable acts: the engine, the registry of steps, and one file per act; rules that several APIs share."""
