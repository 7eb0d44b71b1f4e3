"""Lists of volumes and snapshots for the API: one query for the rows, one for who has them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, Text, and_, func, literal, or_, select, type_coerce

from holdfast.base.errors import BadInput
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.volume.attachments import attachments_of_volumes
from holdfast.control.store.volume.rows import SNAPSHOT, VOLUME, volume_fetch
from holdfast.control.store.volume.tables import volume, volume_snapshot
from holdfast.domain.volume import Attachment, Snapshot, Volume, VolumeState

SORTABLE = {
    "created_at": "created_us",
    "updated_at": "updated_us",
    "name": "name",
    "display_name": "name",
    "id": "id",
    "size": "size_gib",
    "volume_size": "size_gib",
    "status": "state",
}


class FileQuery(msgspec.Struct, frozen=True):
    """What to list; empty and None mean any. A state that there is not lists nothing."""

    project_id: str = ""
    names: tuple[str, ...] = ()
    states: tuple[VolumeState, ...] | None = None
    ids: tuple[str, ...] = ()
    volume_id: str = ""  # snapshots of it
    bootable: bool | None = None
    properties: dict[str, str] = {}
    marker: str = ""
    limit: int = 1000
    offset: int = 0
    sort: tuple[tuple[str, bool], ...] = (("created_at", True),)  # (key, descending)


class VolumeWhole(msgspec.Struct, frozen=True):
    """A volume with what its view needs."""

    row: Volume
    attachment: Attachment | None
    host_name: str  # of its own host, which is its server's too


def volume_whole(tx: Tx, volume_id: str) -> VolumeWhole | None:
    """One volume."""
    row = volume_fetch(tx, volume_id)
    return _whole(tx, [row])[0] if row else None


def volumes_list(tx: Tx, query: FileQuery) -> list[VolumeWhole]:
    """Volumes in order; BadInput for a marker that is not among them."""
    return _whole(tx, tx.structs(Volume, _listed(tx, volume, VOLUME, query)))


def snapshots_list(tx: Tx, query: FileQuery) -> list[Snapshot]:
    """Snapshots in order."""
    return tx.structs(Snapshot, _listed(tx, volume_snapshot, SNAPSHOT, query))


def volumes_count(tx: Tx, query: FileQuery) -> int:
    """How many there are on all pages."""
    return int(tx.value(select(func.count()).select_from(volume).where(*_conditions(volume, query))))


def snapshots_count(tx: Tx, query: FileQuery) -> int:
    """How many there are on all pages."""
    statement = select(func.count()).select_from(volume_snapshot)
    return int(tx.value(statement.where(*_conditions(volume_snapshot, query))))


def _whole(tx: Tx, rows: list[Volume]) -> list[VolumeWhole]:
    attached = attachments_of_volumes(tx, [row.id for row in rows])
    names = host_names(tx)
    return [VolumeWhole(row, attached.get(row.id), names.get(row.host_id, "")) for row in rows]


def _listed(tx: Tx, table: Table, columns: list[Any], query: FileQuery) -> Any:
    keys = [(table.c[SORTABLE[key]], descending) for key, descending in query.sort]
    keys.append((table.c.id, keys[0][1]))
    statement = select(*columns).where(*_conditions(table, query))
    if query.marker:
        statement = statement.where(_after(tx, table, query.marker, keys))
    order = [column.desc() if descending else column.asc() for column, descending in keys]
    return statement.order_by(*order).limit(query.limit).offset(query.offset)


def _after(tx: Tx, table: Table, marker: str, keys: list[tuple[Any, bool]]) -> ColumnElement[bool]:
    """Rows that come after the marker's row, whatever the directions."""
    found = tx.all(select(*[column for column, _ in keys]).where(table.c.id == marker))
    if not found:
        raise BadInput(f"marker [{marker[:64]}] not found")
    choices = []
    for place, (column, descending) in enumerate(keys):
        same = [other == literal(value, other.type) for (other, _), value in zip(keys[:place], found[0], strict=False)]
        value = literal(found[0][place], column.type)
        choices.append(and_(*same, column < value if descending else column > value))
    return or_(*choices)


def _conditions(table: Table, query: FileQuery) -> list[ColumnElement[bool]]:
    columns = table.c
    found: list[ColumnElement[bool]] = []
    if query.project_id:
        found.append(columns.project_id == query.project_id)
    if query.names:
        found.append(columns.name.in_(query.names))
    if query.ids:
        found.append(columns.id.in_(query.ids))
    if query.states is not None:
        found.append(columns.state.in_(query.states))
    if query.volume_id:
        found.append(columns.volume_id == query.volume_id)
    if query.bootable is not None:
        found.append(columns.bootable == query.bootable)
    return found + [_has_property(columns.properties, *item) for item in query.properties.items()]


def _has_property(column: Any, key: str, value: str) -> ColumnElement[bool]:
    """Properties are stored as one JSON object of strings: a quoted pair cannot stand inside another string."""
    pair = msgspec.json.encode({key: value}).decode()[1:-1]
    text = pair.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return type_coerce(column, Text).like(f"%{text}%", escape="\\")
