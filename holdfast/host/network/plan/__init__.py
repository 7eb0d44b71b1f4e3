"""The network of a host as data: what should exist, computed without touching anything."""
