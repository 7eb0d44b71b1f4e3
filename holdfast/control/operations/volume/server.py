"""What becomes of a server's volumes when the server is gone: they are free, or go with it if that was asked for.

Called in the transaction that ends the server, after its host said that no trace of it is left.
"""

from __future__ import annotations

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.control.operations.volume.attach import ATTACH, DETACH
from holdfast.control.operations.volume.delete import volume_delete_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.operation import operation_open_of, operation_supersede, operations_wake
from holdfast.control.store.volume.attachments import attachment_delete, attachments_of_instances
from holdfast.control.store.volume.rows import row_update, volume_fetch
from holdfast.domain.volume import Attachment, VolumeState, move

log = logs.get(__name__)


def server_volumes_release(tx: Tx, instance_id: str, user_id: str, request_id: str) -> None:
    """Free every volume of a server."""
    for attachment in attachments_of_instances(tx, [instance_id]):
        _release(tx, attachment, user_id, request_id)


def _release(tx: Tx, attachment: Attachment, user_id: str, request_id: str) -> None:
    attachment_delete(tx, attachment)
    row = volume_fetch(tx, attachment.volume_id)
    if row is None:
        return
    act = operation_open_of(tx, row.id)
    if act is not None and act.kind in (ATTACH.kind, DETACH.kind):
        operation_supersede(tx, row.id, "the server was deleted")
    row = row_update(tx, row, state=move(row.state, "server_gone"))
    operations_wake(tx, [row.id])  # a growth may wait for the guest that is gone
    if not attachment.delete_on_termination or row.state is not VolumeState.AVAILABLE:
        return
    try:
        volume_delete_begin(tx, row, user_id, request_id)
    except HoldfastError as err:
        log.warn("volume_outlives_its_server", volume=row.id, reason=err.message)
