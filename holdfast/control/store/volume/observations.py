"""What hosts say of the files of volumes and snapshots. Written by reports only."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, insert, select

from holdfast.control.store.database import Tx
from holdfast.control.store.volume.tables import volume_observation
from holdfast.domain.volume import VolumeObservation

COLUMNS = [volume_observation.c[name] for name in VolumeObservation.__struct_fields__]
_O = volume_observation.c
_DELETE = delete(volume_observation).where(_O.volume_id == bindparam("gone"))
_OF_HOST = select(*COLUMNS).where(_O.host_id == bindparam("host_id"))


def file_observation(tx: Tx, file_id: str) -> VolumeObservation | None:
    """The last word on one file."""
    return tx.struct(VolumeObservation, select(*COLUMNS).where(_O.volume_id == file_id))


def file_observations_of_host(tx: Tx, host_id: str) -> dict[str, VolumeObservation]:
    """The last word of a host on every file it keeps."""
    rows = tx.structs(VolumeObservation, _OF_HOST, {"host_id": host_id})
    return {row.volume_id: row for row in rows}


def file_observations_write(tx: Tx, rows: Sequence[VolumeObservation]) -> None:
    """Replace the words on these files."""
    file_observations_delete(tx, [row.volume_id for row in rows])
    if rows:
        tx.run(insert(volume_observation), [{n: getattr(r, n) for n in r.__struct_fields__} for r in rows])


def file_observations_delete(tx: Tx, file_ids: Sequence[str]) -> None:
    """Forget what was said of files that are gone."""
    tx.run(_DELETE, [{"gone": file_id} for file_id in file_ids])
