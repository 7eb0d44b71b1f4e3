"""Statements that are executed again and again, straight on SQLite's own connection.

SQLAlchemy needs ten times as long for a statement as SQLite does. What a module built once is therefore compiled once,
and from its second use on only its values are bound and its rows converted here, by the same converters. A list of
values, which IN takes, is one value then, whatever its length: JSON. A statement built for one use goes through
SQLAlchemy, and so does all of PostgreSQL. Errors are the same exceptions, and whoever listens for statements hears
these too.
"""

from __future__ import annotations

import json
import re
import sqlite3
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import Connection

from holdfast.control.store.sqlite.transaction import execute_on_driver


@dataclass(frozen=True, slots=True)
class Prepared:
    """One compiled statement."""

    sql: str
    names: tuple[str, ...]  # of its values, in their order
    fixed: Mapping[str, Any]  # those that the statement itself says
    binds: Mapping[str, Callable[[Any], Any]]  # by name: how a value is written
    reads: tuple[tuple[int, Callable[[Any], Any]], ...]  # by column: how it is read, where it is not just taken
    has_rows: bool


_LIST = re.compile(r"__\[POSTCOMPILE_(\w+)\]")  # where SQLAlchemy writes a question mark for each value
_ANY_OF = "SELECT value FROM json_each(?)"
_seen: weakref.WeakKeyDictionary[Executable, dict[tuple[str, ...], Prepared | None]] = weakref.WeakKeyDictionary()


def prepared(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> Prepared | None:
    """The compiled form of a statement that was met before; None: let SQLAlchemy execute it."""
    forms = _seen.get(statement)
    if forms is None:
        _seen[statement] = {}
        return None
    names = tuple(values)
    if names not in forms:
        forms[names] = _compile(connection, statement, names)
    return forms[names]


def rows_of(connection: Connection, form: Prepared, values: Mapping[str, Any]) -> list[Sequence[Any]]:
    """Execute, and return every row."""
    found: list[Any] = _execute(connection, form, values).fetchall()
    if not form.reads:
        return found
    rows: list[Any] = [list(row) for row in found]
    for row in rows:
        for index, read in form.reads:
            row[index] = read(row[index])
    return rows


def touched_by(connection: Connection, form: Prepared, values: Mapping[str, Any]) -> int:
    """Execute, and return how many rows were touched."""
    return _execute(connection, form, values).rowcount


def _execute(connection: Connection, form: Prepared, values: Mapping[str, Any]) -> sqlite3.Cursor:
    if not connection.in_transaction():
        connection.begin()
    given = {**form.fixed, **values}
    for name, bind in form.binds.items():
        given[name] = bind(given[name])
    return execute_on_driver(connection, form.sql, tuple([given[name] for name in form.names]))


def _compile(connection: Connection, statement: Any, names: tuple[str, ...]) -> Prepared | None:
    compiled = statement.compile(dialect=connection.dialect, column_keys=list(names))
    sql, lists = str(compiled), set(_LIST.findall(str(compiled)))
    awkward = (compiled.escaped_bind_names, compiled.insert_prefetch, len(lists) < len(compiled.post_compile_params))
    if any(awkward) or compiled.update_prefetch or compiled.positiontup is None:
        return None
    columns = compiled._result_columns
    if compiled.implicit_returning or (statement.is_dml and compiled.returning_precedes_values):
        return None
    converters = [column.type._cached_result_processor(connection.dialect, None) for column in columns]
    wanted = set(compiled.positiontup)
    binds = {name: bind for name, bind in compiled._bind_processors.items() if name in wanted}
    return Prepared(
        sql=_LIST.sub(_ANY_OF, sql),
        names=tuple(compiled.positiontup),
        fixed={name: value for name, value in compiled.construct_params(_check=False).items() if name in wanted},
        binds=binds | {name: _listed(binds.get(name)) for name in lists},
        reads=tuple((index, read) for index, read in enumerate(converters) if read is not None),
        has_rows=bool(columns),
    )


def _listed(bind: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """How a list is written whose values are written by `bind`."""
    return lambda values: json.dumps(list(values) if bind is None else [bind(value) for value in values])
