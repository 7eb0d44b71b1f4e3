"""The migrations themselves, in their order."""
