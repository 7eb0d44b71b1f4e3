"""Read-only views of what goes on: why something is in its state, and where intent, store and reality disagree."""
