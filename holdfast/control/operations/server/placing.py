"""Where a server may be, and taking its place there: room, owner, ports and files in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from holdfast.base.config import Settings
from holdfast.base.errors import BadInput
from holdfast.control.operations.network.port_instance import instance_ports_move
from holdfast.control.operations.volume.move import server_volumes_move
from holdfast.control.scheduler.place import Decision, Request, Room, place, places_count
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import leases_by_host
from holdfast.control.store.host import allocation_set, allocation_sums, disk_stores, host_fetch, hosts_list
from holdfast.control.store.instance import instance_change
from holdfast.control.store.placement.build_failures import build_failures_by_host, build_failures_try
from holdfast.control.store.placement.passage import passages_of
from holdfast.control.store.server_group import server_group_fetch, server_group_members
from holdfast.control.store.volume.rows import gib_by_host
from holdfast.domain.host import Allocation, Host
from holdfast.domain.instance import Flavor, Instance
from holdfast.domain.lease import HostPhase

GIB = 1 << 30


def server_place(
    tx: Tx, settings: Settings, row: Instance, avoid: Mapping[str, str], target: str = "", **changes: object
) -> tuple[Instance, Decision]:
    """Choose a host, claim its room and make it the owner; returns the new row, and why not the other hosts.

    `avoid` says why not, by host id; `target` names the only host that is wanted; `changes` are made to the row as
    well. NoCapacity names each host's reason, and nothing is written.
    """
    snapshot, held = rooms(tx, settings), revertible(row)
    decision = place(request_of(tx, held, avoid, target), snapshot)
    chosen = next(room for room in snapshot if room.host.id == decision.host_id)
    taken = server_take(tx, row, chosen.host, **changes)
    if chosen.failures is not None and chosen.failures.are_many:
        build_failures_try(tx, chosen.host.id)
    allocation_set(tx, _allocation(held, chosen.host))
    return taken, decision


def revertible(row: Instance) -> Instance:
    """A server as large as the larger of its flavors, while it may be reverted where it is."""
    old, new = row.old_flavor, row.flavor
    if old is None:
        return row
    sizes = {name: max(getattr(old, name), getattr(new, name)) for name in ("vcpus", "memory_mib", "disk_gib")}
    return msgspec.structs.replace(row, flavor=msgspec.structs.replace(new, **sizes))


def server_take(tx: Tx, row: Instance, host: Host, **changes: object) -> Instance:
    """Make a host that has the room the owner; returns the new row."""
    allocation_set(tx, _allocation(msgspec.structs.replace(row, **changes), host))
    instance_ports_move(tx, row.id, host.id)
    server_volumes_move(tx, row.id, host.id)
    return instance_change(tx, row, host_id=host.id, last_host_id=host.id, present=True, zone=host.zone, **changes)


def _allocation(row: Instance, host: Host) -> Allocation:
    return Allocation(row.id, host.id, row.flavor.vcpus, row.flavor.memory_mib, disk_gib_of(row))


def hosts_without_disk(tx: Tx, row: Instance, source_id: str) -> dict[str, str]:
    """Why not, by host, where the disk that a server has is not before a host; none while there is no disk."""
    source = host_fetch(tx, source_id)
    if source is None or not row.disk_made or row.disk > row.disk_made:
        return {}
    store = source.disk_store
    others = (host_id for host_id, its in disk_stores(tx).items() if not store or its != store)
    return {host_id: f"it does not share the disks of host {source.name}" for host_id in others if host_id != source_id}


def target_check(tx: Tx, row: Instance, target: str) -> None:
    """BadInput for a host that is not there, or that the server is on."""
    if not target:
        return
    wanted = next((host for host in hosts_list(tx) if target in (host.name, host.id)), None)
    if wanted is None:
        raise BadInput(f"Compute host {target[:80]} could not be found.", code="host_unknown")
    if wanted.id == row.host_id:
        raise BadInput("The target host can't be the same one.", code="same_host")


def request_of(tx: Tx, row: Instance, avoid: Mapping[str, str], target: str) -> Request:
    """What the scheduler is asked for a server."""
    zone, _, host = row.zone_asked.partition(":")
    group = server_group_fetch(tx, row.group_id) if row.group_id else None
    beside: dict[str, int] = {}
    if group is not None:
        members = dict(server_group_members(tx, [group.id])[group.id])
        members.pop(row.id, None)
        coming = passages_of(tx, list(members)).values()
        for host_id in (*members.values(), *(each.target_id for each in coming)):
            if host_id:
                beside[host_id] = beside.get(host_id, 0) + 1
    return Request(
        instance_id=row.id,
        vcpus=row.flavor.vcpus,
        memory_mib=row.flavor.memory_mib,
        disk_gib=disk_gib_of(row),
        image_id=row.image_id,
        zone=zone,
        host=target or ("" if row.launched_us else host),  # where it was first wanted binds no move
        avoid=avoid,
        apart_from=beside,
        policy=group.policy if group else "",
        max_per_host=group.max_per_host if group else 1,
    )


def rooms(tx: Tx, settings: Settings) -> list[Room]:
    """Every host with what is promised on it, now."""
    sums, volumes_gib, leases = allocation_sums(tx), gib_by_host(tx), leases_by_host(tx)
    failures = build_failures_by_host(tx)
    found = []
    for host in hosts_list(tx):
        phase = leases[host.id].phase if host.id in leases else HostPhase.MEMBER
        used = sums.get(host.id, (0, 0, 0, 0))
        room = _room(host, phase, used, volumes_gib.get(host.id, 0), settings, tx.now_us)
        failed = failures.get(host.id)
        found.append(replace(room, failures=failed, shunned=failed is not None and failed.shun(tx.now_us)))
    return _sharing(found)


def _sharing(found: list[Room]) -> list[Room]:
    """Hosts with one store of disks fill the same one."""
    used: dict[str, int] = {}
    for room in found:
        store = room.host.disk_store or room.host.id
        used[store] = used.get(store, 0) + room.used_disk_gib
    return [replace(room, used_disk_gib=used[room.host.disk_store or room.host.id]) for room in found]


def servers_that_fit(tx: Tx, settings: Settings, flavor: Flavor, zone: str, count: int) -> int:
    """How many servers of a flavor the hosts have room for now, `count` at most; NoCapacity for not even one.

    For APIs that say so at once. It claims nothing: two requests may both be told that the last room is free.
    """
    request = Request("", flavor.vcpus, flavor.memory_mib, flavor.disk_gib or 1, "", zone)
    return places_count(request, rooms(tx, settings), count)


def _room(
    host: Host, phase: HostPhase, used: tuple[int, int, int, int], volumes_gib: int, settings: Settings, now_us: int
) -> Room:
    have = host.capabilities
    return Room(
        host=host,
        up=have is not None and host.is_up(now_us),
        vcpus=int(have.vcpus * settings.vcpu_ratio) if have else 0,
        memory_mib=int((have.memory_mib - settings.reserved_memory_mib) * settings.memory_ratio) if have else 0,
        disk_gib=have.disk_gib if have else 0,
        used_vcpus=used[1],
        used_memory_mib=used[2],
        used_disk_gib=used[3] + volumes_gib,
        phase=phase,
    )


def disk_gib_of(row: Instance) -> int:
    """What the root disk may grow to, whole GiB: the flavor's, or the image's own size."""
    return row.flavor.disk_gib or -(-int(row.image.get("virtual_bytes", 0)) // GIB) or 1
