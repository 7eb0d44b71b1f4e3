"""Move a server from a host that is alive to another: while it runs, or ended here and started there.

    claim   find it a host, hold room there, tell both (passing.py)
    pass    wait until all of it is there, or, moved cold, until nothing of it runs here: then the host changes
    land    wait for the new host to report it; one that cannot start it gives it on, with the disk they share

Until `pass` is done nothing is lost by calling it off. A try that fails is followed by another, elsewhere if possible.
After `land` a server that was moved cold by its owner's wish waits to be confirmed, with room where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.config import Settings
from holdfast.base.errors import BadInput, Bug, Conflict, HoldfastError, NoCapacity, Unavailable
from holdfast.base.limits import MOVE_DEADLINE_S, MOVE_STALLED_S, MOVE_TRIES
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, go, wait
from holdfast.control.operations.host.holders import holders_former
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.passing import (
    ABOVE_BASE,
    SAME_DISK,
    passage_begin,
    passage_drop,
    passage_end,
    passage_keep_return,
)
from holdfast.control.operations.server.placing import disk_gib_of, hosts_without_disk, request_of, rooms, target_check
from holdfast.control.scheduler.place import Room, place
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import departed_add
from holdfast.control.store.host import allocation_set, host_fetch, host_names, hosts_list
from holdfast.control.store.instance import instance_change, instance_fetch, instance_update
from holdfast.control.store.operation import operation_insert, operation_open_of, operation_supersede, operations_wake
from holdfast.control.store.placement.passage import passage_delete, passage_fetch
from holdfast.control.store.volume.attachments import attachments_of_instances
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import Power
from holdfast.domain.host import LEFT, Allocation, Host, Passage, PassageKind
from holdfast.domain.instance import Flavor, Instance, move, require_idle
from holdfast.domain.observed import MoveState, Phase
from holdfast.domain.operation import Operation

MIGRATE_KIND, LIVE_KIND = "server_migrate", "server_live_migrate"
NOWHERE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Way:
    """How a server would get to which host."""

    target_id: str
    kind: PassageKind
    copy: str


@dataclass(frozen=True, slots=True)
class Wish:
    """How a server is to be moved."""

    live: bool  # while it runs
    target: str = ""  # the only host that is wanted
    blocks: bool | None = None  # of a live one: whether its disk is to be copied; None: where it has to be


def way_for(
    tx: Tx, settings: Settings, row: Instance, wish: Wish, flavor: Flavor, avoid: Mapping[str, str] = NOWHERE
) -> Way:
    """Find a host for a server that leaves its own. NoCapacity says why each cannot be.

    A host that has its disk before it is preferred. Where none has, one that runs moves with what its disk holds above
    its image, live, even if it was to be moved cold: it has to run somewhere for its disk to be copied.
    """
    source = host_fetch(tx, row.host_id)
    if source is None:
        raise Conflict(f"instance {row.id} is on no host")
    if not row.present:
        raise Conflict(f"instance {row.id} failed, and its host gives it back: nothing of it is to be moved")
    snapshot, here = rooms(tx, settings), {source.id: "it is there now"}
    wanted = msgspec.structs.replace(row, flavor=flavor)

    def find(more: dict[str, str]) -> str:
        return place(request_of(tx, wanted, {**more, **avoid, **here}, wish.target), snapshot).host_id

    without, runs = hosts_without_disk(tx, row, source.id), row.power is not Power.STOPPED
    if not wish.live:
        try:
            return Way(find(without), PassageKind.COLD, SAME_DISK)
        except NoCapacity:
            if not without or not runs:
                raise
    if not runs:
        raise Conflict(f"Instance {row.id} does not run: it can be moved cold only")
    unlike = _unlike(snapshot, source)
    if wish.blocks and not without:
        raise BadInput(f"the disk of instance {row.id} is before every host: nothing is to be copied")
    if not wish.blocks:
        try:
            return Way(find(without | unlike), PassageKind.LIVE, SAME_DISK)
        except NoCapacity:
            if not without or wish.blocks is False:
                raise
    if attachments_of_instances(tx, [row.id]):
        raise Conflict(f"the volumes of instance {row.id} are on host {source.name} alone: detach them first")
    return Way(find(unlike | _sharing(tx, without)), PassageKind.LIVE, ABOVE_BASE)


def _sharing(tx: Tx, without: dict[str, str]) -> dict[str, str]:
    return {host.id: "it has the disk before it" for host in hosts_list(tx) if host.id not in without}


def _unlike(snapshot: list[Room], source: Host) -> dict[str, str]:
    """Why not, by host, where a running guest of a host cannot go on."""
    found: dict[str, str] = {}
    for room in snapshot:
        there, here = room.host.capabilities, source.capabilities
        if there is None or here is None:
            continue
        driver = (f"{x.hypervisor} {x.hypervisor_version}" for x in (here, there))
        for what, mine, theirs in (
            ("hypervisor", *driver),
            ("accelerator", here.accelerator, there.accelerator),
            ("processor", here.processor, there.processor),
        ):
            if mine != theirs:
                found[room.host.id] = f"its {what} is {theirs}, and a running guest of {source.name} needs {mine}"
    return found


def claim(work: Work) -> Outcome:
    row, data = work.instance(), work.data
    held = passage_fetch(work.tx, row.id)
    if held is not None and held.id == data.get("passage"):
        return NEXT
    source = host_fetch(work.tx, row.host_id)
    if source is None or not source.is_up(work.tx.now_us):
        raise Unavailable(f"host {server.host_name(work, row)} does not answer", code="host_lost", retryable=False)
    passage_delete(work.tx, row.id)  # room that it held for its return: it may be the very room that is looked for
    flavor = _flavor(work, row)
    former = holders_former(work.tx, row.id, row.host_id)
    try:
        way = _way(work, row, flavor, former)
    except (NoCapacity, Conflict):
        if held is not None or not former:
            raise
        _way(work, row, flavor, NOWHERE)  # raises where they would not do either
        return wait(f"host {', '.join(_name(work, each) for each in former)} to confirm that it runs nothing of it")
    copied = way.kind is PassageKind.LIVE  # with its present size, until it is restarted there
    room = _room(row, row.flavor, flavor) if copied else _room(row, flavor)
    begun = passage_begin(work.tx, row, way.target_id, way.kind, way.copy, room)
    data.update(passage=begun.id, host_id=way.target_id)
    return Outcome("next", f"to host {_name(work, way.target_id)}, {way.kind.value}, copying {_COPIES[way.copy]}")


_COPIES = {SAME_DISK: "no disk", ABOVE_BASE: "its disk"}


def _way(work: Work, row: Instance, flavor: Flavor, former: Mapping[str, str]) -> Way:
    data = work.data
    wish, avoid = Wish(bool(data.get("live")), data.get("target", ""), data.get("blocks")), data.get("avoid", {})
    return _way_or_cold(work.tx, work.settings, row, wish, bool(data.get("cold")), flavor, {**avoid, **former})


def _way_or_cold(
    tx: Tx, settings: Settings, row: Instance, wish: Wish, cold: bool, flavor: Flavor, avoid: Mapping[str, str]
) -> Way:
    try:
        return way_for(tx, settings, row, wish, flavor, avoid)
    except (NoCapacity, Conflict):
        if not (wish.live and cold):
            raise
        return way_for(tx, settings, row, replace(wish, live=False), flavor, avoid)


def _room(row: Instance, *flavors: Flavor) -> Allocation:
    """What a server of the largest of these sizes holds of its host."""
    disks = [disk_gib_of(msgspec.structs.replace(row, flavor=flavor)) for flavor in flavors]
    vcpus, memory_mib = max(flavor.vcpus for flavor in flavors), max(flavor.memory_mib for flavor in flavors)
    return Allocation(row.id, row.host_id, vcpus, memory_mib, max(disks))


def _flavor(work: Work, row: Instance) -> Flavor:
    """The size that it will have there."""
    words = work.data.get("flavor")
    return Flavor(**words) if words else row.flavor


def unclaim(work: Work) -> None:
    """Stay; and whoever was to return may still."""
    row = work.instance()
    held = passage_fetch(work.tx, row.id)
    if held is None or held.id != work.data.get("passage"):
        return
    after = passage_drop(work.tx, row)
    if work.data.get("back"):
        room = Allocation(row.id, held.target_id, held.vcpus, held.memory_mib, held.disk_gib)
        passage_keep_return(work.tx, held, after, room)


def pass_over(work: Work) -> Outcome:
    row, held = work.instance(), passage_fetch(work.tx, work.operation.resource_id)
    if held is None or held.id != work.data["passage"]:
        raise Bug(f"the passage of instance {row.id} is gone while its move goes on")
    target = host_fetch(work.tx, held.target_id)
    if target is None or not target.is_up(work.tx.now_us):
        return _again(work, held, f"host {_name(work, held.target_id)} does not answer")
    if held.kind is PassageKind.COLD:
        if held.source_state != LEFT:
            return wait(f"host {_name(work, held.source_id)} to end it")
        return _pass(work, row, held, target)
    if MoveState.FAILED in (held.source_state, held.target_state):
        return _again(work, held, held.reason or "the move failed")
    if held.source_state == MoveState.SENT and held.target_state == MoveState.RECEIVED:
        return _pass(work, row, held, target)
    if work.tx.now_us - held.updated_us > MOVE_STALLED_S * SECOND_US:
        return _again(work, held, f"nothing came from either host for {MOVE_STALLED_S} s")
    return wait(_progress(held))


def _name(work: Work, host_id: str) -> str:
    return host_names(work.tx).get(host_id, host_id)


def _progress(held: Passage) -> str:
    if not held.target_end:
        return "the other host to be ready for it"
    done_mib, of_mib = (held.total_bytes - held.remaining_bytes) >> 20, held.total_bytes >> 20
    return f"its way: {done_mib} of {of_mib} MiB" if held.total_bytes else "its way to begin"


def _again(work: Work, held: Passage, reason: str) -> Outcome:
    """Try another host; the last try of a move that may be cold is a cold one."""
    data, tries = work.data, work.data.get("tries", 1)
    if tries >= MOVE_TRIES:
        raise Unavailable(f"it was tried {tries} times: {reason}", code="move_failed", retryable=False)
    passage_drop(work.tx, work.instance())
    data.update(tries=tries + 1, passage="")
    data["avoid"] = {**data.get("avoid", {}), held.target_id: f"it was tried: {reason}"}
    if data.get("cold") and tries + 1 >= MOVE_TRIES:
        data["live"] = False
    return go("claim", f"{reason}; another host is tried")


def _pass(work: Work, row: Instance, held: Passage, target: Host) -> Outcome:
    """All of it is there, and nothing runs: the owner changes, with its allocation, in this transaction."""
    data, changes, flavor = work.data, dict[str, Any](), _flavor(work, row)
    if data.get("confirm"):
        changes["old_flavor"] = row.old_flavor or row.flavor
    if data.get("back"):
        changes["old_flavor"] = None
    if held.kind is PassageKind.COLD:
        changes["flavor"] = flavor
    source = host_fetch(work.tx, held.source_id)
    moved = passage_end(work.tx, row, held, target, **changes)
    if moved.flavor != flavor:
        allocation_set(work.tx, _room(moved, moved.flavor, flavor))
    if data.get("confirm") and target.id != data["source"]:
        room = msgspec.structs.replace(_room(row, changes["old_flavor"]), host_id=data["source"])
        passage_keep_return(work.tx, held, moved, room)
    data.update(generation=moved.generation, host_id=target.id, passage="")
    data["erase"] = held.source_id if held.copy != SAME_DISK else ""
    return Outcome("next", f"from host {source.name if source else held.source_id} to {target.name}")


def land(work: Work) -> Outcome:
    row, tx, data = work.instance(), work.tx, work.data
    seen = server.reached(work, row, data["generation"])
    if seen is not None and seen.phase == Phase.FAILED:
        if data.get("erase"):
            raise server.build_failed(seen, seen.retryable)  # its disk is here now
        data.update(avoid={**data.get("avoid", {}), row.host_id: f"it failed to start it: {seen.reason}"}, live=False)
        data["target"] = ""  # it was wanted, and it could not
        return go("claim", f"it failed there: {seen.reason}")
    if seen is None or seen.phase != server.PHASE_OF[row.power] or seen.disk < row.disk:
        return wait(f"host {server.host_name(work, row)} to report it {server.PHASE_OF[row.power]}")
    state = row.state if row.fault is not None else move(row.state, "ready")
    row = instance_update(tx, row, state=state, disk_made=row.disk)
    if data.get("erase"):
        departed_add(tx, row.id, data["erase"], row.generation, erase=True)  # the copy is whole, and runs
    operations_wake(tx, [data["source"]])  # a drain of its host follows it
    return NEXT


def apply_flavor(work: Work) -> Outcome:
    """Restart a server that came as it was with the size that it was to get."""
    row, flavor = work.instance(), _flavor(work, work.instance())
    if row.flavor != flavor:
        changed = instance_change(work.tx, row, flavor=flavor, boot=row.boot + 1, soft=True)
        allocation_set(work.tx, _room(changed, flavor))
        work.data["generation"] = changed.generation
    return NEXT


def failed(work: Work, err: HoldfastError) -> None:
    """Where it was, it goes on; elsewhere and not to be started it is in ERROR."""
    row = work.instance()
    if row.host_id != work.data["source"]:
        server.fail(work, err)
    operations_wake(work.tx, [work.data["source"]])


_STEPS = (Step("claim", claim, unclaim), Step("pass", pass_over), Step("land", land))
MIGRATE = Act(MIGRATE_KIND, _STEPS, failed, MOVE_DEADLINE_S)
LIVE_MIGRATE = Act(LIVE_KIND, _STEPS, failed, MOVE_DEADLINE_S)


def server_migrate_begin(
    tx: Tx,
    settings: Settings,
    row: Instance,
    wish: Wish,
    credentials: Credentials,
    request_id: str,
    cold: bool = False,
    confirm: bool = False,
) -> Operation:
    """Accept the move of a server.

    `cold`: one that is to be moved live is ended and started if that cannot be. `confirm`: its owner has to confirm,
    and may revert. NoCapacity while no host could take it; BadInput for a target that cannot be; Conflict for a server
    that is in another state, or whose host does not answer.
    """
    require_idle(row, "migrate")
    if row.old_flavor is not None:
        words = f"instance {row.id} waits to be confirmed or reverted; next: openstack server resize confirm {row.id}"
        raise Conflict(words, code="resized")
    source = host_fetch(tx, row.host_id)
    if source is None or not source.is_up(tx.now_us):
        name = source.name if source else row.host_id
        raise Conflict(
            f"Host {name} of instance {row.id} does not answer; see: holdfast evacuate {name}", code="host_lost"
        )
    target_check(tx, row, wish.target)
    _way_or_cold(tx, settings, row, wish, cold, row.flavor, NOWHERE)
    data = {"source": row.host_id, "cold": cold, "confirm": confirm, **asdict(wish)}
    return operation_insert(
        tx,
        kind=LIVE_KIND if wish.live else MIGRATE_KIND,
        step="claim",
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=MOVE_DEADLINE_S,
        data=data,
    )


def server_move_cancel(tx: Tx, instance_id: str, reason: str) -> None:
    """Call a move off: the server stays where it is. Conflict when it is past that, or there is none."""
    row, act = instance_fetch(tx, instance_id), operation_open_of(tx, instance_id)
    if row is None or act is None or act.kind not in (MIGRATE_KIND, LIVE_KIND) or act.step not in ("claim", "pass"):
        raise Conflict(f"instance {instance_id} is not on its way, or has arrived already")
    passage_drop(tx, row)
    operation_supersede(tx, instance_id, reason)
    operations_wake(tx, [act.data["source"]])
