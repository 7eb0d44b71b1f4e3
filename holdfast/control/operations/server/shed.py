"""Servers that give their room to an evacuated one of a higher priority, and come back when there is some.

Whoever gives up its room is ended by its host, which is alive, keeps its disk, and waits for room like an evacuated
server, in an act of the same kind.
"""

from __future__ import annotations

from holdfast.base import log as logs
from holdfast.control.operations.act import Work
from holdfast.control.operations.server.passing import SAME_DISK, passage_begin
from holdfast.control.operations.server.placing import disk_gib_of, rooms
from holdfast.control.scheduler.place import Request
from holdfast.control.scheduler.shed import Giver, shed_for
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import hosts_sharing_disks
from holdfast.control.store.instance import instance_fetch, instances_below
from holdfast.control.store.operation import operation_insert, operation_open_of
from holdfast.control.store.placement.passage import passages_of
from holdfast.domain.desired import Power
from holdfast.domain.host import LEFT, Allocation, PassageKind
from holdfast.domain.instance import Instance, priority_of

log = logs.get(__name__)
KIND = "server_evacuate"


def shed_begin(work: Work, request: Request) -> str:
    """Have servers of a lower priority make room for the act's, once; says what is being waited for, empty: nothing."""
    tx, row = work.tx, work.instance()
    begun = [instance_id for instance_id in work.data.get("makes_room", ()) if _goes(tx, instance_id)]
    if not begun and work.settings.shed == "auto":
        going = shed_for(request, rooms(tx, work.settings), givers_below(tx, priority_of(row)))
        for each in going:
            _shed(work, each, f"its room is given to {row.name} (priority {priority_of(row)})")
        begun = [each.instance_id for each in going]
        if begun:
            work.data["makes_room"] = begun
    return f"the room of {len(begun)} servers of lower priority" if begun else ""


def givers_below(tx: Tx, priority: int) -> list[Giver]:
    """Whoever could give up its room for something of this priority, the lowest and newest first.

    Not where a host has its disks alone: that puts the disk of whoever leaves it aside.
    """
    rows = [row for row in instances_below(tx, priority) if priority_of(row) < priority]
    shares = {host_id: hosts_sharing_disks(tx, host_id) for host_id in {row.host_id for row in rows}}
    return [giver_of(row) for row in rows if shares[row.host_id]]


def giver_of(row: Instance) -> Giver:
    runs, flavor = row.power is not Power.STOPPED, row.flavor
    sizes = (flavor.vcpus, flavor.memory_mib, disk_gib_of(row))
    return Giver(row.id, row.name, row.host_id, priority_of(row), runs, *sizes)


def _goes(tx: Tx, instance_id: str) -> bool:
    """Whether it has still to leave its host."""
    held = passages_of(tx, [instance_id]).get(instance_id)
    act = operation_open_of(tx, instance_id)
    return held is not None and held.source_state != LEFT and act is not None and act.step == "leave"


def _shed(work: Work, each: Giver, why: str) -> None:
    tx, row = work.tx, instance_fetch(work.tx, each.instance_id)
    if row is None:
        return
    data = {"source": row.host_id, "shed": why, "makes_room_for": work.operation.resource_id}
    passage_begin(tx, row, "", PassageKind.COLD, SAME_DISK, Allocation(row.id, "", 0, 0, 0))
    operation_insert(
        tx,
        kind=KIND,
        step="leave",
        resource_id=row.id,
        project_id=row.project_id,
        user_id=row.user_id,
        request_id=work.operation.request_id,
        deadline_s=0,
        data=data,
        priority=each.priority,
    )
    log.warn("server_shed", instance=row.id, priority=each.priority, reason=why)
