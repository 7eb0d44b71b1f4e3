"""Statements that SQLite is given without SQLAlchemy mean what they mean with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.base.errors import Unavailable
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.operation import COLUMNS, operation, operation_insert, operation_next_due, operations_claim
from holdfast.control.store.quota import quota
from holdfast.control.store.sqlite.prepared import prepared
from holdfast.domain.operation import Operation, OperationState
from tests.conftest import HeldClock, open_store

BY_STATE = select(*COLUMNS).where(operation.c.state == bindparam("state"), operation.c.data.is_not(None))
AMONG = select(*COLUMNS).where(
    operation.c.state.in_(bindparam("states", expanding=True)), operation.c.resource_id.not_in(["b"])
)
NOBODY: Any = {"project_id": "", "user_id": "", "request_id": "", "deadline_s": 1}
ENDED = update(operation).where(operation.c.id == bindparam("of")).values(waiting_for="no more", attempts=7)
TWICE = insert(quota)


@pytest.fixture
def embedded(tmp_path: Path, clock: HeldClock) -> Iterator[Database]:
    database = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}", clock)
    yield database
    database.close()


def accepted(database: Database, name: str) -> Operation:
    words = {"project_id": "p", "user_id": "u", "request_id": "r", "deadline_s": 300, "data": {"of": [name, 1]}}
    return database.write(lambda tx: operation_insert(tx, kind="k", step="s", resource_id=name, **words))  # type: ignore[arg-type]


def test_a_statement_answers_the_same_the_first_time_and_later(embedded: Database) -> None:
    made = accepted(embedded, "a")
    values = {"state": made.state}
    answers = [embedded.read(lambda tx: tx.structs(Operation, BY_STATE, values)) for _ in range(3)]
    assert embedded.read(lambda tx: prepared(tx._connection, BY_STATE, values)) is not None, "it is not prepared"
    assert answers == [[made]] * 3
    touched = [embedded.write(lambda tx: tx.run(ENDED, {"of": made.id})) for _ in range(3)]
    assert touched == [1, 1, 1]
    (after,) = embedded.read(lambda tx: tx.structs(Operation, BY_STATE, values))
    assert (after.attempts, after.waiting_for, after.data) == (7, "no more", {"of": ["a", 1]})


def test_a_list_of_any_length_finds_the_same_the_first_time_and_later(embedded: Database) -> None:
    made = accepted(embedded, "a")
    accepted(embedded, "b")

    def among(*states: Any) -> list[Operation]:
        return embedded.read(lambda tx: tx.structs(Operation, AMONG, {"states": list(states)}))

    ended = [state for state in OperationState if state != made.state]
    assert among(made.state) == [made], "not even SQLAlchemy finds it"
    assert embedded.read(lambda tx: prepared(tx._connection, AMONG, {"states": []})) is not None, "it is not prepared"
    assert [among(made.state), among(*ended, made.state), among(*ended), among()] == [[made], [made], [], []]


def test_what_a_statement_breaks_is_the_same_error_the_first_time_and_later(embedded: Database) -> None:
    row: dict[str, Any] = {"project_id": "p", "resource": "instances", "limit_value": 1}
    row = {column.name: row.get(column.name, 1) for column in quota.c}
    embedded.write(lambda tx: tx.run(TWICE, row))
    for _ in range(2):
        with pytest.raises(IntegrityError):
            embedded.write(lambda tx: tx.run(TWICE, row))


def test_a_write_alone_that_raises_leaves_nothing(embedded: Database) -> None:
    def half(tx: Tx) -> None:
        operation_insert(tx, kind="k", step="s", resource_id="a", **NOBODY)
        raise KeyError("the other half")

    with pytest.raises(KeyError):
        embedded.write(half)
    assert embedded.read(operation_next_due) is None


def test_a_write_that_raises_after_a_failed_part_leaves_nothing(embedded: Database) -> None:
    def half(tx: Tx) -> None:
        operation_insert(tx, kind="k", step="s", resource_id="a", **NOBODY)
        with contextlib.suppress(KeyError):
            tx.attempt(lambda: {}["a part"])
        raise ValueError("the whole")

    with pytest.raises(ValueError, match="whole"):
        embedded.write(half)
    assert embedded.read(operation_next_due) is None


def test_a_write_that_sqlite_undid_with_another_ones_failure_is_not_said_to_be_durable(embedded: Database) -> None:
    """After some failures, like a full disk, SQLite ends the whole transaction by itself."""

    def good(tx: Tx) -> None:
        operation_insert(tx, kind="k", step="s", resource_id="a", **NOBODY)

    def fails(tx: Tx) -> None:
        tx._connection.connection.driver_connection.execute("ROLLBACK")  # type: ignore[union-attr]
        raise OSError("no space")

    answers = embedded.write_each([good, fails, good])
    assert embedded.read(operation_next_due) is None
    told = [isinstance(answer, Unavailable) for answer in answers]
    assert told == [True, True, True], "one was answered as if it were there"
    embedded.write(good)
    assert embedded.read(operation_next_due) is not None


def test_what_another_worker_holds_is_due_when_its_lease_is_over(embedded: Database, clock: HeldClock) -> None:
    accepted(embedded, "a")
    assert embedded.read(operation_next_due) == clock.now_us()
    (claimed,) = embedded.write(lambda tx: operations_claim(tx, "another"))
    assert embedded.read(operation_next_due) == claimed.lease_until_us > clock.now_us()
