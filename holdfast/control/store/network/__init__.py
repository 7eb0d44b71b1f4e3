"""Tables and queries of the network service."""
