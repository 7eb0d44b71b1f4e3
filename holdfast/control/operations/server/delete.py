"""Delete a server: leave the host, then give everything back. Always accepted, never given up.

    leave    the host removes every trace and says so; while it cannot be reached, this waits, until it is fenced:
             then it removes what it has when it is back
    release  ports, addresses and volumes go back, and the row becomes history

Nothing is given back before the host said that the server is gone: an address that is handed out too early
is answered for by two (seed 001).
"""

from __future__ import annotations

from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.host.holders import disks_erase, holder_is_fenced, holder_left, holders_unsure
from holdfast.control.operations.network.port_instance import instance_ports_release
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.passing import passage_drop
from holdfast.control.operations.volume.server import server_volumes_release
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_change, instance_update
from holdfast.control.store.operation import operation_insert, operation_open_of, operation_supersede
from holdfast.domain.credentials import Credentials
from holdfast.domain.instance import Instance, InstanceState, move


def _leave(work: Work) -> Outcome:
    row = work.instance()
    if row.host_id and holder_is_fenced(work.tx, row.host_id):
        disks_erase(work.tx, row, row.host_id)  # if nobody can, it does itself when it is back
        row = holder_left(work.tx, row, erase=True)
    if not row.host_id:
        if row.last_host_id and "host_id" not in work.data:  # it was given up: what was begun on shared disks is there
            if not disks_erase(work.tx, row, row.last_host_id):
                return wait("a host that has its disk before it, to remove that")
            work.data["host_id"] = row.last_host_id
        unsure = holders_unsure(work.tx, row.id)
        return wait(f"host {', '.join(unsure)} to confirm that it runs nothing of it") if unsure else NEXT
    if row.present:
        instance_change(work.tx, row, present=False)
    work.data["host_id"] = row.host_id
    return wait(f"host {server.host_name(work, row)} to remove it")


def _release(work: Work) -> Outcome:
    row = work.instance()
    instance_ports_release(work.tx, row.id)
    server_volumes_release(work.tx, row.id, work.operation.user_id, work.operation.request_id)
    instance_update(work.tx, row, state=move(row.state, "deleted"), terminated_us=work.tx.now_us, group_id="")
    return NEXT


DELETE = Act("server_delete", (Step("leave", _leave), Step("release", _release)), None)


def server_delete_begin(tx: Tx, row: Instance, credentials: Credentials, request_id: str) -> None:
    """Accept a delete, whatever else is going on. Already being deleted: nothing."""
    if row.state is InstanceState.DELETING and operation_open_of(tx, row.id) is not None:
        return
    operation_supersede(tx, row.id, "the server is being deleted")
    row = passage_drop(tx, row)
    changes = {"present": False} if row.host_id else {}
    instance_change(tx, row, state=move(row.state, "delete"), capture_image_id="", **changes)
    operation_insert(
        tx,
        kind=DELETE.kind,
        step="leave",
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=0,
    )
