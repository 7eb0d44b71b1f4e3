"""Give a server another flavor, on its host; its owner then confirms, or reverts.

    claim  hold the room of the larger of both flavors, and tell the host the new one
    reach  wait until it runs with it (a restart; the root disk only ever grows)

Until it is confirmed the old flavor is kept, and with it the room to return. A resize that fails leaves the
server as it was.
"""

from __future__ import annotations

from holdfast.base.config import Settings
from holdfast.base.errors import BadInput, Conflict, HoldfastError, NoCapacity
from holdfast.base.limits import OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.placing import rooms
from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation_set
from holdfast.control.store.instance import instance_change, instance_update, instance_usage
from holdfast.control.store.operation import operation_insert, operation_open_of
from holdfast.control.store.quota import quota_require
from holdfast.domain.credentials import Credentials
from holdfast.domain.host import Allocation
from holdfast.domain.instance import Flavor, Instance, move, require_idle


def _claim(work: Work) -> Outcome:
    row = work.instance()
    if row.old_flavor is not None:
        return NEXT
    new = flavor_of(work.data["flavor"])
    _room_check(work.tx, work.settings, row, new)
    allocation_set(work.tx, _held(row, max(new.vcpus, row.flavor.vcpus), new))
    changed = instance_change(work.tx, row, flavor=new, old_flavor=row.flavor, boot=row.boot + 1, soft=True)
    work.data["generation"] = changed.generation
    return NEXT


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
    row = work.instance()
    if row.old_flavor is not None:
        instance_change(work.tx, row, flavor=row.old_flavor, old_flavor=None, boot=row.boot + 1)
        allocation_set(work.tx, _exactly(row, row.old_flavor))


def _held(row: Instance, vcpus: int, new: Flavor) -> Allocation:
    memory_mib = max(new.memory_mib, row.flavor.memory_mib)
    return Allocation(row.id, row.host_id, vcpus, memory_mib, max(new.disk_gib, row.flavor.disk_gib, 1))


def _exactly(row: Instance, flavor: Flavor) -> Allocation:
    return Allocation(row.id, row.host_id, flavor.vcpus, flavor.memory_mib, max(flavor.disk_gib, 1))


def _as_it_was(work: Work, _: HoldfastError) -> None:
    """The operation tells why; the server goes on."""
    row = work.instance()
    instance_update(work.tx, row, state=move(row.state, "ready"), fault=None)


def _settle(work: Work) -> Outcome:
    """After a revert: give back what the larger flavor held."""
    row = work.instance()
    allocation_set(work.tx, _exactly(row, row.flavor))
    return NEXT


RESIZE = Act(
    "server_resize", (Step("claim", _claim, _unclaim), Step("reach", server.reach)), _as_it_was, OPERATION_DEADLINE_S
)
REVERT = Act("server_revert", (Step("reach", server.reach), Step("settle", _settle)), server.fail, OPERATION_DEADLINE_S)


def flavor_of(document: dict[str, object]) -> Flavor:
    """A flavor that an operation carries."""
    return Flavor(**document)  # type: ignore[arg-type]


def server_resize_begin(tx: Tx, row: Instance, flavor: Flavor, credentials: Credentials, request_id: str) -> None:
    """Accept a resize; BadInput for the flavor it has, or one with a smaller disk."""
    _resize_check(tx, row, flavor)
    words = {name: getattr(flavor, name) for name in Flavor.__struct_fields__}
    _insert(tx, row, RESIZE, credentials, request_id, {"flavor": words, "host_id": row.host_id})


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
    instance_update(tx, row, old_flavor=None)


def server_revert_begin(tx: Tx, row: Instance, credentials: Credentials, request_id: str) -> None:
    """Accept the return to the old flavor; a disk that grew stays grown."""
    changed = instance_change(tx, row, flavor=row.old_flavor, old_flavor=None, boot=row.boot + 1, soft=True)
    _insert(tx, row, REVERT, credentials, request_id, {"generation": changed.generation, "host_id": row.host_id})


def _insert(
    tx: Tx, row: Instance, act: Act, credentials: Credentials, request_id: str, data: dict[str, object]
) -> None:
    operation_insert(
        tx,
        kind=act.kind,
        step=act.steps[0].name,
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=act.deadline_s,
        data=data,
    )
