"""Make a volume larger, in a drawer or in a running server.

    grow  wait until the file is as large, and the guest that has it was told

A growth that does not come to pass leaves the size as it was; a file that grew already is never cut.
"""

from __future__ import annotations

from holdfast.base.errors import BadInput, HoldfastError
from holdfast.base.limits import OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.volume.create import quota_gigabytes, volume_size_require
from holdfast.control.operations.volume.files import act_insert, file_awaited, volume_of
from holdfast.control.operations.volume.machines import machine_changed, machine_has
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.attachments import attachment_of
from holdfast.control.store.volume.rows import row_change, row_update
from holdfast.domain.volume import Volume, move, require


def _grow(work: Work) -> Outcome:
    row = volume_of(work)
    attachment = attachment_of(work.tx, row.id)
    if row.host_id and (missing := file_awaited(work, row)):
        return wait(missing)
    if attachment is not None and (missing := machine_has(work, attachment, row.size_gib)):
        return wait(missing)
    row_update(work.tx, volume_of(work), state=move(row.state, "attached" if attachment else "ready"), fault="")
    return NEXT


def _shrink(work: Work, err: HoldfastError) -> None:
    row = volume_of(work)
    attachment = attachment_of(work.tx, row.id)
    state = move(row.state, "attached" if attachment else "ready")
    row_change(work.tx, row, size_gib=work.data["before_gib"], state=state, fault=err.message)
    if attachment is not None:
        machine_changed(work.tx, attachment.instance_id)


EXTEND = Act("volume_extend", (Step("grow", _grow),), _shrink, OPERATION_DEADLINE_S)


def volume_extend_begin(tx: Tx, row: Volume, size_gib: int, user_id: str, request_id: str) -> None:
    """Accept a larger size; BadInput for one that is not larger."""
    state = require(row, "extend")
    if size_gib <= row.size_gib:
        raise BadInput(
            "Invalid input received: New size for extend must be greater than current size. "
            f"(current: {row.size_gib}, extended: {size_gib})."
        )
    volume_size_require(tx, row.project_id, size_gib)
    quota_gigabytes(tx, row.project_id, size_gib - row.size_gib)
    changed = row_change(tx, row, state=state, size_gib=size_gib)
    attachment = attachment_of(tx, row.id)
    generation = machine_changed(tx, attachment.instance_id) if attachment else 0
    act_insert(tx, EXTEND, changed, user_id, request_id, before_gib=row.size_gib, generation=generation)
