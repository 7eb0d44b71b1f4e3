"""Give a server a volume, and take it back.

    attach:  place   a volume that was never anywhere gets the server's host
             make    wait until its file is there
             plug    the server's record names it; wait until the machine has it
    detach:  unplug  the record no longer names it; wait until the guest let go

One attachment per volume is a unique index, looked at in the transaction that adds it. An attach that fails takes
the volume back; a detach that fails leaves it where it is, since the guest has it still.
"""

from __future__ import annotations

from holdfast.base import ids
from holdfast.base.errors import BadInput, Bug, Conflict, Forbidden, HoldfastError
from holdfast.base.limits import OPERATION_DEADLINE_S, VOLUME_DETACH_S, VOLUME_SLOTS
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.volume.files import MAKE, act_insert, volume_of, volume_place
from holdfast.control.operations.volume.machines import machine_changed, machine_has, machine_let_go
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_fetch
from holdfast.control.store.placement.passage import passage_fetch
from holdfast.control.store.volume.attachments import (
    attachment_delete,
    attachment_insert,
    attachment_of,
    attachment_update,
    attachments_of_instances,
)
from holdfast.control.store.volume.rows import file_is_being_copied, row_update
from holdfast.domain.host import PassageKind
from holdfast.domain.instance import Instance, require_idle
from holdfast.domain.volume import Attachment, Volume, VolumeState, device_of, move, require


def _attachment(work: Work) -> Attachment:
    found = attachment_of(work.tx, work.operation.resource_id)
    if found is None:
        raise Bug(f"operation {work.operation.id} is about a volume that nobody has")
    return found


def _place(work: Work) -> Outcome:
    row = volume_of(work)
    if row.host_id:
        return NEXT
    instance = instance_fetch(work.tx, _attachment(work).instance_id)
    if instance is None or not instance.host_id:
        return wait("the server to be on a host")
    volume_place(work, row, instance.host_id)
    return NEXT


def _plug(work: Work) -> Outcome:
    attachment = _attachment(work)
    if not attachment.present:
        attachment = attachment_update(work.tx, attachment, present=True)
        work.data["generation"] = machine_changed(work.tx, attachment.instance_id)
    row = volume_of(work)
    if missing := machine_has(work, attachment, row.size_gib):
        return wait(missing)
    attachment_update(work.tx, attachment, attached_us=work.tx.now_us)
    row_update(work.tx, row, state=move(row.state, "ready"), fault="")
    return NEXT


def _unplug(work: Work) -> None:
    attachment = _attachment(work)
    if attachment.present:
        attachment_update(work.tx, attachment, present=False)
        machine_changed(work.tx, attachment.instance_id)


def _take_back(work: Work, err: HoldfastError) -> None:
    attachment_delete(work.tx, _attachment(work))
    row = volume_of(work)
    row_update(work.tx, row, state=move(row.state, "fail"), fault=err.message)


def _let_go(work: Work) -> Outcome:
    attachment = _attachment(work)
    if missing := machine_let_go(work, attachment):
        return wait(missing)
    attachment_delete(work.tx, attachment)
    row = volume_of(work)
    row_update(work.tx, row, state=move(row.state, "ready"), fault="")
    return NEXT


def _keep(work: Work, err: HoldfastError) -> None:
    attachment = attachment_update(work.tx, _attachment(work), present=True)
    machine_changed(work.tx, attachment.instance_id)
    row = volume_of(work)
    row_update(work.tx, row, state=move(row.state, "fail"), fault=err.message)


ATTACH = Act(
    "volume_attach", (Step("place", _place), MAKE, Step("plug", _plug, _unplug)), _take_back, OPERATION_DEADLINE_S
)
DETACH = Act("volume_detach", (Step("unplug", _let_go),), _keep, VOLUME_DETACH_S)


def volume_attach_begin(
    tx: Tx,
    row: Volume,
    instance: Instance,
    device: str,
    tag: str,
    delete_on_termination: bool,
    user_id: str,
    request_id: str,
) -> Attachment:
    """Accept an attachment; `device` is a wish. BadInput or Conflict when the volume or the server cannot now."""
    if attachment_of(tx, row.id) is not None:
        raise BadInput(f"Invalid volume: volume {row.id} already attached")
    state = require(row, "attach")
    require_idle(instance, "attach_volume")
    _stands_still(tx, instance.id, "attach_volume")
    if row.host_id and row.host_id != instance.host_id:
        raise Conflict(
            f"Volume {row.id} is kept on another host than server {instance.id}: its data cannot be reached from there"
        )
    if file_is_being_copied(tx, row.id):
        raise Conflict(f"A copy of volume {row.id} is still being made; try again when it is done")
    slot, device = _slot(tx, instance, device)
    attachment = Attachment(
        id=ids.new_id(),
        volume_id=row.id,
        instance_id=instance.id,
        project_id=row.project_id,
        slot=slot,
        device=device,
        tag=tag,
        delete_on_termination=delete_on_termination,
        present=False,
        created_us=tx.now_us,
        attached_us=0,
    )
    attachment_insert(tx, attachment)
    row_update(tx, row, state=state)
    act_insert(tx, ATTACH, row, user_id, request_id)
    return attachment


def _stands_still(tx: Tx, instance_id: str, act: str) -> None:
    """Conflict while a server is on its way: what was decided about its disks is no more true (seed 1464)."""
    way = passage_fetch(tx, instance_id)
    if way is not None and way.kind is not PassageKind.RETURN:
        raise Conflict(f"Cannot '{act}' instance {instance_id} while it is on its way to another host")


def _slot(tx: Tx, instance: Instance, device: str) -> tuple[int, str]:
    """A free port of the machine, and the name that it most likely gives the disk; the one asked for, if it is free."""
    taken = {other.slot for other in attachments_of_instances(tx, [instance.id])}
    drives_before = 2 if instance.config_drive else 1
    names = {slot: device_of(slot, drives_before) for slot in range(VOLUME_SLOTS)}
    free = [slot for slot in names if slot not in taken]
    if not free:
        raise Forbidden(
            f"The maximum allowed number of disk devices ({VOLUME_SLOTS}) to attach to a single instance is exceeded."
        )
    wanted = next((slot for slot, name in names.items() if device and name == device), None)
    if wanted in taken:
        raise Conflict(f"The supplied device path ({device}) is in use.")
    slot = free[0] if wanted is None else wanted
    return slot, names[slot]


def volume_detach_begin(tx: Tx, row: Volume, attachment: Attachment, user_id: str, request_id: str) -> None:
    """Accept that a server gives a volume back; Conflict unless it has it."""
    if row.state is not VolumeState.IN_USE:
        raise Conflict(
            f"Invalid volume: Unable to detach volume. Volume status must be 'in-use', but is '{row.state}'."
        )
    _stands_still(tx, attachment.instance_id, "detach_volume")
    attachment_update(tx, attachment, present=False)
    generation = machine_changed(tx, attachment.instance_id)
    changed = row_update(tx, row, state=move(row.state, "detach"))
    act_insert(tx, DETACH, changed, user_id, request_id, generation=generation)
