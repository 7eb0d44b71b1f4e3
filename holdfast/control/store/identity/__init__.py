"""Tables and queries of identity."""
