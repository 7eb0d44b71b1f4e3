"""Block storage as Cinder v3 speaks it."""
