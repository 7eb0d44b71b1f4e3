"""Who holds how much of which host: servers by their allocation, passages for servers, volumes and snapshots.

The same rows that the scheduler's rooms are summed from (`allocation_sums`, `gib_by_host`), one by one.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Select, func, literal, select, union_all

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
    servers = select(
        allocation.c.instance_id,
        allocation.c.host_id,
        func.coalesce(instance.c.project_id, ""),
        func.coalesce(instance.c.user_id, ""),
        allocation.c.vcpus,
        allocation.c.memory_mib,
        allocation.c.disk_gib,
    ).join_from(allocation, instance, instance.c.id == allocation.c.instance_id, isouter=True)
    coming = select(
        passage.c.id,
        passage.c.target_id,
        func.coalesce(instance.c.project_id, ""),
        func.coalesce(instance.c.user_id, ""),
        passage.c.vcpus,
        passage.c.memory_mib,
        passage.c.disk_gib,
    ).join_from(passage, instance, instance.c.id == passage.c.instance_id, isouter=True)
    none = (literal(0), literal(0))
    files = [
        (t.c.id, select(t.c.id, t.c.host_id, t.c.project_id, t.c.user_id, *none, t.c.size_gib).where(t.c.host_id != ""))
        for t in (volume, volume_snapshot)
    ]
    return [(allocation.c.instance_id, servers), (passage.c.id, coming), *files]


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
