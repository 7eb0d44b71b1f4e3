"""Servers that change their host: migrated, moved live, evacuated; and the record of it."""
