"""Volumes whose host changes while their files stay where they are: on storage that both hosts have before them."""

from __future__ import annotations

from holdfast.control.store.database import Tx
from holdfast.control.store.volume.attachments import attachments_of_instances
from holdfast.control.store.volume.rows import row_change, snapshots_of, volume_fetch


def server_volumes_move(tx: Tx, instance_id: str, host_id: str) -> None:
    """The volumes of a server, and their snapshots, are kept by this host from now on. There already: nothing."""
    for attachment in attachments_of_instances(tx, [instance_id]):
        volume = volume_fetch(tx, attachment.volume_id)
        if volume is None or not volume.host_id or volume.host_id == host_id:
            continue
        row_change(tx, volume, host_id=host_id)
        for snapshot in snapshots_of(tx, volume.id):
            if snapshot.host_id:
                row_change(tx, snapshot, host_id=host_id)
