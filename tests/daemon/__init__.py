"""Processes of a machine, and what stands between them."""
