"""Hosts on other machines: the door that they come through, how one joins, and how it stays a member."""
