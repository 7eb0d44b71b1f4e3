"""Brings a store to this release's schema, and says how many steps that took.

Looking costs one query; Alembic is imported only when there is something to do. Two `up`s at once: the second
waits for the first (SQLite's writer lock, PostgreSQL's advisory lock) and then finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from holdfast.base.errors import Unavailable
from holdfast.control.store.database import Database

HEAD = "0010"  # the newest migration; a test compares it with the files
MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_NUMBER = 7_240_913  # of the advisory lock; any number that nobody else takes


def migrate(store: Database) -> int:
    """Run what is missing and return how many migrations that were."""
    with _alone(store), store.connect_for_migration() as connection:
        before = schema_version(connection)
        if before == HEAD:
            return 0
        if before > HEAD:
            raise Unavailable(
                f"the store is of a newer release (schema {before}, this one knows {HEAD}); use that release",
                code="store_newer",
            )
        _upgrade(connection)
        return int(HEAD) - int(before)


def schema_version(connection: Connection) -> str:
    """The last migration that was run; 0000 for an empty store."""
    if not inspect(connection).has_table("alembic_version"):
        return "0000"
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "0000")


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.attributes["connection"] = connection
    command.upgrade(settings, HEAD)
    connection.commit()


@contextmanager
def _alone(store: Database) -> Iterator[None]:
    if not store.is_sqlite:
        # on a connection of its own: a snapshot that is older than the lock would not see what the other did
        with store.connect_for_migration().execution_options(isolation_level="AUTOCOMMIT") as keeper:
            keeper.execute(text(f"SELECT pg_advisory_lock({_LOCK_NUMBER})"))
            try:
                yield
            finally:
                keeper.execute(text(f"SELECT pg_advisory_unlock({_LOCK_NUMBER})"))
        return
    with store.writers_held():  # also those of a release before this one, which may be running
        yield
