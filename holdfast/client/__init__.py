"""Speaks the public API as any client would, and nothing else."""
