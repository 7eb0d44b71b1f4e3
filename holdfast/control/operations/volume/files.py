"""What the acts on volumes and snapshots share: where a file is placed, and waiting until its host made or removed it.

The rows of volumes and snapshots are written by acts only; what hosts say has rows of its own. A file that was
seen whole is marked `made`: from then on its host never makes anything in its place, not even when it is missing.
"""

from __future__ import annotations

from holdfast.base.config import Settings
from holdfast.base.errors import Bug, Conflict, HoldfastError
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.server.placing import rooms
from holdfast.control.scheduler.place import Request, place
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.operation import operation_insert
from holdfast.control.store.volume.observations import file_observation, file_observations_delete
from holdfast.control.store.volume.rows import file_fetch, row_change, row_delete, row_update
from holdfast.domain.observed import FilePhase
from holdfast.domain.volume import Snapshot, Volume, move


def file_of(work: Work) -> Volume | Snapshot:
    """The volume or snapshot that the act is about."""
    row = file_fetch(work.tx, work.operation.resource_id)
    if row is None:
        raise Bug(f"operation {work.operation.id} is about a volume that has no row")
    return row


def volume_of(work: Work) -> Volume:
    """The volume that the act is about."""
    row = file_of(work)
    if isinstance(row, Snapshot):
        raise Bug(f"operation {work.operation.id} is about a snapshot")
    return row


def host_name(tx: Tx, host_id: str) -> str:
    return host_names(tx).get(host_id, host_id)


def host_choose(tx: Tx, settings: Settings, size_gib: int, zone: str, host: str = "") -> str:
    """The host with the most room for so many GiB, or this one; NoCapacity says why there is none."""
    return place(Request("", 0, 0, size_gib, "", zone=zone, host=host), rooms(tx, settings)).host_id


def volume_place(work: Work, row: Volume, host: str = "") -> Volume:
    """Give a volume its host, whose room is held from then on."""
    host_id = host_choose(work.tx, work.settings, row.size_gib, row.zone, host)
    work.data["host_id"] = host_id
    return row_change(work.tx, row, host_id=host_id)


def file_awaited(work: Work, row: Volume | Snapshot) -> str:
    """What is still missing until the file is as its row says; empty when nothing is. Conflict when it cannot be."""
    name = host_name(work.tx, row.host_id)
    seen = file_observation(work.tx, row.id)
    if seen is None or seen.host_id != row.host_id or seen.generation < row.generation:
        return f"host {name} to make the file of {row.id}"
    if seen.phase == FilePhase.FAILED and not seen.retryable:
        raise Conflict(f"host {name}: {seen.reason}", code=seen.code or "host_failed")
    if seen.phase != FilePhase.MADE or seen.size_gib < row.size_gib:
        return f"host {name} to make the file of {row.id}" + (f": {seen.reason}" if seen.reason else "")
    if not row.made:
        row_change(work.tx, row, made=True)
    return ""


def make(work: Work) -> Outcome:
    """Wait for the file of a row that has a host; one without is made where it is first used."""
    row = file_of(work)
    if not row.host_id:
        return NEXT
    work.data["host_id"] = row.host_id
    missing = file_awaited(work, row)
    return wait(missing) if missing else NEXT


def ready(work: Work) -> Outcome:
    """The row is what was asked for."""
    row = file_of(work)
    row_update(work.tx, row, state=move(row.state, "ready"), fault="")
    return NEXT


def fail(work: Work, err: HoldfastError) -> None:
    """The row stays, with the reason: its owner decides."""
    row = file_of(work)
    row_update(work.tx, row, state=move(row.state, "fail"), fault=err.message)


def leave(work: Work) -> Outcome:
    """Wait until the host has removed the file; its word takes the host out of the row."""
    row = file_of(work)
    if not row.host_id:
        return NEXT
    work.data["host_id"] = row.host_id
    return wait(f"host {host_name(work.tx, row.host_id)} to remove the file of {row.id}")


def release(work: Work) -> Outcome:
    """Forget it: its room, its share of the quota and its name are free."""
    row = file_of(work)
    file_observations_delete(work.tx, [row.id])
    row_delete(work.tx, row)
    return NEXT


def act_insert(tx: Tx, act: Act, row: Volume | Snapshot, user_id: str, request_id: str, **data: object) -> None:
    """Accept an act; Conflict while another one goes on."""
    operation_insert(
        tx,
        kind=act.kind,
        step=act.steps[0].name,
        resource_id=row.id,
        project_id=row.project_id,
        user_id=user_id,
        request_id=request_id,
        deadline_s=act.deadline_s,
        data={"host_id": row.host_id, **data},
    )


LEAVE, RELEASE = Step("leave", leave), Step("release", release)
MAKE, READY = Step("make", make), Step("ready", ready)
