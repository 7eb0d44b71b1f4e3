"""Nouns and rules, pure: no I/O, no clock of its own, no randomness, so that every path is a unit test."""
