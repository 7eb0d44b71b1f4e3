"""Migrations: what they make is what the tables declare, on both databases, and a second run does nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from holdfast.base.errors import Unavailable
from holdfast.control.store.database import Database
from holdfast.control.store.migrate import HEAD, MIGRATIONS, migrate, schema_version
from holdfast.control.store.tables import metadata
from tests.conftest import HeldClock


@pytest.fixture
def empty(empty_url: str, clock: HeldClock) -> Database:
    return Database(empty_url, clock.now_us)


def test_migrations_make_exactly_what_the_tables_declare(empty: Database) -> None:
    assert migrate(empty) == int(HEAD)
    with empty.connect_for_migration() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    empty.close()


def test_a_second_run_does_nothing(empty: Database) -> None:
    migrate(empty)
    assert migrate(empty) == 0
    empty.close()


def test_two_at_once_make_one_schema(empty_url: str, clock: HeldClock) -> None:
    counts: list[int] = []

    def run() -> None:
        store = Database(empty_url, clock.now_us)
        counts.append(migrate(store))
        store.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, int(HEAD)]


def test_a_store_of_a_newer_release_is_refused_and_left_alone(empty: Database) -> None:
    migrate(empty)
    with empty.connect_for_migration() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    with pytest.raises(Unavailable, match="newer release"):
        migrate(empty)
    with empty.connect_for_migration() as connection:
        assert schema_version(connection) == "9999"
    empty.close()


def test_the_newest_migration_is_the_one_that_is_named() -> None:
    files = sorted(path.name for path in Path(MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert files[-1].startswith(HEAD)
