"""Transactions of SQLite straight on its own connection: parts that are undone alone, and one that SQLite undid itself.

Errors are SQLAlchemy's exceptions, and whoever listens for statements hears these too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what the block wrote, and nothing else, if it raises. What is no Exception ends the whole transaction."""
    if not connection.in_transaction():
        connection.begin()
    require_open(connection)  # outside of one it would begin one, and the release would be the commit
    execute_on_driver(connection, "SAVEPOINT part")
    try:
        yield
    except Exception:
        execute_on_driver(connection, "ROLLBACK TO SAVEPOINT part")
        execute_on_driver(connection, "RELEASE SAVEPOINT part")  # it is still there: what is around this would end here
        raise
    execute_on_driver(connection, "RELEASE SAVEPOINT part")


def require_open(connection: Connection) -> None:
    """Raise unless the transaction is still there: SQLite ends it by itself after some failures, like a full disk, and
    a commit would then say that what it held is durable."""
    driver: Any = connection.connection.driver_connection
    if not driver.in_transaction:
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("the transaction was undone after a failure"))


def execute_on_driver(connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
    """Execute it as it stands, with its listeners told and the exceptions of SQLAlchemy."""
    for listener in connection.dispatch.before_cursor_execute:
        listener(connection, None, sql, parameters, None, False)
    driver: Any = connection.connection.driver_connection
    try:
        cursor: sqlite3.Cursor = driver.execute(sql, parameters)
    except sqlite3.Error as err:
        raise DBAPIError.instance(sql, parameters, err, sqlite3.Error, hide_parameters=True) from err
    return cursor
