"""Create a server: choose a host and claim its room, then see it run there.

leave     wait until no host holds it (a host that failed it removes its trace first)
schedule  place, claim and own in one transaction; a host that is silent, and could take it, is waited for
spawn     wait for the host's report; a failure that another host may not have, or its death, goes back to `leave`
"""

from __future__ import annotations

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import NoCapacity
from holdfast.base.limits import HOST_DOWN_S, OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, go, wait
from holdfast.control.operations.host.building import build_ended
from holdfast.control.operations.host.holders import holder_is_fenced, holder_left
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.placing import request_of, rooms, server_place
from holdfast.control.scheduler.place import silent
from holdfast.control.store.fencing.host_lease import hosts_sharing_disks
from holdfast.control.store.instance import instance_change, instance_update
from holdfast.domain.instance import Instance, move
from holdfast.domain.observed import Phase

HOSTS_TRIED_MAX = 3


def _leave(work: Work) -> Outcome:
    row = work.instance()
    if row.host_id and holder_is_fenced(work.tx, row.host_id):
        alone = not hosts_sharing_disks(work.tx, row.host_id)  # a shared disk is the next host's, made anew there
        row = holder_left(work.tx, row, erase=alone)
    return NEXT if not row.host_id else wait(f"host {server.host_name(work, row)} to remove what it began")


def _schedule(work: Work) -> Outcome:
    row = work.instance()
    if row.host_id:
        return NEXT
    try:
        placed, decision = server_place(work.tx, work.settings, row, work.data.get("avoid", {}))
    except NoCapacity as err:
        if not _may_be_heard(work, row):
            raise
        return wait(err.message)
    work.data.update(host_id=placed.host_id, generation=placed.generation, rejected=dict(decision.rejected))
    return Outcome("next", f"on {server.host_name(work, placed)}")


def _may_be_heard(work: Work, row: Instance) -> bool:
    """Whether a host that could take it is silent, and had no HOST_DOWN_S yet to say something.

    When the control plane was away, all hosts are silent at first, and none of them is dead.
    """
    since_us = work.data.setdefault("unheard_us", work.tx.now_us)
    if work.tx.now_us - since_us >= HOST_DOWN_S * SECOND_US:
        return False
    return bool(silent(request_of(work.tx, row, work.data.get("avoid", {}), ""), rooms(work.tx, work.settings)))


def _unschedule(work: Work) -> None:
    row = work.instance()
    if row.host_id and row.present:
        instance_change(work.tx, row, present=False)


def _spawn(work: Work) -> Outcome:
    row = work.instance()
    seen = server.reached(work, row, work.data["generation"])
    if (seen is None or seen.phase == Phase.PREPARING) and holder_is_fenced(work.tx, row.host_id):
        work.data["avoid"] = {**work.data.get("avoid", {}), row.host_id: "it died"}
        return go("leave", f"host {server.host_name(work, row)} died")
    if seen is None or seen.phase == Phase.PREPARING:
        step = f": {seen.step}" if seen and seen.step else ""
        return wait(f"host {server.host_name(work, row)} to start it{step}")
    if seen.phase == Phase.FAILED:
        tried = {**work.data.get("avoid", {}), row.host_id: f"it failed to build it: {seen.reason}"}
        if not seen.retryable or len(tried) >= HOSTS_TRIED_MAX:
            raise server.build_failed(seen, retryable=False)
        work.data["avoid"] = tried
        work.data["failed_on"] = {**work.data.get("failed_on", {}), row.host_id: seen.reason}
        instance_change(work.tx, row, present=False)
        return go("leave", f"failed there: {seen.reason}")
    instance_update(
        work.tx, row, state=move(row.state, "ready"), launched_us=work.tx.now_us, fault=None, disk_made=row.disk
    )
    build_ended(work.tx, row.host_id, work.data.get("failed_on", {}))
    return NEXT


CREATE = Act(
    "server_create",
    (Step("leave", _leave), Step("schedule", _schedule, _unschedule), Step("spawn", _spawn)),
    server.fail,
    OPERATION_DEADLINE_S,
)
