"""Numbered changes of the schema, run by Alembic: each is small, and the release before it runs on its result."""
