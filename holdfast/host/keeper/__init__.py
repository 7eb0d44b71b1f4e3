"""The keeper: a small process that owns the host's lease, and ends the guests of a host that lost it."""
