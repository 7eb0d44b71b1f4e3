"""Half of the hosts are lost: what is lost with them is what matters least, as a dry run said before."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.base.limits import OPERATION_LEASE_S
from holdfast.control.scheduler.place import Request, Room
from holdfast.control.scheduler.shed import Giver, shed_for
from holdfast.control.store.host import allocations_list
from holdfast.control.store.placement.passage import passages_list
from holdfast.domain.host import Host
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED, boot_on, pass_time, status
from tests.control.test_operations_crash import run_doomed
from tests.world import World

TWO = msgspec.structs.replace(SHARED, memory_mib=512 + 128 * 2)  # servers of the smallest flavor


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=TWO)


def boot_ranked(world: World, host: str, *ranks: int) -> dict[int, str]:
    """A server for each priority, whose flavor says it; its id by priority."""
    made = {}
    for rank in ranks:
        body = {"flavor": {"name": f"r{rank}", "id": f"r{rank}", "ram": 128, "vcpus": 1, "disk": 1}}
        world.nova("POST", "/flavors", body, world.admin)
        specs = {"extra_specs": {"holdfast:priority": str(rank)}}
        assert world.nova("POST", f"/flavors/r{rank}/os-extra_specs", specs, world.admin).status == 200
        made[rank] = boot_on(world, host, f"p{rank}", flavorRef=f"r{rank}")
        world.clock.advance_s(1)
    return made


def evacuate(world: World, **words: Any) -> list[dict[str, Any]]:
    return list(world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", words).json["servers"])


def running(world: World, servers: dict[int, str]) -> set[int]:
    return {rank for rank, server in servers.items() if server in world.running()}


def test_the_lowest_give_their_room_as_the_dry_run_said_and_come_back(world: World) -> None:
    servers = boot_ranked(world, "h1", 90, 80) | boot_ranked(world, "h2", 40, 10) | boot_ranked(world, "h3", 30, 20)
    foreseen = [(v["priority"], v["outcome"]) for v in evacuate(world, dry_run=True)]
    assert foreseen == [(90, "moves"), (10, "shed"), (80, "moves"), (20, "shed")]
    assert running(world, servers) == set(servers), "a dry run changes nothing"
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    evacuate(world)
    pass_time(world, 40)
    assert running(world, servers) == {90, 80, 40, 30}
    assert all(len(hosts) == 1 for hosts in world.running().values())
    acts = {act["server"]: act for act in world.admin.request("GET", "/operator/v1/evacuations").json["evacuations"]}
    assert acts["p10"]["step"] == "room" and "No valid host" in acts["p10"]["waiting_for"]
    world.hosts[0].come_back()
    pass_time(world, 30)
    assert running(world, servers) == set(servers) and {status(world, s) for s in servers.values()} == {"ACTIVE"}
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_room_that_there_is_again_goes_to_the_highest_first(world: World) -> None:
    servers = boot_ranked(world, "h1", 50, 60) | boot_ranked(world, "h2", 90, 91) | boot_ranked(world, "h3", 70, 92)
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    evacuate(world)
    pass_time(world, 20)
    assert running(world, servers) == {90, 91, 70, 92}, "nobody of a higher priority gives its room"
    world.nova("DELETE", f"/servers/{servers.pop(70)}", client=world.admin)
    pass_time(world, 20)
    assert running(world, servers) == {90, 91, 92, 60}


def test_with_the_setting_never_nobody_gives_its_room(world: World) -> None:
    services = world.cloud.services
    settings = dataclasses.replace(services.settings, shed="never")
    object.__setattr__(services, "settings", settings)  # as if it had been started so
    world.engine = world.make_engine()
    servers = boot_ranked(world, "h1", 90) | boot_ranked(world, "h2", 1, 2) | boot_ranked(world, "h3", 3, 4)
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    assert [v["outcome"] for v in evacuate(world, dry_run=True)] == ["waits"]
    evacuate(world)
    pass_time(world, 20)
    assert running(world, servers) == {1, 2, 3, 4}


def test_nobody_gives_its_room_whose_disk_is_on_its_host_alone(world: World) -> None:
    servers = boot_ranked(world, "h2", 10, 20)
    for number, host in enumerate(world.hosts):
        host.capabilities = msgspec.structs.replace(host.capabilities, disk_store=f"store-{number}")
        host.step()
    servers |= boot_ranked(world, "h1", 90) | boot_ranked(world, "h3", 30, 40)
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    world.admin.request("POST", "/operator/v1/hosts/h1/fence", {"confirmed": True})
    evacuate(world, rebuild=True)
    pass_time(world, 30)
    assert running(world, servers) == {10, 20, 30, 40}


def test_killed_at_any_point_exactly_the_lowest_is_lost(world: World) -> None:
    for points in itertools.count():
        servers = boot_ranked(world, "h1", 90) | boot_ranked(world, "h2", 10, 40) | boot_ranked(world, "h3", 30, 20)
        world.hosts[0].die()
        pass_time(world, LAPSED_S)
        evacuate(world)
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        for host in world.hosts[1:]:
            host.restart()
            host.step()
        world.engine = world.make_engine(worker=f"next-{points}")
        pass_time(world, 20)
        assert running(world, servers) == {90, 40, 30, 20}, f"killed at point {points}"
        world.hosts[0].come_back()
        for server in servers.values():
            world.nova("DELETE", f"/servers/{server}", client=world.admin)
        pass_time(world, 20)
        assert (world.running(), world.store.read(allocations_list)) == ({}, [])
        assert (world.store.read(passages_list), world.audit()) == ([], [])
        if not killed:
            assert points > 4, "it was never killed inside"
            return


def room(name: str, memory_mib: int, used_mib: int) -> Room:
    host = Host(name, name, "nova", True, "", None, [], [], [], 0, 0, "", 1, 0)
    return Room(host, True, 100, memory_mib, 1000, used_memory_mib=used_mib)


def giver(name: str, host: str, priority: int, memory_mib: int, runs: bool = True) -> Giver:
    return Giver(name, name, host, priority, runs, 1, memory_mib, 1)


def test_as_few_and_as_low_as_it_takes() -> None:
    rooms = [room("a", 100, 100), room("b", 100, 100)]
    wants = Request("x", 1, 60, 1, "")
    here = [giver("s", "a", 10, 20), giver("l", "a", 30, 60), giver("m", "b", 20, 30), giver("n", "b", 20, 30)]
    assert {each.instance_id for each in shed_for(wants, rooms, here)} == {"m", "n"}  # 20 is the most that b loses
    only_a = [each for each in here if each.host_id == "a"]
    assert [each.instance_id for each in shed_for(wants, rooms, only_a)] == ["l"]  # s would not have been enough
    assert shed_for(wants, rooms, [giver("t", "a", 0, 10)]) == ()
    stopped = [giver("r", "a", 10, 60), giver("p", "a", 10, 60, runs=False)]
    assert [each.instance_id for each in shed_for(wants, rooms, stopped)] == ["p"]  # ended already: nobody misses it
