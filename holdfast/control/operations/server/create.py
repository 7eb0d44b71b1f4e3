"""Create a server: choose a host and claim its room, then see it run there.

leave     wait until no host holds it (a host that failed it removes its trace first)
schedule  place, claim and own in one transaction
spawn     wait for the host's report; a failure that another host may not have, or its death, goes back to `leave`
"""

from __future__ import annotations

from holdfast.base.limits import OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, go, wait
from holdfast.control.operations.host.holders import holder_is_fenced, holder_left
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.placing import server_place
from holdfast.control.store.host_lease import hosts_sharing_disks
from holdfast.control.store.instance import instance_change, instance_update
from holdfast.domain.instance import move
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
    placed, decision = server_place(work.tx, work.settings, row, work.data.get("avoid", {}))
    work.data.update(host_id=placed.host_id, generation=placed.generation, rejected=dict(decision.rejected))
    return Outcome("next", f"on {server.host_name(work, placed)}")


def _unschedule(work: Work) -> None:
    row = work.instance()
    if row.host_id and row.present:
        instance_change(work.tx, row, present=False)


def _spawn(work: Work) -> Outcome:
    row = work.instance()
    seen = server.reached(work, row, work.data["generation"])
    if seen is None and holder_is_fenced(work.tx, row.host_id):
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
        instance_change(work.tx, row, present=False)
        return go("leave", f"failed there: {seen.reason}")
    instance_update(
        work.tx, row, state=move(row.state, "ready"), launched_us=work.tx.now_us, fault=None, disk_made=row.disk
    )
    return NEXT


CREATE = Act(
    "server_create",
    (Step("leave", _leave), Step("schedule", _schedule, _unschedule), Step("spawn", _spawn)),
    server.fail,
    OPERATION_DEADLINE_S,
)
