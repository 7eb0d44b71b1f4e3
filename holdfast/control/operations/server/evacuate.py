"""Evacuate a server: another host takes it over from one that is proved dead.

    fence  wait until the holder is fenced; it is given up when the holder is back, or no proof comes in time
    leave  of one that gives its room to another (shed.py): its host, which is alive, ends it
    claim  the turn of this server's priority: place it, and claim room and ownership in one transaction
    room   no host had room: wait for some, for as long as it takes
    spawn  wait for the new holder's report; if it fails, or dies: back to `claim`, where every former holder must
           be fenced or have confirmed that it runs nothing

Before `claim` there is nothing to undo; after it the server is the new holder's, whoever comes back. What its owner
asked for meanwhile decides how it ends up: its power is kept, and a delete takes the place of this act.
"""

from __future__ import annotations

from typing import Any

from holdfast.base.clock import SECOND_US
from holdfast.base.config import Settings
from holdfast.base.errors import BadInput, Conflict, HoldfastError, NoCapacity, Unavailable
from holdfast.base.limits import FENCE_WAIT_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, go, wait
from holdfast.control.operations.host.building import build_ended
from holdfast.control.operations.host.fencing import fence_try
from holdfast.control.operations.host.holders import holder_is_fenced, holder_left, holders_former, holders_unsure
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.capture import capture_dropped
from holdfast.control.operations.server.passing import passage_drop, passage_leave
from holdfast.control.operations.server.placing import (
    hosts_without_disk,
    request_of,
    revertible,
    server_place,
    target_check,
)
from holdfast.control.operations.server.shed import shed_begin
from holdfast.control.scheduler.place import Request
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import departed_add, hosts_sharing_disks, lease_fetch
from holdfast.control.store.host import host_fetch, host_names
from holdfast.control.store.instance import instance_update, observations_delete
from holdfast.control.store.operation import (
    evacuation_before,
    operation_insert,
    operation_open_of,
    operation_supersede,
    operations_wake,
)
from holdfast.control.store.placement.passage import passage_fetch
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import Power
from holdfast.domain.host import LEFT, Host
from holdfast.domain.instance import Instance, InstanceState, Observation, move, priority_of
from holdfast.domain.lease import HostPhase
from holdfast.domain.observed import Phase
from holdfast.domain.operation import Operation

KIND = "server_evacuate"


def _fence(work: Work) -> Outcome:
    row, source = work.instance(), work.data["source"]
    if row.host_id != source:
        return go("claim", "")
    host = host_fetch(work.tx, source)
    missing = fence_try(work.tx, host) if host else ""
    if not missing:
        return go("claim", "")
    if host is not None and host.is_up(work.tx.now_us):
        raise Conflict(f"nothing is moved: {missing}", code="host_back")
    if work.tx.now_us > work.operation.created_us + FENCE_WAIT_S * SECOND_US:
        raise Unavailable(f"no proof came within {FENCE_WAIT_S} s: wanted is {missing}", code="fence", retryable=False)
    return wait(missing)


def _claim(work: Work) -> Outcome:
    row = work.instance()
    if not _is_claimed(work, row) and evacuation_before(work.tx, work.operation.priority):
        return wait("servers of higher priority to find room")
    return go("spawn", _moved(work)) if _take(work, row) else Outcome("next", f"no room: {work.data['no_room']}")


def _room(work: Work) -> Outcome:
    row = work.instance()
    if _take(work, row):
        return Outcome("next", _moved(work))
    gives = "" if work.data.get("shed") else shed_begin(work, request_for(work, row))
    return wait(gives or work.data["no_room"], together=True)


def _leave(work: Work) -> Outcome:
    row = work.instance()
    if row.host_id and holder_is_fenced(work.tx, row.host_id):
        passage_drop(work.tx, row)
        return go("claim", f"host {server.host_name(work, row)} died")
    held = passage_fetch(work.tx, row.id)
    if row.host_id and (held is None or held.source_state != LEFT):
        return wait(f"host {server.host_name(work, row)} to end it")
    if row.host_id:
        passage_leave(work.tx, row)
        operations_wake(work.tx, [work.data["makes_room_for"]])
        return wait("the one that its room is given to", together=True)  # and not take it back at once
    return go("room", work.data["shed"])


def _is_claimed(work: Work, row: Instance) -> bool:
    return bool(row.host_id) and row.host_id == work.data.get("host_id")


def _take(work: Work, row: Instance) -> bool:
    """Become the server's holder, once; False, and why in the act's data, while no host can take it."""
    if _is_claimed(work, row):
        return True
    tx, holder = work.tx, row.host_id
    if holder and lease_fetch(tx, holder).phase is not HostPhase.FENCED:
        raise Conflict(f"nothing is moved: host {server.host_name(work, row)} is back", code="host_back")
    if unsure := holders_unsure(tx, row.id, holder):
        work.data["no_room"] = f"host {', '.join(unsure)} to confirm that it runs nothing of it"
        return False
    avoid = _avoid(work, row)
    changes: dict[str, Any] = {"capture_image_id": ""}
    if work.data.get("rebuild") and row.disk <= row.disk_made:
        changes["disk"] = row.disk + 1
    try:
        moved, decision = server_place(tx, work.settings, row, avoid, work.data.get("target", ""), **changes)
    except NoCapacity as err:
        work.data["no_room"] = err.message
        work.data.pop("avoid", None)  # whoever failed it may have another try
        return False
    if holder:
        departed_add(tx, row.id, holder, moved.generation, erase=False)
        observations_delete(tx, [row.id])
    work.data.pop("no_room", None)
    work.data.update(host_id=moved.host_id, generation=moved.generation, rejected=dict(decision.rejected))
    return True


def _avoid(work: Work, row: Instance) -> dict[str, str]:
    avoid = holders_former(work.tx, row.id)
    if not work.data.get("rebuild"):
        avoid |= hosts_without_disk(work.tx, row, work.data["source"])
    avoid |= work.data.get("avoid", {})
    return avoid | ({row.host_id: "it is fenced"} if row.host_id else {})


def request_for(work: Work, row: Instance) -> Request:
    """What it is that finds no room."""
    return request_of(work.tx, revertible(row), _avoid(work, row), work.data.get("target", ""))


def _moved(work: Work) -> str:
    row = work.instance()
    return f"from {host_names(work.tx).get(work.data['source'], work.data['source'])} to {server.host_name(work, row)}"


def _spawn(work: Work) -> Outcome:
    row = work.instance()
    seen = server.reached(work, row, work.data["generation"])
    if seen is not None and seen.phase == Phase.FAILED:
        work.data["avoid"] = {**work.data.get("avoid", {}), row.host_id: f"it failed to start it: {seen.reason}"}
        work.data["failed_on"] = {**work.data.get("failed_on", {}), row.host_id: seen.reason}
        holder_left(work.tx, _disk_kept(work, row, seen))
        return _again(work, f"failed there: {seen.reason}")
    if seen is None or seen.phase != server.PHASE_OF[row.power] or seen.disk < row.disk:
        if row.host_id and holder_is_fenced(work.tx, row.host_id):  # whatever it was at when it died
            _disk_kept(work, row, seen)
            return _again(work, f"host {server.host_name(work, row)} died as well")
        return wait(f"host {server.host_name(work, row)} to report it {server.PHASE_OF[row.power]}")
    state = row.state if row.fault is not None else move(row.state, "ready")
    instance_update(work.tx, row, state=state, disk_made=row.disk)
    if row.power is not Power.STOPPED:  # of one that is off nothing was started there
        build_ended(work.tx, row.host_id, work.data.get("failed_on", {}))
    return NEXT


def _disk_kept(work: Work, row: Instance, seen: Observation | None) -> Instance:
    """A shared disk that was made anew is not made again: its guest may have run since its host spoke (seed 2432)."""
    if seen is None or not seen.disk >= row.disk > row.disk_made or not hosts_sharing_disks(work.tx, row.host_id):
        return row
    work.data.update(rebuild=False, source=row.host_id)
    return instance_update(work.tx, row, disk_made=row.disk)


def _again(work: Work, why: str) -> Outcome:
    work.data.pop("host_id", None)
    work.data.pop("target", None)  # it was wanted, and it could not
    return go("claim", why)


def _as_it_was(work: Work, _: HoldfastError) -> None:
    """The operation tells why; the server is where it was."""


EVACUATE = Act(
    KIND,
    (Step("fence", _fence), Step("leave", _leave), Step("claim", _claim), Step("room", _room), Step("spawn", _spawn)),
    _as_it_was,
)


def server_evacuate_begin(
    tx: Tx,
    settings: Settings,
    row: Instance,
    credentials: Credentials,
    request_id: str,
    target: str = "",
    rebuild: bool = False,
) -> Operation:
    """Accept an evacuation; asked for again, the one that goes on is the answer.

    `target` names the only host that is wanted. `rebuild` makes the root disk anew from its image, where the holder
    alone had it. BadInput for a holder that is alive, or a target that cannot be; Conflict for a disk that would be
    lost, and for a server that is being built or deleted, whose own act goes elsewhere by itself.
    """
    going_on = operation_open_of(tx, row.id)
    if going_on is not None and going_on.kind == KIND:
        return going_on
    if row.state not in (InstanceState.READY, InstanceState.FAILED) or not row.host_id:
        raise Conflict(f"Cannot 'evacuate' instance {row.id} while it is in state {row.state}")
    source = host_fetch(tx, row.host_id)
    _source_check(tx, row, source)
    target_check(tx, row, target)
    if source is not None and not rebuild:
        disk_check(tx, row, source)
    operation_supersede(tx, row.id, "its host died: the server is being evacuated")
    row = passage_drop(tx, row)
    if row.capture_image_id:
        capture_dropped(tx, row.capture_image_id)
    fenced = lease_fetch(tx, row.host_id).phase is HostPhase.FENCED
    return operation_insert(
        tx,
        kind=KIND,
        step="claim" if fenced else "fence",
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=0,
        data={"source": row.host_id, "target": target, "rebuild": rebuild},
        priority=priority_of(row),
    )


def _source_check(tx: Tx, row: Instance, source: Host | None) -> None:
    if source is not None and source.is_up(tx.now_us):
        raise BadInput(f"Compute service of {source.name} is still in use.", code="host_alive")


def disk_check(tx: Tx, row: Instance, source: Host) -> None:
    """Conflict when the disk of a server is on its host alone: it cannot be had elsewhere without losing it."""
    if row.disk_made and row.disk <= row.disk_made and not hosts_sharing_disks(tx, source.id):
        raise Conflict(
            f"the disk of instance {row.id} is on host {source.name} alone. It is kept, and the server waits for its "
            f"host; to give it up: holdfast evacuate {source.name} --rebuild-from-image",
            code="local_disk",
        )
