"""Volumes, their snapshots, who has them, and what hosts say of their files."""
