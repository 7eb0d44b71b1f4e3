"""A whole host evacuated: what would happen, and making it happen. Each server has its own act; see server/evacuate."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from holdfast.base.config import Settings
from holdfast.base.errors import HoldfastError, NoCapacity
from holdfast.control.operations.server.evacuate import (
    disk_check,
    server_evacuate_begin,
)
from holdfast.control.operations.server.placing import disk_gib_of, hosts_without_disk, request_of, rooms
from holdfast.control.scheduler.place import Room, place
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.instance import instances_of_host
from holdfast.domain.credentials import Credentials
from holdfast.domain.host import Host
from holdfast.domain.instance import Instance, InstanceState, priority_of


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of one server of a dead host."""

    instance_id: str
    name: str
    priority: int
    outcome: str  # moves, waits (for room), stays, builds (elsewhere, anew), goes (it is being deleted)
    host: str = ""  # where it would go
    operation_id: str = ""
    reason: str = ""


def in_order(rows: list[Instance]) -> list[Instance]:
    """By priority, the highest first; then the oldest."""
    return sorted(rows, key=lambda row: (-priority_of(row), row.created_us, row.id))


def host_evacuate(
    tx: Tx, settings: Settings, host: Host, credentials: Credentials, request_id: str, target: str, rebuild: bool
) -> list[Verdict]:
    """Accept the evacuation of everything on a host; repeated, it answers with what goes on."""
    return [
        _begin(tx, settings, row, credentials, request_id, target, rebuild)
        for row in in_order(instances_of_host(tx, host.id))
    ]


def _begin(
    tx: Tx, settings: Settings, row: Instance, credentials: Credentials, request_id: str, target: str, rebuild: bool
) -> Verdict:
    verdict = Verdict(row.id, row.name, priority_of(row), "moves")
    if (otherwise := _otherwise(row)) is not None:
        return otherwise
    try:
        act = tx.attempt(
            lambda: server_evacuate_begin(tx, settings, row, credentials, request_id, target=target, rebuild=rebuild)
        )
    except HoldfastError as err:
        return msgspec.structs.replace(verdict, outcome="stays", reason=err.message)
    return msgspec.structs.replace(verdict, operation_id=act.id)


def _otherwise(row: Instance) -> Verdict | None:
    if row.state is InstanceState.BUILDING:
        return Verdict(row.id, row.name, priority_of(row), "builds", reason="it is built on another host")
    if row.state is InstanceState.DELETING:
        return Verdict(row.id, row.name, priority_of(row), "goes", reason="it is being deleted")
    return None


def host_evacuation_foreseen(tx: Tx, settings: Settings, host: Host, target: str, rebuild: bool) -> list[Verdict]:
    """What an evacuation of a host would do if it began now, whether the host is dead or not. Nothing is changed."""
    left, names = {room.host.id: room for room in rooms(tx, settings)}, host_names(tx)
    groups: dict[str, dict[str, int]] = {}
    return [
        _foreseen(tx, row, host, target, rebuild, left, names, groups)
        for row in in_order(instances_of_host(tx, host.id))
    ]


def _foreseen(
    tx: Tx,
    row: Instance,
    host: Host,
    target: str,
    rebuild: bool,
    left: dict[str, Room],
    names: dict[str, str],
    groups: dict[str, dict[str, int]],
) -> Verdict:
    if (otherwise := _otherwise(row)) is not None:
        return otherwise
    verdict = Verdict(row.id, row.name, priority_of(row), "moves")
    avoid = {} if rebuild else hosts_without_disk(tx, row, host.id)
    request = request_of(tx, row, {**avoid, host.id: "it is the one that is left"}, target)
    beside = groups.setdefault(row.group_id, dict(request.apart_from)) if row.group_id else {}
    try:
        if not rebuild:
            disk_check(tx, row, host)
        chosen = left[place(replace(request, apart_from=beside), list(left.values())).host_id]
    except NoCapacity as err:
        return msgspec.structs.replace(verdict, outcome="waits", reason=err.message)
    except HoldfastError as err:
        return msgspec.structs.replace(verdict, outcome="stays", reason=err.message)
    beside[chosen.host.id] = beside.get(chosen.host.id, 0) + 1
    left[chosen.host.id] = replace(
        chosen,
        used_vcpus=chosen.used_vcpus + row.flavor.vcpus,
        used_memory_mib=chosen.used_memory_mib + row.flavor.memory_mib,
        used_disk_gib=chosen.used_disk_gib + disk_gib_of(row),
    )
    return msgspec.structs.replace(verdict, host=names.get(chosen.host.id, chosen.host.id))
