"""Volumes and snapshots, row by row. Whatever a host must know is changed through `*_change`: a new generation."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from sqlalchemy import Table, bindparam, delete, func, insert, or_, select, update

from holdfast.control.store.database import Tx
from holdfast.control.store.revision import revision_next
from holdfast.control.store.volume.tables import volume, volume_snapshot
from holdfast.domain.volume import Snapshot, Volume, VolumeState

R = TypeVar("R", bound=Volume | Snapshot)
VOLUME = [volume.c[name] for name in Volume.__struct_fields__]
SNAPSHOT = [volume_snapshot.c[name] for name in Snapshot.__struct_fields__]
_VOLUMES_SINCE, _SNAPSHOTS_SINCE = (
    select(*fields).where(of.c.host_id == bindparam("host"), of.c.revision > bindparam("since")).order_by(of.c.revision)
    for of, fields in ((volume, VOLUME), (volume_snapshot, SNAPSHOT))
)


def row_insert(tx: Tx, row: Volume | Snapshot) -> None:
    """Add one."""
    tx.run(insert(_table(row)), {name: getattr(row, name) for name in row.__struct_fields__})


def row_update(tx: Tx, row: R, **changes: Any) -> R:
    """Change what the host need not know; returns the new row."""
    values = {**changes, "updated_us": tx.now_us}
    table = _table(row)
    statement = update(table).where(table.c.id == row.id).values(**{name: bindparam(f"v_{name}") for name in values})
    tx.run(statement, {f"v_{name}": value for name, value in values.items()})
    return msgspec.structs.replace(row, **values)


def row_change(tx: Tx, row: R, **changes: Any) -> R:
    """Change what the host must know: a new generation and revision; returns the new row."""
    return row_update(tx, row, **changes, generation=row.generation + 1, revision=revision_next(tx))


def row_delete(tx: Tx, row: Volume | Snapshot) -> None:
    """Forget one whose file is gone."""
    table = _table(row)
    tx.run(delete(table).where(table.c.id == row.id))


def _table(row: Volume | Snapshot) -> Table:
    return volume if isinstance(row, Volume) else volume_snapshot


def volume_fetch(tx: Tx, volume_id: str) -> Volume | None:
    return tx.struct(Volume, select(*VOLUME).where(volume.c.id == volume_id))


def snapshot_fetch(tx: Tx, snapshot_id: str) -> Snapshot | None:
    return tx.struct(Snapshot, select(*SNAPSHOT).where(volume_snapshot.c.id == snapshot_id))


def file_fetch(tx: Tx, file_id: str) -> Volume | Snapshot | None:
    """The volume or snapshot that a file is of."""
    return volume_fetch(tx, file_id) or snapshot_fetch(tx, file_id)


def snapshots_of(tx: Tx, volume_id: str) -> list[Snapshot]:
    """Every snapshot of a volume, oldest first."""
    columns = volume_snapshot.c
    statement = select(*SNAPSHOT).where(columns.volume_id == volume_id)
    return tx.structs(Snapshot, statement.order_by(columns.created_us, columns.id))


def file_is_being_copied(tx: Tx, file_id: str) -> bool:
    """Whether a copy of this file is still being made: until then nobody may write to it, or remove it."""
    copies = select(volume.c.id).where(volume.c.copy_of == file_id, volume.c.state == VolumeState.CREATING)
    kept = select(volume_snapshot.c.id).where(
        volume_snapshot.c.volume_id == file_id, volume_snapshot.c.state == VolumeState.CREATING
    )
    return tx.value(copies.limit(1)) is not None or tx.value(kept.limit(1)) is not None


def volumes_of_host_since(tx: Tx, host_id: str, revision: int) -> list[Volume]:
    """What changed on a host after a revision."""
    return tx.structs(Volume, _VOLUMES_SINCE, {"host": host_id, "since": revision})


def snapshots_of_host_since(tx: Tx, host_id: str, revision: int) -> list[Snapshot]:
    """What changed on a host after a revision."""
    return tx.structs(Snapshot, _SNAPSHOTS_SINCE, {"host": host_id, "since": revision})


def volume_usage(tx: Tx, project_id: str) -> tuple[int, int]:
    """Volumes of a project and their GiB."""
    counted = select(func.count(), func.coalesce(func.sum(volume.c.size_gib), 0))
    row = tx.all(counted.where(volume.c.project_id == project_id))[0]
    return int(row[0]), int(row[1])


def snapshot_usage(tx: Tx, project_id: str) -> tuple[int, int]:
    """Snapshots of a project and their GiB."""
    counted = select(func.count(), func.coalesce(func.sum(volume_snapshot.c.size_gib), 0))
    row = tx.all(counted.where(volume_snapshot.c.project_id == project_id))[0]
    return int(row[0]), int(row[1])


_GIB_BY_HOST = [
    select(table.c.host_id, func.sum(table.c.size_gib)).where(table.c.host_id != "").group_by(table.c.host_id)
    for table in (volume, volume_snapshot)
]


def gib_by_host(tx: Tx) -> dict[str, int]:
    """GiB that volumes and snapshots hold of each host's disk."""
    held: dict[str, int] = {}
    for sums in _GIB_BY_HOST:
        for host_id, gib in tx.all(sums):
            held[host_id] = held.get(host_id, 0) + int(gib)
    return held


def host_keeps_files(tx: Tx, host_id: str) -> bool:
    """Whether a host holds the file of a volume or snapshot."""
    return gib_by_host(tx).get(host_id, 0) > 0


def host_makes_from_image(tx: Tx, host_id: str, image_id: str) -> bool:
    """Whether a host has yet to make a volume from an image."""
    waiting = select(volume.c.image).where(
        volume.c.host_id == host_id, volume.c.present, or_(~volume.c.made, volume.c.state == VolumeState.CREATING)
    )
    return any(row[0] is not None and row[0].id == image_id for row in tx.all(waiting))
