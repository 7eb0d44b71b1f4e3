"""Migrations: what they make is what the tables declare, on both databases, and a second run does nothing.

HOLDFAST_TEST_STATEMENTS=1 kills an upgrade before each of its statements.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import MetaData, Table, delete, insert, select, text, update

from holdfast.base import ids
from holdfast.base.errors import Unavailable
from holdfast.control.store.database import Database
from holdfast.control.store.instance import instance, instance_insert
from holdfast.control.store.migrate import HEAD, MIGRATIONS, migrate, schema_version
from holdfast.control.store.tables import metadata
from holdfast.domain.instance import Flavor
from tests.conftest import HeldClock
from tests.control.test_server_status import PLAIN

STATEMENTS = 400  # more than all migrations have
KILLED_BEFORE = range(0, STATEMENTS, 1 if os.environ.get("HOLDFAST_TEST_STATEMENTS") else 57)


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


class Killed(BaseException):
    """The process that upgrades is gone."""


@pytest.mark.parametrize("points", KILLED_BEFORE)
def test_an_upgrade_that_was_killed_is_run_again_and_ends_as_if_it_had_not_been(
    points: int, empty_url: str, clock: HeldClock
) -> None:
    left = iter(range(points))

    def die_when_spent(_: str) -> None:
        if next(left, None) is None:
            raise Killed

    doomed = Database(empty_url, clock.now_us, die_when_spent)
    with suppress(Killed):
        migrate(doomed)
    doomed.close()
    store = Database(empty_url, clock.now_us)
    migrate(store)
    with store.connect_for_migration() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert schema_version(connection) == HEAD
    store.close()


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


def test_servers_that_were_there_before_have_the_priority_that_they_say(store: Database) -> None:
    made = {name: ids.new_id() for name in ("plain", "high", "lowered", "nonsense")}
    specs = {"high": {"holdfast:priority": "80"}, "lowered": {"holdfast:priority": "80"}, "nonsense": {"x": "y"}}
    words = {"lowered": {"holdfast:priority": "10"}, "nonsense": {"holdfast:priority": "first"}}
    for name, instance_id in made.items():
        flavor = Flavor("1", "f", 1, 128, 1, extra_specs=specs.get(name, {}))
        row = msgspec.structs.replace(PLAIN, id=instance_id, flavor=flavor, properties=words.get(name, {}))
        store.write(lambda tx, row=row: instance_insert(tx, row))
    said = {row[0]: row[1] for row in store.read(lambda tx: tx.all(select(instance.c.id, instance.c.priority)))}
    store.write(lambda tx: tx.run(update(instance).values(priority=50)))
    with store.connect_for_migration() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            import_module("holdfast.control.store.migrations.versions.0005_priorities").upgrade()
        connection.commit()
    after = {row[0]: row[1] for row in store.read(lambda tx: tx.all(select(instance.c.id, instance.c.priority)))}
    assert after == said == {made["plain"]: 50, made["high"]: 80, made["lowered"]: 10, made["nonsense"]: 50}


@pytest.mark.parametrize("before", [f"{number:04}" for number in range(1, int(HEAD))])
def test_what_a_release_before_reads_and_writes_it_may_on_the_new_schema(empty: Database, before: str) -> None:
    """A replica of that release may still serve: what is new has defaults, and nothing that it names is gone."""
    with empty.connect_for_migration() as connection:
        settings = Config()
        settings.set_main_option("script_location", str(MIGRATIONS))
        settings.attributes["connection"] = connection
        command.upgrade(settings, before)
        known = MetaData()
        known.reflect(connection)
        connection.commit()
    assert migrate(empty) == int(HEAD) - int(before)
    tables = [table for table in known.sorted_tables if table.name != "alembic_version"]
    with empty.connect_for_migration() as connection:
        for table in tables:
            connection.execute(insert(table).values(row_of(table)))
            found = connection.execute(select(table)).mappings().one()
            assert dict(found) == row_of(table)
            assert connection.execute(update(table).values(row_of(table))).rowcount == 1
        for table in reversed(tables):
            assert connection.execute(delete(table)).rowcount == 1
        connection.rollback()
    empty.close()
    assert len(tables) > 30


def row_of(table: Table) -> dict[str, object]:
    """Some row of a table, all columns that the old release knows."""
    kinds: dict[type, object] = {bool: True, int: 1, str: "1", bytes: b"1"}
    words = {"image.status": "active", "image.visibility": "public"}  # which the database itself checks
    return {column.name: words.get(str(column), kinds[column.type.python_type]) for column in table.columns}
