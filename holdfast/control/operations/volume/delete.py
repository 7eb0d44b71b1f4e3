"""Delete a volume or a snapshot: its host removes the file and says so, then everything is given back.

    snapshots  (of a volume) wait until the snapshots that go with it are gone
    leave      the host removes the file; while it cannot be reached, this waits
    release    the row goes

Always carried through once it is accepted. The file is removed, never reused: what was in it reaches nobody.
"""

from __future__ import annotations

from holdfast.base.errors import BadInput
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.volume.files import LEAVE, RELEASE, act_insert
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.attachments import attachment_of
from holdfast.control.store.volume.rows import file_is_being_copied, row_change, snapshots_of
from holdfast.domain.volume import Snapshot, Volume, VolumeState, require


def _snapshots(work: Work) -> Outcome:
    left = snapshots_of(work.tx, work.operation.resource_id)
    return wait(f"{len(left)} snapshots to be removed") if left else NEXT


DELETE = Act("volume_delete", (Step("snapshots", _snapshots), LEAVE, RELEASE), None)
SNAPSHOT_DELETE = Act("volume_snapshot_delete", (LEAVE, RELEASE), None)


def volume_delete_begin(tx: Tx, row: Volume, user_id: str, request_id: str, cascade: bool = False) -> None:
    """Accept the end of a volume; BadInput while a server has it, a copy is made of it, or it has snapshots."""
    if attachment_of(tx, row.id) is not None:
        raise BadInput(
            f"Invalid volume: Volume {row.id} is attached to a server: detach it there first, or delete the server."
        )
    state = require(row, "delete")
    if file_is_being_copied(tx, row.id):
        raise BadInput(f"Invalid volume: a copy of {row.id} is still being made; try again when it is done.")
    snapshots = snapshots_of(tx, row.id)
    if snapshots and not cascade:
        raise BadInput(f"Invalid volume: Volume {row.id} still has {len(snapshots)} dependent snapshots.")
    for snapshot in (left for left in snapshots if left.state is not VolumeState.DELETING):
        snapshot_delete_begin(tx, snapshot, user_id, request_id)
    act_insert(tx, DELETE, row_change(tx, row, state=state, present=False), user_id, request_id)


def snapshot_delete_begin(tx: Tx, row: Snapshot, user_id: str, request_id: str) -> None:
    """Accept the end of a snapshot; BadInput while a volume is made from it."""
    state = require(row, "delete", "Snapshot")
    if file_is_being_copied(tx, row.id):
        raise BadInput(f"Invalid snapshot: a volume is still being made from {row.id}; try again when it is done.")
    act_insert(tx, SNAPSHOT_DELETE, row_change(tx, row, state=state, present=False), user_id, request_id)
