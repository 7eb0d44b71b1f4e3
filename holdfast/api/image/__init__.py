"""The image API, as Glance v2 speaks it."""
