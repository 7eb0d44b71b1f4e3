"""Where a server may be, and taking its place there: room, owner, ports and files in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast.base.config import Settings
from holdfast.control.operations.network.port_instance import instance_ports_move
from holdfast.control.operations.volume.move import server_volumes_move
from holdfast.control.scheduler.place import Decision, Request, Room, place, places_count
from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation_set, allocation_sums, hosts_list
from holdfast.control.store.host_lease import leases_by_host
from holdfast.control.store.instance import instance_change
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
    snapshot = rooms(tx, settings)
    decision = place(request_of(tx, row, avoid, target), snapshot)
    host_id, flavor = decision.host_id, row.flavor
    allocation_set(tx, Allocation(row.id, host_id, flavor.vcpus, flavor.memory_mib, disk_gib_of(row)))
    instance_ports_move(tx, row.id, host_id)
    server_volumes_move(tx, row.id, host_id)
    zone = next(room.host.zone for room in snapshot if room.host.id == host_id)
    moved = instance_change(tx, row, host_id=host_id, last_host_id=host_id, present=True, zone=zone, **changes)
    return moved, decision


def request_of(tx: Tx, row: Instance, avoid: Mapping[str, str], target: str) -> Request:
    """What the scheduler is asked for a server."""
    zone, _, host = row.zone_asked.partition(":")
    group = server_group_fetch(tx, row.group_id) if row.group_id else None
    beside: dict[str, int] = {}
    if group is not None:
        for instance_id, host_id in server_group_members(tx, [group.id])[group.id]:
            if instance_id != row.id and host_id:
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
    found = [
        _room(host, sums.get(host.id, (0, 0, 0, 0)), volumes_gib.get(host.id, 0), settings, tx.now_us)
        for host in hosts_list(tx)
    ]
    phases = {host_id: lease.phase for host_id, lease in leases.items()}
    return _sharing([replace(room, phase=phases.get(room.host.id, HostPhase.MEMBER)) for room in found])


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


def _room(host: Host, used: tuple[int, int, int, int], volumes_gib: int, settings: Settings, now_us: int) -> Room:
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
    )


def disk_gib_of(row: Instance) -> int:
    """What the root disk may grow to, whole GiB: the flavor's, or the image's own size."""
    return row.flavor.disk_gib or -(-int(row.image.get("virtual_bytes", 0)) // GIB) or 1
