"""Switching a dead host's machine off, and seeing that it is off."""
