"""Lists of network objects: any attribute filters, any column sorts, and a page is one query.

A page is found by its marker's own values (never by an offset), and the id ends every order: what was on one
page is never on the next, whatever is added or deleted in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from holdfast.base.errors import BadInput, Bug, NotFound
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata

T = TypeVar("T")
Clause = Callable[[Sequence[str]], ColumnElement[bool]]


class Listing(msgspec.Struct, frozen=True):
    """What a list request asks for: `filters` are (attribute, any of these), `sort` are (attribute, descending)."""

    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    limit: int = 0  # 0: the largest page there is
    marker: str = ""  # id of the last one seen
    reverse: bool = False  # the page before the marker


network_tag = Table(
    "network_tag",
    metadata,
    Column("object_id", String, primary_key=True),
    Column("tag", String, primary_key=True),
)


def resource_columns() -> list[Column[Any]]:
    """The columns that every network object has."""
    return [
        Column("id", String, primary_key=True),
        Column("project_id", String, nullable=False, index=True),
        Column("description", String, nullable=False),
        instant("created_us"),
        instant("updated_us"),
        Column("revision", Integer, nullable=False),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Listable:
    """A kind of object: its table, the columns behind the attributes of the API, and the filters that have none.

    There is one of each for the life of the process, so that what is built from it may be kept.
    """

    kind: type[Any]
    table: Table
    noun: str  # of its errors: Network
    columns: Mapping[str, Column[Any]]
    clauses: Mapping[str, Clause] = field(default_factory=dict)

    def select(self) -> Select[Any]:
        """Every column of the struct, in its order."""
        return select(*[self.table.c[name] for name in self.kind.__struct_fields__])


def object_list(tx: Tx, listable: Listable, listing: Listing, *where: ColumnElement[bool]) -> list[Any]:
    """One page of what is asked for."""
    statement = listable.select().where(*where, *[_clause(listable, *item) for item in listing.filters])
    order = _order(listable, listing)
    if listing.marker:
        statement = statement.where(_beyond(tx, listable, order, listing.marker))
    statement = statement.order_by(*[column.desc() if down else column.asc() for column, down in order])
    rows = tx.structs(listable.kind, statement.limit(listing.limit or PAGE_ROWS))
    return rows[::-1] if listing.reverse else rows


def object_where(tx: Tx, listable: Listable, *where: ColumnElement[bool]) -> list[Any]:
    """Every object for which it holds, in the order they were made."""
    table = listable.table
    return tx.structs(listable.kind, listable.select().where(*where).order_by(table.c.created_us, table.c.id))


def objects_in(tx: Tx, listable: Listable, column: Column[Any], values: Sequence[str]) -> list[Any]:
    """Every object whose column has one of the values, in the order they were made."""
    return tx.structs(listable.kind, _in(listable, column), {"values": list(values)}) if values else []


def object_fetch(tx: Tx, listable: Listable, object_id: str) -> Any:
    """The object, or None."""
    return tx.struct(listable.kind, _by_id(listable), {"object_id": object_id})


def object_fetch_where(tx: Tx, listable: Listable, object_id: str, *where: ColumnElement[bool]) -> Any:
    """The object if all of it holds, or None."""
    return tx.struct(listable.kind, listable.select().where(listable.table.c.id == object_id, *where))


def object_insert(tx: Tx, listable: Listable, made: Any) -> None:
    """Write a new one."""
    tx.run(insert(listable.table), {name: getattr(made, name) for name in listable.kind.__struct_fields__})


def object_update(tx: Tx, listable: Listable, object_id: str, changes: Mapping[str, Any] | None = None) -> None:
    """Write the changes, as a new revision."""
    values = {**(changes or {}), "updated_us": tx.now_us}
    statement = _update_of(listable.table, tuple(values))
    tx.run(statement, {"object_id": object_id, **{f"new_{name}": value for name, value in values.items()}})


def object_delete(tx: Tx, listable: Listable, object_id: str) -> None:
    """Forget it and its tags."""
    tx.run(delete(network_tag).where(network_tag.c.object_id == object_id))
    tx.run(delete(listable.table).where(listable.table.c.id == object_id))


def object_count(tx: Tx, listable: Listable, project_id: str) -> int:
    """How many a project has, for its quota."""
    return int(tx.value(_count_of(listable.table), {"project_id": project_id}))


def tags_of(tx: Tx, object_ids: Sequence[str]) -> dict[str, list[str]]:
    """The tags of each object, sorted."""
    if not object_ids:
        return {}
    statement = select(network_tag.c.object_id, network_tag.c.tag).where(network_tag.c.object_id.in_(object_ids))
    found: dict[str, list[str]] = {}
    for object_id, tag in tx.all(statement.order_by(network_tag.c.tag)):
        found.setdefault(object_id, []).append(tag)
    return found


def tags_set(tx: Tx, object_id: str, tags: Sequence[str]) -> None:
    """Make these the tags of an object."""
    tx.run(delete(network_tag).where(network_tag.c.object_id == object_id))
    tx.run(insert(network_tag), [{"object_id": object_id, "tag": tag} for tag in sorted(set(tags))])


# statements that are made for every server and port: building one costs more than running it, so each is kept


@cache
def _by_id(listable: Listable) -> Select[Any]:
    return listable.select().where(listable.table.c.id == bindparam("object_id"))


@cache
def _in(listable: Listable, column: Column[Any]) -> Select[Any]:
    table = listable.table
    statement = listable.select().where(column.in_(bindparam("values", expanding=True)))
    return statement.order_by(table.c.created_us, table.c.id)


@cache
def _update_of(table: Table, names: tuple[str, ...]) -> Update:
    values: dict[str, ColumnElement[Any]] = {name: bindparam(f"new_{name}") for name in names}
    statement = update(table).where(table.c.id == bindparam("object_id"))
    return statement.values({**values, "revision": table.c.revision + 1})


@cache
def _count_of(table: Table) -> Select[Any]:
    return select(func.count()).select_from(table).where(table.c.project_id == bindparam("project_id"))


# filters


def _clause(listable: Listable, attribute: str, values: Sequence[str]) -> ColumnElement[bool]:
    if attribute in listable.clauses:
        return listable.clauses[attribute](values)
    if attribute in ("tags", "tags-any", "not-tags", "not-tags-any"):
        return _tagged(listable.table, attribute, [tag for value in values for tag in value.split(",")])
    column = listable.columns.get(attribute)
    if column is None:
        raise BadInput(f"[{attribute[:64]!r}] is invalid attribute for filtering", code="HTTPBadRequest")
    return column.in_([_read(attribute, column, value) for value in values])


def _tagged(table: Table, word: str, tags: Sequence[str]) -> ColumnElement[bool]:
    def has(wanted: Sequence[str]) -> ColumnElement[bool]:
        return table.c.id.in_(select(network_tag.c.object_id).where(network_tag.c.tag.in_(wanted)))

    found = has(tags) if word.endswith("any") else and_(*[has([tag]) for tag in tags])
    return ~found if word.startswith("not") else found


def _read(attribute: str, column: Column[Any], value: str) -> Any:
    """A filter's text as the column's type."""
    if isinstance(column.type, Boolean):
        if value.lower() not in ("true", "false", "1", "0"):
            raise BadInput(f"Invalid input for {attribute}. '{value[:64]}' is not boolean.", code="HTTPBadRequest")
        return value.lower() in ("true", "1")
    if isinstance(column.type, Integer):
        if value in ("", "None", "null"):
            return -1  # how these columns say "none"
        if not value.lstrip("-").isdigit() or len(value) > 9:
            raise BadInput(f"Invalid input for {attribute}. '{value[:64]}' is not an integer.", code="HTTPBadRequest")
        return int(value)
    return value.lower() if attribute == "mac_address" else value


def always(word: str) -> Clause:
    """A filter on an attribute that every object has with this value."""
    return lambda values: true() if word in {value.upper() for value in values} else false()


def one_of(column: Column[Any], words: Mapping[str, bool]) -> Clause:
    """A filter on a word that a column of yes and no is shown as."""
    return lambda values: column.in_([words[value.upper()] for value in values if value.upper() in words])


# order and pages


def _order(listable: Listable, listing: Listing) -> list[tuple[Column[Any], bool]]:
    order: list[tuple[Column[Any], bool]] = []
    for attribute, down in listing.sort:
        column = listable.columns.get(attribute)
        if column is None:
            raise BadInput(f"[{attribute[:64]!r}] is invalid attribute for sort_keys", code="HTTPBadRequest")
        order.append((column, down))
    table = listable.table
    order += [] if order else [(table.c.created_us, False)]
    if all(column is not table.c.id for column, _ in order):
        order.append((table.c.id, False))
    return [(column, down != listing.reverse) for column, down in order]


def _beyond(tx: Tx, listable: Listable, order: Sequence[tuple[Column[Any], bool]], marker: str) -> ColumnElement[bool]:
    """What comes after the marker, in the order; its own values are read from its row."""
    rows = tx.all(select(*[column for column, _ in order]).where(listable.table.c.id == marker))
    if not rows:
        raise NotFound(f"{listable.noun} {marker[:64]} could not be found.", code=f"{listable.noun}NotFound")
    values = list(rows[0])
    if None in values:
        raise Bug("a column that sorts is never NULL")
    options = []
    for place, (column, down) in enumerate(order):
        same = [earlier == value for (earlier, _), value in zip(order[:place], values, strict=False)]
        options.append(and_(*same, column < values[place] if down else column > values[place]))
    return or_(*options)
