"""Placement, read only: a view of hosts, promises and the scheduler's rooms."""
