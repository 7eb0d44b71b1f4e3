"""Keep a copy of a volume as it is now.

    place  a volume that was never anywhere gets a host and a file first; the copy is made beside it
    make   wait until the host has made the copy
    ready  it may be used

Only a volume that no server has is copied: the bytes of a running guest's disk are not all on the disk. While
the copy is made the volume can be neither attached nor deleted.
"""

from __future__ import annotations

from holdfast.base import ids
from holdfast.base.errors import BadInput, Bug
from holdfast.base.limits import VOLUME_MAKE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.volume.create import quota_gigabytes
from holdfast.control.operations.volume.files import MAKE, READY, act_insert, fail, file_awaited, file_of, volume_place
from holdfast.control.store.database import Tx
from holdfast.control.store.quota import quota_require
from holdfast.control.store.volume.rows import row_change, row_insert, snapshot_usage, volume_fetch
from holdfast.domain.credentials import Credentials
from holdfast.domain.volume import Snapshot, Volume, VolumeState


def _place(work: Work) -> Outcome:
    row = file_of(work)
    if row.host_id or not isinstance(row, Snapshot):
        return NEXT
    volume = volume_fetch(work.tx, row.volume_id)
    if volume is None:
        raise Bug(f"snapshot {row.id} is of a volume that has no row")
    if not volume.host_id:
        volume = volume_place(work, volume)
    if missing := file_awaited(work, volume):
        return wait(missing)
    row_change(work.tx, row, host_id=volume.host_id)
    return NEXT


SNAPSHOT_CREATE = Act("volume_snapshot_create", (Step("place", _place), MAKE, READY), fail, VOLUME_MAKE_S)


def snapshot_create_begin(
    tx: Tx,
    volume: Volume,
    name: str,
    description: str,
    properties: dict[str, str],
    credentials: Credentials,
    request_id: str,
) -> Snapshot:
    """Accept a snapshot; BadInput unless the volume is available."""
    if volume.state is not VolumeState.AVAILABLE:
        raise BadInput(
            f"Invalid volume: Volume {volume.id} status must be available, but current status is: {volume.state}. "
            "A volume that a server has is not copied; detach it first."
        )
    used, _ = snapshot_usage(tx, volume.project_id)
    quota_require(tx, volume.project_id, "snapshots", used)
    quota_gigabytes(tx, volume.project_id, volume.size_gib)
    row = Snapshot(
        id=ids.new_id(),
        project_id=volume.project_id,
        user_id=credentials.user_id,
        volume_id=volume.id,
        name=name,
        description=description,
        state=VolumeState.CREATING,
        size_gib=volume.size_gib,
        host_id="",
        present=True,
        made=False,
        generation=1,
        revision=0,
        properties=properties,
        fault="",
        created_us=tx.now_us,
        updated_us=tx.now_us,
    )
    row_insert(tx, row)
    act_insert(tx, SNAPSHOT_CREATE, row, credentials.user_id, request_id)
    return row
