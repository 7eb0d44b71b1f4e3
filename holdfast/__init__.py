"""Holdfast: a compute cloud that does not let go. See ARCHITECTURE.md for the map."""

VERSION = "0.1.0"
