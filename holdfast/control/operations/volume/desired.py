"""The files that a host is to keep, computed from the rows of volumes and snapshots."""

from __future__ import annotations

from holdfast.control.store.database import Tx
from holdfast.control.store.volume.rows import snapshots_of_host_since, volumes_of_host_since
from holdfast.domain.desired import VolumeFile


def volume_files_since(tx: Tx, host_id: str, revision: int) -> tuple[VolumeFile, ...]:
    """What changed after a revision. Volumes come first: a snapshot is a copy of one."""
    volumes = [
        VolumeFile(row.id, row.generation, row.present, row.made, row.size_gib, row.image, row.copy_of)
        for row in volumes_of_host_since(tx, host_id, revision)
    ]
    snapshots = [
        VolumeFile(row.id, row.generation, row.present, row.made, row.size_gib, None, row.volume_id)
        for row in snapshots_of_host_since(tx, host_id, revision)
    ]
    return (*volumes, *snapshots)
