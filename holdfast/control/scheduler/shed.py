"""Who gives up its room when there is none for something that matters more. Pure, like place.py.

Only servers of a lower priority do, the lowest first, and as few as it takes; of the hosts where that would do, the
one whose highest loss is the lowest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from holdfast.base.errors import NoCapacity
from holdfast.control.scheduler.place import Request, Room, place


@dataclass(frozen=True, slots=True)
class Giver:
    """A server that could give up its room."""

    instance_id: str
    name: str
    host_id: str
    priority: int
    runs: bool
    vcpus: int
    memory_mib: int
    disk_gib: int


def shed_for(request: Request, rooms: Sequence[Room], givers: Sequence[Giver]) -> tuple[Giver, ...]:
    """The servers of one host that have to go for the request to fit there; empty: no host would do."""
    plans = []
    for room in rooms:
        here = sorted(
            (each for each in givers if each.host_id == room.host.id), key=lambda each: (each.priority, each.runs)
        )
        if plan := _fewest(request, room, here):
            plans.append(plan)
    if not plans:
        return ()
    return min(plans, key=lambda plan: (max(each.priority for each in plan), len(plan), plan[0].instance_id))


def _fewest(request: Request, room: Room, here: Sequence[Giver]) -> tuple[Giver, ...]:
    gone: list[Giver] = []
    while not fits(request, room, gone):
        if len(gone) == len(here):
            return ()
        gone.append(here[len(gone)])
    for each in reversed(gone[:-1]):  # one that went first may not have been needed: the highest stays if it can
        without = [other for other in gone if other is not each]
        if fits(request, room, without):
            gone = without
    return tuple(gone)


def fits(request: Request, room: Room, gone: Collection[Giver]) -> bool:
    """Whether a request fits on a host without some of its servers."""
    try:
        place(request, [room_after(room, gone=gone)])
    except NoCapacity:
        return False
    return True


def room_after(room: Room, gone: Collection[Giver] = (), come: Collection[Giver] = ()) -> Room:
    """A host as it is once these servers have left it, and those have come."""
    return replace(
        room,
        used_vcpus=room.used_vcpus + sum(x.vcpus for x in come) - sum(x.vcpus for x in gone),
        used_memory_mib=room.used_memory_mib + sum(x.memory_mib for x in come) - sum(x.memory_mib for x in gone),
        used_disk_gib=room.used_disk_gib + sum(x.disk_gib for x in come) - sum(x.disk_gib for x in gone),
    )
