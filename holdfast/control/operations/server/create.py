"""Create a server: choose a host and claim its room, then see it run there.

leave     wait until no host holds it (a host that failed it removes its trace first)
schedule  place, claim and own in one transaction
spawn     wait for the host's report; a failure that another host may not have goes back to `leave`
"""

from __future__ import annotations

from holdfast.base.config import Settings
from holdfast.base.limits import OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, go, wait
from holdfast.control.operations.network.port_instance import instance_ports_move
from holdfast.control.operations.server import acts as server
from holdfast.control.scheduler.place import Request, Room, place, places_count
from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation_insert, allocation_sums, hosts_list
from holdfast.control.store.instance import instance_change, instance_update
from holdfast.control.store.server_group import server_group_fetch, server_group_members
from holdfast.control.store.volume.rows import gib_by_host
from holdfast.domain.host import Allocation, Host
from holdfast.domain.instance import Flavor, Instance, move
from holdfast.domain.observed import Phase

HOSTS_TRIED_MAX = 3
GIB = 1 << 30


def _leave(work: Work) -> Outcome:
    row = work.instance()
    return NEXT if not row.host_id else wait(f"host {server.host_name(work, row)} to remove what it began")


def _schedule(work: Work) -> Outcome:
    row = work.instance()
    if row.host_id:
        return NEXT
    snapshot = rooms(work.tx, work.settings)
    decision = place(_request(work, row), snapshot)
    host_id = decision.host_id
    flavor = row.flavor
    disk_gib = disk_gib_of(row)
    allocation_insert(work.tx, Allocation(row.id, host_id, flavor.vcpus, flavor.memory_mib, disk_gib))
    instance_ports_move(work.tx, row.id, host_id)
    zone = next(room.host.zone for room in snapshot if room.host.id == host_id)
    changed = instance_change(work.tx, row, host_id=host_id, last_host_id=host_id, present=True, zone=zone)
    work.data.update(host_id=host_id, generation=changed.generation, rejected=dict(decision.rejected))
    return Outcome("next", f"on {server.host_name(work, changed)}")


def _unschedule(work: Work) -> None:
    row = work.instance()
    if row.host_id and row.present:
        instance_change(work.tx, row, present=False)


def _spawn(work: Work) -> Outcome:
    row = work.instance()
    seen = server.reached(work, row, work.data["generation"])
    if seen is None or seen.phase == Phase.PREPARING:
        step = f": {seen.step}" if seen and seen.step else ""
        return wait(f"host {server.host_name(work, row)} to start it{step}")
    if seen.phase == Phase.FAILED:
        tried = {**work.data.get("avoid", {}), row.host_id: seen.reason}
        if not seen.retryable or len(tried) >= HOSTS_TRIED_MAX:
            raise server.build_failed(seen, retryable=False)
        work.data["avoid"] = tried
        instance_change(work.tx, row, present=False)
        return go("leave", f"failed there: {seen.reason}")
    instance_update(work.tx, row, state=move(row.state, "ready"), launched_us=work.tx.now_us, fault=None)
    return NEXT


def _request(work: Work, row: Instance) -> Request:
    zone, _, host = row.zone_asked.partition(":")
    group = server_group_fetch(work.tx, row.group_id) if row.group_id else None
    beside: dict[str, int] = {}
    if group is not None:
        for instance_id, host_id in server_group_members(work.tx, [group.id])[group.id]:
            if instance_id != row.id and host_id:
                beside[host_id] = beside.get(host_id, 0) + 1
    return Request(
        instance_id=row.id,
        vcpus=row.flavor.vcpus,
        memory_mib=row.flavor.memory_mib,
        disk_gib=disk_gib_of(row),
        image_id=row.image_id,
        zone=zone,
        host=host,
        avoid=work.data.get("avoid", {}),
        apart_from=beside,
        policy=group.policy if group else "",
        max_per_host=group.max_per_host if group else 1,
    )


def rooms(tx: Tx, settings: Settings) -> list[Room]:
    """Every host with what is promised on it, now."""
    sums, volumes_gib = allocation_sums(tx), gib_by_host(tx)
    return [
        _room(host, sums.get(host.id, (0, 0, 0, 0)), volumes_gib.get(host.id, 0), settings, tx.now_us)
        for host in hosts_list(tx)
    ]


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


CREATE = Act(
    "server_create",
    (Step("leave", _leave), Step("schedule", _schedule, _unschedule), Step("spawn", _spawn)),
    server.fail,
    OPERATION_DEADLINE_S,
)
