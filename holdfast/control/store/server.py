"""Servers for the APIs: instances joined with what is seen of them, their addresses and their open act.

A list is one query for the rows and one for each kind of child, however long it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Text, and_, bindparam, func, not_, or_, select, tuple_, type_coerce

from holdfast.base.errors import BadInput
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host
from holdfast.control.store.instance import COLUMNS, instance, observation
from holdfast.control.store.operation import OPEN, operation
from holdfast.control.store.server_address import addresses_of, groups_of
from holdfast.control.store.volume.attachments import volumes_of_servers
from holdfast.domain.desired import Power
from holdfast.domain.host import Host
from holdfast.domain.instance import Instance, InstanceState
from holdfast.domain.server import BEFORE, Server

_WIDTH = len(COLUMNS)
_I, _O = instance.c, operation.c
_SELECT = (
    select(*COLUMNS, observation.c.phase, observation.c.reason, _O.kind, _O.step, host.c.name, host.c.reported_us)
    .select_from(instance)
    .outerjoin(observation, and_(observation.c.instance_id == _I.id, observation.c.host_id == _I.host_id))
    .outerjoin(operation, and_(_O.resource_id == _I.id, _O.state == OPEN))
    .outerjoin(host, host.c.id == _I.last_host_id)
)
_ONE = _SELECT.where(_I.id == bindparam("id"))
SORTABLE = {
    "created_at": _I.created_us,
    "updated_at": _I.updated_us,
    "display_name": _I.name,
    "uuid": _I.id,
    "project_id": _I.project_id,
    "host": _I.last_host_id,
    "launched_at": _I.launched_us,
}


class ServerQuery(msgspec.Struct, frozen=True):
    """What to list; empty and None mean any."""

    project_id: str = ""
    user_id: str = ""
    ids: tuple[str, ...] | None = None
    statuses: tuple[str, ...] = ()
    name_like: str = ""  # SQL LIKE, escaped with a backslash
    host: str = ""
    flavor_id: str = ""
    image_id: str = ""
    key_name: str = ""
    reservation_id: str = ""
    zone: str = ""
    changed_after_us: int = 0
    changed_before_us: int = 0
    deleted: bool = False  # only deleted ones, or with changed_after_us: those too
    with_deleted: bool = False
    terminated_after_us: int = 0  # also those deleted since then
    locked: bool | None = None
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    marker: str = ""
    limit: int = 1000
    sort: tuple[tuple[str, bool], ...] = (("created_at", True),)  # (key, descending)


def server_fetch(tx: Tx, instance_id: str) -> Server | None:
    """One server, in any state."""
    found = _servers(tx, tx.all(_ONE, {"id": instance_id}))
    return found[0] if found else None


def servers_list(tx: Tx, query: ServerQuery) -> list[Server]:
    """Servers in order; raises BadInput for a marker that is not among them."""
    statement = _SELECT.where(*_conditions(query))
    columns = [(SORTABLE[key], descending) for key, descending in query.sort]
    columns.append((_I.id, columns[0][1]))
    if query.marker:
        statement = statement.where(_after(tx, query.marker, columns))
    order = [column.desc() if descending else column.asc() for column, descending in columns]
    return _servers(tx, tx.all(statement.order_by(*order).limit(query.limit)))


def _after(tx: Tx, marker: str, columns: Sequence[tuple[Any, bool]]) -> ColumnElement[bool]:
    """Rows that come after the marker's row, whatever the directions."""
    found = tx.all(select(*[column for column, _ in columns]).where(_I.id == marker))
    if not found:
        raise BadInput(f"marker [{marker}] not found")
    values = found[0]
    if len({descending for _, descending in columns}) == 1:
        left, right = tuple_(*[column for column, _ in columns]), tuple_(*values)
        return left < right if columns[0][1] else left > right
    ways = []
    for index, (column, descending) in enumerate(columns):
        same = [columns[i][0] == values[i] for i in range(index)]
        ways.append(and_(*same, column < values[index] if descending else column > values[index]))
    return or_(*ways)


def _conditions(query: ServerQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for value, column in (
        (query.project_id, _I.project_id),
        (query.user_id, _I.user_id),
        (query.image_id, _I.image_id),
        (query.key_name, _I.key_name),
        (query.reservation_id, _I.reservation_id),
        (query.zone, _I.zone),
        (query.flavor_id, _I.flavor_id),
    ):
        if value:
            found.append(column == value)
    if query.ids is not None:
        found.append(_I.id.in_(query.ids))
    if query.name_like:
        found.append(func.lower(_I.name).like(query.name_like.lower(), escape="\\"))
    if query.host:
        found.append(or_(host.c.name == query.host, host.c.id == query.host))
    if query.locked is not None:
        found.append(_I.is_locked == query.locked)
    return found + _lifetime(query) + _tags(query)


def _lifetime(query: ServerQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.changed_after_us:
        found.append(_I.updated_us >= query.changed_after_us)
    if query.changed_before_us:
        found.append(_I.updated_us <= query.changed_before_us)
    if query.statuses:
        found.append(or_(*[_status(word) for word in query.statuses]))
    elif query.deleted:
        found.append(_I.state == InstanceState.DELETED)
    elif query.terminated_after_us:
        found.append(or_(_I.state != InstanceState.DELETED, _I.terminated_us >= query.terminated_after_us))
    elif not query.with_deleted and not query.changed_after_us:
        found.append(_I.state != InstanceState.DELETED)
    return found


def _tags(query: ServerQuery) -> list[ColumnElement[bool]]:
    """Tags are stored as a JSON list of strings that cannot hold a quote."""
    having = [_has_tag(tag) for tag in query.tags_all]
    return having + ([or_(*[_has_tag(tag) for tag in query.tags_any])] if query.tags_any else [])


def _has_tag(tag: str) -> ColumnElement[bool]:
    text = msgspec.json.encode(tag).decode().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return type_coerce(_I.tags, Text).like(f"%{text}%", escape="\\")


def _status(word: str) -> ColumnElement[bool]:
    """The rows whose status is this word: domain/server.status, said in SQL; a test holds the two together."""
    there = and_(
        or_(_I.state == InstanceState.READY, and_(_I.state == InstanceState.DELETING, _I.launched_us > 0)),
        _I.fault.is_(None),
    )
    settled = _I.old_flavor.is_(None)
    idle = or_(_O.kind.is_(None), _O.kind.not_in([*BEFORE, "server_reboot"]))
    during = _O.kind.in_([kind for kind, before in BEFORE.items() if before == word])
    late = or_(_I.state == InstanceState.BUILDING, and_(_I.state == InstanceState.DELETING, _I.launched_us == 0))
    existing = and_(_I.state != InstanceState.DELETED, not_(late))
    powers = {"ACTIVE": Power.RUNNING, "SHUTOFF": Power.STOPPED, "PAUSED": Power.PAUSED}
    if word in powers:
        return or_(and_(there, idle, settled, _I.power == powers[word]), and_(existing, during))
    if word == "BUILD":
        return and_(late, _I.fault.is_(None))
    if word == "ERROR":
        failed = or_(_I.state == InstanceState.FAILED, _I.fault.is_not(None))
        return and_(_I.state != InstanceState.DELETED, failed, or_(idle, late))
    if word == "DELETED":
        return _I.state == InstanceState.DELETED
    if word in ("REBOOT", "HARD_REBOOT"):
        return and_(existing, _O.kind == "server_reboot", _I.soft == (word == "REBOOT"))
    if word == "VERIFY_RESIZE":
        return and_(there, idle, _I.old_flavor.is_not(None))
    return and_(existing, during)  # the words that only an act gives; none for a word that there is not


def _servers(tx: Tx, rows: Sequence[Any]) -> list[Server]:
    ids = [row[0] for row in rows]
    addresses, groups, volumes = addresses_of(tx, ids), groups_of(tx, ids), volumes_of_servers(tx, ids)
    made = []
    for row in rows:
        phase, reason, act, step, host_name, reported_us = row[_WIDTH:]
        up = reported_us is not None and Host.reported_lately(reported_us, tx.now_us)
        made.append(
            Server(
                Instance(*row[:_WIDTH]),
                phase or "",
                reason or "",
                act or "",
                step or "",
                addresses.get(row[0], ()),
                groups.get(row[0], ()),
                host_name or "",
                up,
                volumes.get(row[0], ()),
            )
        )
    return made
