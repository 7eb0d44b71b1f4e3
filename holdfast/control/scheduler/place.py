"""Choose a host. Pure: a request and a snapshot in, a decision with its reasons out.

A filter says why a host cannot take the instance, or nothing; a weigher gives a number, the larger the
better. The decision keeps every rejection, so "no valid host" always says which host and why. The caller
claims the chosen host in the transaction that took the snapshot, so two requests never share the last room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from holdfast.base.errors import NoCapacity
from holdfast.domain.host import BuildFailures, Host
from holdfast.domain.lease import HostPhase


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be placed."""

    instance_id: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    image_id: str
    zone: str = ""  # empty: any
    host: str = ""  # name or id: this one only
    avoid: Mapping[str, str] = field(default_factory=dict)  # why not, by host id
    apart_from: Mapping[str, int] = field(default_factory=dict)  # members of its group by host id
    policy: str = ""  # of its server group
    max_per_host: int = 1


@dataclass(frozen=True, slots=True)
class Room:
    """One host with what is promised on it."""

    host: Host
    up: bool
    vcpus: int  # that may be promised in all
    memory_mib: int
    disk_gib: int
    used_vcpus: int = 0
    used_memory_mib: int = 0
    used_disk_gib: int = 0
    phase: HostPhase = HostPhase.MEMBER
    failures: BuildFailures | None = None
    shunned: bool = False  # for its failures: it is chosen after all others


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen host's id, and why each other one was not possible."""

    host_id: str
    rejected: Mapping[str, str]


def _is_up(_: Request, room: Room) -> str:
    if room.phase is HostPhase.FENCED:
        return "it is fenced"
    if room.phase is HostPhase.RETURNING:
        return "it is coming back, and has not yet confirmed that what left it is gone"
    return "" if room.up else "its agent has not reported lately"


def _is_enabled(_: Request, room: Room) -> str:
    return "" if room.host.enabled else f"it is disabled ({room.host.disabled_reason or 'no reason given'})"


def _is_possible(request: Request, room: Room) -> str:
    return request.avoid.get(room.host.id, "")


def _is_asked_for(request: Request, room: Room) -> str:
    asked = request.host in ("", room.host.id, room.host.name)
    if not asked:
        return f"host {request.host} was asked for"
    return f"it is in zone {room.host.zone}" if request.zone and request.zone != room.host.zone else ""


def _has_room(request: Request, room: Room) -> str:
    for what, free, wanted in (
        ("vcpus", room.vcpus - room.used_vcpus, request.vcpus),
        ("MiB of memory", room.memory_mib - room.used_memory_mib, request.memory_mib),
        ("GiB of disk", room.disk_gib - room.used_disk_gib, request.disk_gib),
    ):
        if wanted > free:
            return f"{wanted} {what} wanted, {max(free, 0)} free"
    return ""


def _keeps_group(request: Request, room: Room) -> str:
    here = request.apart_from.get(room.host.id, 0)
    if request.policy == "anti-affinity" and here >= request.max_per_host:
        return "another member of its anti-affinity group is there"
    if request.policy == "affinity" and request.apart_from and not here:
        return "its affinity group is on another host"
    return ""


FILTERS: tuple[Callable[[Request, Room], str], ...] = (
    _is_up,
    _is_enabled,
    _is_asked_for,
    _is_possible,
    _has_room,
    _keeps_group,
)


def _weight(request: Request, room: Room) -> float:
    """Emptier first; holding the image is worth a tenth, so that one host does not get them all."""
    free_memory = (room.memory_mib - room.used_memory_mib) / max(room.memory_mib, 1)
    free_vcpus = (room.vcpus - room.used_vcpus) / max(room.vcpus, 1)
    warm = 0.1 if request.image_id in room.host.images else 0.0
    here = request.apart_from.get(room.host.id, 0)
    together = {"soft-affinity": here, "soft-anti-affinity": -here}.get(request.policy, 0)
    return free_memory + free_vcpus + warm + together


def _order(request: Request, room: Room) -> tuple[bool, float, str]:
    """The largest is the best. Where all that is possible is shunned, that has to do: nothing is refused for it."""
    return (not room.shunned, _weight(request, room), room.host.id)


def _against(request: Request, room: Room) -> str:
    """Why not there; empty when it is possible."""
    return next((words for check in FILTERS if (words := check(request, room))), "")


def place(request: Request, rooms: Sequence[Room]) -> Decision:
    """Return the best host; raises NoCapacity whose message names each host's reason."""
    rejected: dict[str, str] = {}
    fit: list[Room] = []
    for room in rooms:
        reason = _against(request, room)
        if reason:
            rejected[room.host.name] = reason
        else:
            fit.append(room)
    if not fit:
        words = "; ".join(f"{name}: {reason}" for name, reason in sorted(rejected.items())) or "there are no hosts"
        raise NoCapacity(f"No valid host was found. {words}", code="no_valid_host")
    best = max(fit, key=lambda room: _order(request, room))
    passed_over = {r.host.name: r.failures.words() for r in fit if r.failures and r.shunned and r is not best}
    return Decision(best.host.id, rejected | passed_over)


def silent(request: Request, rooms: Sequence[Room]) -> list[str]:
    """The hosts that could take it if they were heard."""
    quiet = [_heard(request, room) for room in rooms if not room.up]
    return [room.host.name for room in quiet if not _against(request, room)]


def _heard(request: Request, room: Room) -> Room:
    """As if it were up; one that never said what it has, as if that were enough."""
    if room.host.reported_us:
        return replace(room, up=True)
    return replace(
        room,
        up=True,
        vcpus=room.used_vcpus + request.vcpus,
        memory_mib=room.used_memory_mib + request.memory_mib,
        disk_gib=room.used_disk_gib + request.disk_gib,
    )


def fitting(request: Request, rooms: Sequence[Room]) -> list[Room]:
    """Every host that is possible, best first: `place` takes the first."""
    fit = [room for room in rooms if not _against(request, room)]
    return sorted(fit, key=lambda room: _order(request, room), reverse=True)


def places_count(request: Request, rooms: Sequence[Room], count: int) -> int:
    """How many such instances fit one after another, `count` at most; NoCapacity when the first does not."""
    left = {room.host.id: room for room in rooms}
    for number in range(count):
        try:
            room = left[place(request, list(left.values())).host_id]
        except NoCapacity:
            if number == 0:
                raise
            return number
        left[room.host.id] = replace(
            room,
            used_vcpus=room.used_vcpus + request.vcpus,
            used_memory_mib=room.used_memory_mib + request.memory_mib,
            used_disk_gib=room.used_disk_gib + request.disk_gib,
        )
    return count
