"""Give a server another flavor, on its host, or, where that is too small, on another; its owner confirms, or reverts.

    claim  hold the room of the larger of both flavors, and tell the host the new one; or begin a move
    pass, land, apply  of a move only, see migrate.py
    reach  wait until it runs with it (a restart; the root disk only ever grows)

Until it is confirmed the old flavor is kept, and with it the room to return. A resize that fails leaves the
server as it was.
"""

from __future__ import annotations

import msgspec

from holdfast.base.config import Settings
from holdfast.base.errors import BadInput, Conflict, HoldfastError, NoCapacity
from holdfast.base.limits import MOVE_DEADLINE_S, OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, go
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server import migrate
from holdfast.control.operations.server.passing import passage_drop
from holdfast.control.operations.server.placing import rooms
from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation_set, host_fetch, hosts_are_several
from holdfast.control.store.instance import instance_change, instance_update, instance_usage
from holdfast.control.store.operation import operation_extend, operation_insert, operation_open_of
from holdfast.control.store.placement.passage import passage_fetch
from holdfast.control.store.quota import quota_require
from holdfast.domain.credentials import Credentials
from holdfast.domain.host import Allocation
from holdfast.domain.instance import Flavor, Instance, move, require_idle
from holdfast.domain.operation import Operation


def _claim(work: Work) -> Outcome:
    row = work.instance()
    if row.host_id != work.data.get("source", row.host_id):
        return migrate.claim(work)  # the host that it moved to could not start it
    if row.old_flavor is not None:
        return go("reach", "")
    new = flavor_of(work.data["flavor"])
    try:
        _room_check(work.tx, work.settings, row, new)
    except NoCapacity as here:
        return _elsewhere(work, here)
    allocation_set(work.tx, _held(row, max(new.vcpus, row.flavor.vcpus), new))
    changed = instance_change(work.tx, row, flavor=new, old_flavor=row.flavor, boot=row.boot + 1, soft=True)
    work.data["generation"] = changed.generation
    return go("reach", "")


def _elsewhere(work: Work, here: NoCapacity) -> Outcome:
    if not hosts_are_several(work.tx):
        raise here
    operation_extend(work.tx, work.operation, MOVE_DEADLINE_S)
    return migrate.claim(work)


def _room_check(tx: Tx, settings: Settings, row: Instance, new: Flavor) -> None:
    room = next(room for room in rooms(tx, settings) if room.host.id == row.host_id)
    for what, used, have, want, before in (
        ("vcpus", room.used_vcpus, room.vcpus, new.vcpus, row.flavor.vcpus),
        ("MiB of memory", room.used_memory_mib, room.memory_mib, new.memory_mib, row.flavor.memory_mib),
        ("GiB of disk", room.used_disk_gib, room.disk_gib, new.disk_gib, row.flavor.disk_gib),
    ):
        if used + max(want - before, 0) > have:
            words = f"No valid host was found. {room.host.name}: {want - before} more {what} wanted, {have - used} free"
            raise NoCapacity(words, code="no_valid_host")


def _unclaim(work: Work) -> None:
    migrate.unclaim(work)
    row = work.instance()
    if (old := row.old_flavor) is not None:
        row = passage_drop(work.tx, row)  # with room to return that nobody needs now
        instance_change(work.tx, row, flavor=old, old_flavor=None, boot=row.boot + 1)
        allocation_set(work.tx, _exactly(row, old))


def _held(row: Instance, vcpus: int, new: Flavor) -> Allocation:
    memory_mib = max(new.memory_mib, row.flavor.memory_mib)
    return Allocation(row.id, row.host_id, vcpus, memory_mib, max(new.disk_gib, row.flavor.disk_gib, 1))


def _exactly(row: Instance, flavor: Flavor) -> Allocation:
    return Allocation(row.id, row.host_id, flavor.vcpus, flavor.memory_mib, max(flavor.disk_gib, 1))


def _as_it_was(work: Work, err: HoldfastError) -> None:
    """The operation tells why; the server goes on, unless it moved and does not start where it is now."""
    row = work.instance()
    if row.host_id != work.data.get("source", row.host_id):
        return server.fail(work, err)
    instance_update(work.tx, row, state=move(row.state, "ready"), fault=None)


def _settle(work: Work) -> Outcome:
    """After a revert: give back what the larger flavor held."""
    row = work.instance()
    allocation_set(work.tx, _exactly(row, row.flavor))
    return NEXT


def _not_reverted(work: Work, err: HoldfastError) -> None:
    """One that was to go back and could not waits for its owner again."""
    if not (work.data.get("back") and work.instance().host_id == work.data["source"]):
        server.fail(work, err)


_MOVE = (Step("pass", migrate.pass_over), Step("land", migrate.land), Step("apply", migrate.apply_flavor))
RESIZE = Act(
    "server_resize",
    (Step("claim", _claim, _unclaim), *_MOVE, Step("reach", server.reach)),
    _as_it_was,
    OPERATION_DEADLINE_S,
)
REVERT = Act(
    "server_revert",
    (
        Step("claim", migrate.claim, migrate.unclaim),
        *_MOVE,
        Step("reach", server.reach),
        Step("settle", _settle),
    ),
    _not_reverted,
    OPERATION_DEADLINE_S,
)


def flavor_of(document: dict[str, object]) -> Flavor:
    """A flavor that an operation carries."""
    return Flavor(**document)  # type: ignore[arg-type]


def server_resize_begin(tx: Tx, row: Instance, flavor: Flavor, credentials: Credentials, request_id: str) -> None:
    """Accept a resize; BadInput for the flavor it has, or one with a smaller disk."""
    _resize_check(tx, row, flavor)
    flavors = {"flavor": msgspec.structs.asdict(flavor), "old_flavor": msgspec.structs.asdict(row.flavor)}
    data = {**flavors, "host_id": row.host_id, "source": row.host_id, "live": False, "confirm": True}
    _insert(tx, row, RESIZE, "claim", credentials, request_id, data)


def server_resize_stopped(tx: Tx, settings: Settings, row: Instance, flavor: Flavor) -> None:
    """Give a server that does not run another flavor at once, for good: it starts with it (EC2 has no confirmation).

    NoCapacity unless its host has the room; Conflict while an act goes on.
    """
    _resize_check(tx, row, flavor)
    if row.old_flavor is not None or operation_open_of(tx, row.id) is not None:
        raise Conflict(f"Cannot 'resize' instance {row.id} while another act goes on or waits to be confirmed")
    _room_check(tx, settings, row, flavor)
    allocation_set(tx, _exactly(row, flavor))
    instance_change(tx, row, flavor=flavor)


def _resize_check(tx: Tx, row: Instance, flavor: Flavor) -> None:
    require_idle(row, "resize")
    if flavor.id == row.flavor.id:
        raise BadInput("When resizing, instances must change flavor!")
    if 0 < flavor.disk_gib < row.flavor.disk_gib:
        raise BadInput("Resize to a smaller disk is not possible: a root disk only grows")
    used = instance_usage(tx, row.project_id)
    quota_require(tx, row.project_id, "cores", used[1], max(flavor.vcpus - row.flavor.vcpus, 0))
    quota_require(tx, row.project_id, "ram", used[2], max(flavor.memory_mib - row.flavor.memory_mib, 0))


def server_resize_confirm(tx: Tx, row: Instance) -> None:
    """Keep the new flavor: the room to return is given back."""
    allocation_set(tx, _exactly(row, row.flavor))
    instance_update(tx, passage_drop(tx, row), old_flavor=None)


def server_revert_begin(tx: Tx, row: Instance, credentials: Credentials, request_id: str) -> None:
    """Accept the return to the old flavor, and to the host that it had; a disk that grew stays grown.

    Conflict while that host does not answer: it may be confirmed, or reverted when the host is back.
    """
    way = passage_fetch(tx, row.id)
    if way is not None and way.target_id != row.host_id and row.old_flavor is not None:
        home = host_fetch(tx, way.target_id)
        if home is None or not home.is_up(tx.now_us):
            name = home.name if home else way.target_id
            raise Conflict(f"Host {name}, where instance {row.id} came from, does not answer", code="host_lost")
        data: dict[str, object] = {"flavor": msgspec.structs.asdict(row.old_flavor), "target": home.id, "back": True}
        data |= {"source": row.host_id, "host_id": home.id, "live": False}
        return operation_extend(tx, _insert(tx, row, REVERT, "claim", credentials, request_id, data), MOVE_DEADLINE_S)
    changed = instance_change(tx, row, flavor=row.old_flavor, old_flavor=None, boot=row.boot + 1, soft=True)
    data = {"generation": changed.generation, "host_id": row.host_id}
    _insert(tx, row, REVERT, "reach", credentials, request_id, data)
    return None


def _insert(
    tx: Tx, row: Instance, act: Act, step: str, credentials: Credentials, request_id: str, data: dict[str, object]
) -> Operation:
    return operation_insert(
        tx,
        kind=act.kind,
        step=step,
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=act.deadline_s,
        data=data,
    )
