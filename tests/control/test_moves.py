"""Servers leave hosts that are alive: cold, live, resized elsewhere, sent back; and what is left when that fails.

The world is asked: which host's files say that a machine runs, and rows; never our own summary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.base.errors import Conflict
from holdfast.base.limits import OPERATION_DEADLINE_S
from holdfast.control.store.fencing.host_lease import departed_from
from holdfast.control.store.host import allocation_sums, allocations_list
from holdfast.control.store.instance import instance_change, instance_fetch
from holdfast.control.store.placement.passage import passages_list
from holdfast.host.hypervisor.simulated import queue_failure
from tests.api.volume_world import Cinder
from tests.conftest import Cloud
from tests.control.several_hosts import SHARED, act, boot_on, status
from tests.world import HostStandIn, World


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=SHARED)


@pytest.fixture
def apart(cloud: Cloud, tmp_path: Path) -> World:
    """Hosts whose disks are their own."""
    world = World(cloud, tmp_path, hosts=2)
    for number, host in enumerate(world.hosts):
        host.capabilities = msgspec.structs.replace(host.capabilities, disk_store=f"store-{number}")
        host.step()
    return world


def test_moved_cold_it_runs_elsewhere_waits_to_be_confirmed_and_holds_the_room_to_return(world: World) -> None:
    server = boot_on(world, "h1")
    assert act(world, server, "migrate") == 202
    world.settle()
    assert world.running()[server] != ["h1"] and len(world.running()[server]) == 1
    assert status(world, server) == "VERIFY_RESIZE"
    held = world.store.read(allocation_sums)
    assert held[world.hosts[0].host_id][2] == 128 and sum(sums[2] for sums in held.values()) == 256
    assert act(world, server, "confirmResize") == 204
    assert status(world, server) == "ACTIVE"
    assert world.hosts[0].host_id not in world.store.read(allocation_sums)
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_reverted_it_is_back_where_it_was(world: World) -> None:
    server = boot_on(world, "h2")
    act(world, server, "migrate", {"host": "h3"})
    world.settle()
    assert world.running()[server] == ["h3"]
    assert act(world, server, "revertResize") == 202
    world.settle()
    assert world.running()[server] == ["h2"]
    assert status(world, server) == "ACTIVE"
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_a_stopped_server_moves_and_stays_stopped(world: World) -> None:
    server = boot_on(world, "h1")
    act(world, server, "os-stop")
    world.settle()
    act(world, server, "migrate", {"host": "h2"})
    world.settle()
    act(world, server, "confirmResize")
    assert server not in world.running() and status(world, server) == "SHUTOFF"
    act(world, server, "os-start")
    world.settle()
    assert world.running()[server] == ["h2"]


def test_moved_live_it_is_never_ended_and_never_runs_twice(world: World) -> None:
    server = boot_on(world, "h1")
    assert act(world, server, "os-migrateLive", {"host": "h2", "block_migration": "auto"}) == 202
    seen = set()
    for _ in range(40):
        world.engine.run_once()
        for host in world.hosts:
            host.step()
            runs = [h.name for h in world.hosts if runs_on(h, server)]
            assert len(runs) <= 1
            seen.add(tuple(runs))
    assert seen == {("h1",), (), ("h2",)}  # halted on both while the owner changes
    assert status(world, server) == "ACTIVE"
    assert world.store.read(lambda tx: departed_from(tx, server)) == []
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def runs_on(host: HostStandIn, server: str) -> bool:
    seen = host.hypervisor.machines().get(server)
    return seen is not None and seen.run == "running"


def test_where_disks_are_not_shared_a_running_server_takes_its_disk_along_and_a_stopped_one_stays(
    apart: World,
) -> None:
    server = boot_on(apart, "h1")
    act(apart, server, "migrate")
    apart.settle()
    assert apart.running()[server] == ["h2"] and status(apart, server) == "VERIFY_RESIZE"
    act(apart, server, "confirmResize")
    act(apart, server, "os-stop")
    apart.settle()
    answer = apart.nova("POST", f"/servers/{server}/action", {"migrate": None}, apart.admin)
    assert answer.status == 400 and "does not share the disks" in answer.json["badRequest"]["message"]


def test_block_migration_is_done_when_asked_for_and_refused_where_it_cannot_be(apart: World) -> None:
    server = boot_on(apart, "h1")
    refused = apart.nova("POST", f"/servers/{server}/action", live(block_migration=False), apart.admin)
    assert refused.status == 400 and "does not share" in refused.json["badRequest"]["message"]
    assert act(apart, server, *live(block_migration=True).popitem()) == 202
    apart.settle()
    assert apart.running()[server] == ["h2"]


def live(**words: Any) -> dict[str, Any]:
    return {"os-migrateLive": {"host": None, "block_migration": "auto", **words}}


def test_novas_migrations_tell_what_goes_on_and_call_it_off(world: World) -> None:
    server = boot_on(world, "h1")
    for host in world.hosts[1:]:
        host.deaf = True
    act(world, server, *live(host="h2").popitem())
    world.settle()
    (shown,) = world.nova("GET", f"/servers/{server}/migrations", client=world.admin).json["migrations"]
    assert (shown["status"], shown["source_compute"], shown["dest_compute"]) == ("running", "h1", "h2")
    (listed,) = world.nova("GET", "/os-migrations?migration_type=live-migration", client=world.admin).json["migrations"]
    assert (listed["id"], listed["instance_uuid"]) == (shown["id"], server)
    assert world.nova("GET", "/os-migrations?host=h3", client=world.admin).json["migrations"] == []
    one = f"/servers/{server}/migrations/{shown['id']}"
    assert world.nova("GET", one, client=world.admin).json["migration"]["uuid"] == listed["uuid"]
    assert world.nova("POST", f"{one}/action", {"force_complete": None}, world.admin).status == 501
    for method, path in (("GET", one), ("DELETE", one), ("GET", "/os-migrations"), ("GET", one.rpartition("/")[0])):
        assert world.nova(method, path).status in (403, 404), path
    assert world.nova("DELETE", one, client=world.admin).status == 202
    for host in world.hosts:
        host.deaf = False
    world.settle()
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    (listed,) = world.nova("GET", "/os-migrations", client=world.admin).json["migrations"]
    assert listed["status"] == "cancelled" and world.nova("DELETE", one, client=world.admin).status == 404
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_a_resize_that_its_host_has_no_room_for_goes_elsewhere_and_back(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2, capabilities=SHARED)
    world.hosts[0].capabilities = msgspec.structs.replace(world.hosts[0].capabilities, memory_mib=512 + 200)
    world.hosts[0].step()
    server = boot_on(world, "h1")
    assert act(world, server, "resize", {"flavorRef": "1"}) == 202  # 512 MiB
    world.settle()
    assert world.running()[server] == ["h2"] and status(world, server) == "VERIFY_RESIZE"
    assert world.store.read(allocation_sums)[world.hosts[1].host_id][2] == 512
    act(world, server, "revertResize")
    world.settle()
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    assert [(held.host_id, held.memory_mib) for held in world.store.read(allocations_list)] == [
        (world.hosts[0].host_id, 128)
    ]
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_a_resize_goes_on_from_a_host_that_cannot_start_it(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=3, capabilities=SHARED)
    world.hosts[0].capabilities = msgspec.structs.replace(world.hosts[0].capabilities, memory_mib=512 + 200)
    world.hosts[0].step()
    server = boot_on(world, "h1")
    act(world, server, "resize", {"flavorRef": "1"})
    world.engine.run_once()
    (way,) = world.store.read(passages_list)
    target = next(host for host in world.hosts if host.host_id == way.target_id)
    queue_failure(target.home, "start", Conflict("no such machine type"))
    world.settle()
    third = next(host.name for host in world.hosts[1:] if host is not target)
    assert world.running()[server] == [third] and status(world, server) == "VERIFY_RESIZE"
    assert act(world, server, "revertResize") == 202
    world.settle()
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_a_resize_that_no_host_can_start_ends_in_error_and_holds_no_room_to_return(
    cloud: Cloud, tmp_path: Path
) -> None:
    world = World(cloud, tmp_path, hosts=2, capabilities=SHARED)
    world.hosts[0].capabilities = msgspec.structs.replace(world.hosts[0].capabilities, memory_mib=512 + 200)
    world.hosts[0].step()
    server = boot_on(world, "h1")
    queue_failure(world.hosts[1].home, "start", Conflict("no such machine type"))
    act(world, server, "resize", {"flavorRef": "1"})
    world.settle()
    assert status(world, server) == "ERROR"
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_a_resize_at_home_ends_within_its_bound_when_its_host_does_nothing(world: World) -> None:
    server = boot_on(world, "h1")
    world.hosts[0].deaf = True
    act(world, server, "resize", {"flavorRef": "84"})
    for _ in range(OPERATION_DEADLINE_S // 4 + 4):
        world.clock.advance_s(4)
        world.settle()
    story = world.nova("GET", f"/servers/{server}/os-instance-actions", client=world.admin).json["instanceActions"]
    assert "did not end within 300 s" in next(told["message"] for told in story if told["action"] == "resize")
    assert status(world, server) == "ACTIVE"


def test_room_that_is_held_is_no_server(world: World) -> None:
    server = boot_on(world, "h1")
    act(world, server, "migrate", {"host": "h2"})
    world.settle()
    hosts = world.admin.request("GET", "/operator/v1/hosts").json["hosts"]
    assert {host["name"]: host["servers"] for host in hosts} == {"h1": 0, "h2": 1, "h3": 0}


def test_what_cannot_be_moved_is_refused_with_the_reason(world: World) -> None:
    server = boot_on(world, "h1")
    for word, body, status_code in (
        ("migrate", {"host": "h1"}, 400),
        ("migrate", {"host": "nobody"}, 400),
        ("os-migrateLive", {"host": "nobody", "block_migration": "auto"}, 400),
        ("os-migrateLive", {"host": "h2"}, 400),  # block_migration is wanted
        ("os-migrateLive", "h2", 400),
        ("migrate", {"hosts": "h2"}, 400),
    ):
        assert act(world, server, word, body) == status_code, (word, body)
    act(world, server, "os-stop")
    world.settle()
    assert act(world, server, "os-migrateLive", {"host": "h2", "block_migration": "auto"}) == 409
    assert world.store.read(passages_list) == []


@pytest.mark.parametrize(
    ("word", "body"), [("migrate", None), ("os-migrateLive", {"host": None, "block_migration": "auto"})]
)
def test_only_an_administrator_moves_a_server(world: World, word: str, body: Any) -> None:
    server = world.boot()
    world.settle()
    before = world.running()
    assert world.act(server, word, body).status == 403
    world.settle()
    assert world.running() == before and world.store.read(passages_list) == []


def test_a_guest_of_another_qemu_is_not_moved_live(world: World) -> None:
    server = boot_on(world, "h1")
    for host in world.hosts[1:]:
        host.capabilities = msgspec.structs.replace(host.capabilities, hypervisor_version="2")
    world.settle()
    answer = world.nova(
        "POST", f"/servers/{server}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}}, world.admin
    )
    assert answer.status == 400 and "its hypervisor is simulated 2" in answer.json["badRequest"]["message"]


def test_members_that_must_be_apart_do_not_meet_on_their_ways(world: World) -> None:
    body = {"server_group": {"name": "apart", "policy": "anti-affinity"}}
    group = world.nova("POST", "/os-server-groups", body, world.admin).json["server_group"]["id"]
    first, second = (boot_on(world, host, host, hints={"group": group}) for host in ("h1", "h2"))
    assert act(world, first, "os-migrateLive", {"host": None, "block_migration": "auto"}) == 202
    world.engine.run_once()
    answer = world.nova("POST", f"/servers/{second}/action", {"migrate": None}, world.admin)
    assert answer.status == 400, "the only other host is taken by the one that is on its way"
    world.settle()
    assert world.running()[first] == ["h3"] and world.running()[second] == ["h2"]


def test_a_server_on_its_way_is_given_no_volume_and_keeps_those_it_has(apart: World) -> None:
    """Seed 1464: a volume that came meanwhile stayed on the host that the server left."""
    volumes, server = Cinder(apart, apart.admin), boot_on(apart, "h1")
    volume = volumes.create()
    apart.settle()
    apart.hosts[0].deaf = True
    assert act(apart, server, "os-migrateLive", {"host": "h2", "block_migration": "auto"}) == 202
    apart.engine.run_once()
    assert [way.instance_id for way in apart.store.read(passages_list)] == [server]
    refused = volumes.attach(server, volume)
    assert refused.status == 409 and "on its way to another host" in refused.body.decode()
    apart.hosts[0].deaf = False
    apart.settle()
    assert apart.running()[server] == ["h2"]
    volumes.attached(server, volume)
    assert act(apart, server, "os-migrateLive", {"host": "h1", "block_migration": "auto"}) == 409
    assert volumes.detach(server, volume).status == 202
    apart.settle()
    assert apart.audit() == []


def test_a_server_that_its_host_is_giving_back_goes_nowhere(world: World) -> None:
    """Seed 2632: a drain took one along whose create had failed, and its way stayed behind."""
    server = boot_on(world, "h1")
    row = world.store.read(lambda tx: instance_fetch(tx, server))
    assert row is not None
    world.store.write(lambda tx: instance_change(tx, row, present=False))
    refused = world.nova("POST", f"/servers/{server}/action", live(host="h2"), world.admin)
    assert refused.status == 409 and "gives it back" in refused.body.decode()
    world.settle()
    assert world.store.read(passages_list) == []
