"""Who holds how much of which host: servers by their allocation, passages for servers, volumes and snapshots.

The same rows that the scheduler's rooms are summed from (`allocation_sums`, `gib_by_host`), one by one.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Column, Select, Table, func, literal, select, union_all

from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation
from holdfast.control.store.instance import instance
from holdfast.control.store.placement.passage import passage
from holdfast.control.store.volume.tables import volume, volume_snapshot


class Consumer(msgspec.Struct, frozen=True):
    """One holder of room on one host."""

    id: str
    host_id: str
    project_id: str
    user_id: str
    vcpus: int
    memory_mib: int
    disk_gib: int


def _parts() -> list[tuple[Any, Select[Any]]]:
    """Each kind of consumer, with the column that its id is in."""
    none = (literal(0), literal(0))
    files = [
        (t.c.id, select(t.c.id, t.c.host_id, t.c.project_id, t.c.user_id, *none, t.c.size_gib).where(t.c.host_id != ""))
        for t in (volume, volume_snapshot)
    ]
    servers = _for_instance(allocation, allocation.c.instance_id, allocation.c.host_id)
    coming = _for_instance(passage, passage.c.id, passage.c.target_id).where(passage.c.target_id != "")
    return [(allocation.c.instance_id, servers), (passage.c.id, coming), *files]


def _for_instance(held: Table, key: Column[Any], host_id: Column[Any]) -> Select[Any]:
    """What a table says that is held for instances."""
    owner = [func.coalesce(column, "") for column in (instance.c.project_id, instance.c.user_id)]
    sizes = (held.c.vcpus, held.c.memory_mib, held.c.disk_gib)
    whose = instance.c.id == held.c.instance_id
    return select(key, host_id, *owner, *sizes).join_from(held, instance, whose, isouter=True)


def consumers_of_host(tx: Tx, host_id: str) -> list[Consumer]:
    """Everything that holds room on one host."""
    hosts = (allocation.c.host_id, passage.c.target_id, volume.c.host_id, volume_snapshot.c.host_id)
    parts = [part.where(column == host_id) for (_, part), column in zip(_parts(), hosts, strict=True)]
    return _found(tx, parts)


def consumers_of_project(tx: Tx, project_id: str, user_id: str = "") -> list[Consumer]:
    """Everything of one project that holds room, of one of its users if named."""
    tables = (instance, instance, volume, volume_snapshot)
    parts = [part.where(table.c.project_id == project_id) for (_, part), table in zip(_parts(), tables, strict=True)]
    if user_id:
        parts = [part.where(table.c.user_id == user_id) for part, table in zip(parts, tables, strict=True)]
    return _found(tx, parts)


def consumers_list(tx: Tx) -> list[Consumer]:
    """Everything that holds room."""
    return _found(tx, [part for _, part in _parts()])


def consumer_fetch(tx: Tx, consumer_id: str) -> Consumer | None:
    found = _found(tx, [part.where(key == consumer_id) for key, part in _parts()])
    return found[0] if found else None


def _found(tx: Tx, parts: list[Select[Any]]) -> list[Consumer]:
    return tx.structs(Consumer, union_all(*parts))
