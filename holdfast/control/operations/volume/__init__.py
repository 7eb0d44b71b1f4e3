"""Volumes and snapshots: the acts on them, and the rules that every API shares."""
