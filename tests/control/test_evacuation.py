"""Hosts die, and what they ran runs elsewhere, once: proof, claim, former holders, return, priority, disks.

The world is asked (which host's files say that a machine runs), and rows; never our own summary.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from holdfast.base.errors import Unavailable
from holdfast.base.limits import HOST_DOWN_S, OPERATION_LEASE_S
from holdfast.control.reconcilers.evacuations import Evacuations
from holdfast.control.store.fencing.host_lease import departed_from, lease_fetch
from holdfast.control.store.placement.build_failures import build_failure_add, build_failures_by_host
from holdfast.domain.lease import HostPhase
from holdfast.domain.observed import Phase
from holdfast.host.hypervisor.simulated import queue_failure
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED, Steady, boot_on, evacuations, pass_time, status
from tests.control.test_operations_crash import run_doomed
from tests.world import IMAGE, World

SMALL = msgspec.structs.replace(SHARED, memory_mib=512 + 128 * 2)  # two servers of the smallest flavor


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=SHARED)


TINY = {"imageRef": IMAGE, "flavorRef": "42", "networks": "none"}


def test_a_dead_hosts_server_runs_elsewhere_once_its_lease_lapsed(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    world.hosts[0].die()
    auto.look(HOST_DOWN_S + 4)
    world.settle()
    assert server not in world.running()  # silent is not dead
    auto.look(LAPSED_S)
    world.settle()
    assert world.running()[server] in (["h2"], ["h3"])
    assert status(world, server) == "ACTIVE"
    assert [act["state"] for act in evacuations(world)] == ["done"]


def test_a_partitioned_host_is_not_evacuated_before_its_keeper_has_ended_its_guests(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    world.hosts[0].away = True  # and everything on it runs on
    for _ in range(12):
        auto.look(4)
        world.settle()
        lease = world.store.read(lambda tx: lease_fetch(tx, world.hosts[0].host_id))
        if world.clock.now_us() >= lease.until_us:
            world.hosts[0].end_guests()  # the keeper's part, at the lease's end
        assert len(world.running().get(server, [])) <= 1
    assert world.running()[server] != ["h1"]


def test_five_requests_make_one_move(world: World) -> None:
    server = boot_on(world, "h1")
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    for _ in range(5):
        assert world.nova("POST", f"/servers/{server}/action", {"evacuate": {}}, world.admin).status == 200
        assert world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {}).status == 202
    world.settle()
    assert len(evacuations(world)) == 1
    assert len(world.running()[server]) == 1


def test_a_live_host_the_same_an_unknown_or_a_full_one_is_refused_or_waited_for(world: World) -> None:
    server = boot_on(world, "h1")
    refused = world.nova("POST", f"/servers/{server}/action", {"evacuate": {}}, world.admin)
    assert refused.status == 400 and "still in use" in refused.json["badRequest"]["message"]
    assert world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {}).status == 400
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    for target in ("h1", "nobody"):
        body = {"evacuate": {"host": target}}
        assert world.nova("POST", f"/servers/{server}/action", body, world.admin).status == 400
    assert evacuations(world) == []


@pytest.mark.parametrize("said", [None, Phase.PREPARING])
def test_a_target_that_dies_too_is_left_for_a_third(world: World, said: Phase | None) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    world.hosts[0].die()
    auto.look(LAPSED_S)
    world.engine.run_once()
    target = world.store.read(lambda tx: tx.value(text("SELECT host_id FROM instance WHERE host_id != ''")))
    second = next(host for host in world.hosts if host.host_id == target)
    assert second is not world.hosts[0]
    second.say(server, said)
    second.die()
    third = next(host for host in world.hosts if not host.away)
    for _ in range(12):
        pass_time(world, 4)
    assert world.running()[server] == [third.name]
    assert [row.host_id for row in world.store.read(lambda tx: departed_from(tx, server))] == sorted(
        [world.hosts[0].host_id, second.host_id]
    )


def test_a_target_that_fails_must_confirm_before_another_one_has_it(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    for host in world.hosts[1:]:
        queue_failure(host.home, "start", Unavailable("no memory", retryable=False))
    world.hosts[0].die()
    auto.look(LAPSED_S)
    for _ in range(10):
        pass_time(world, 4)
        assert len(world.running().get(server, [])) <= 1
    assert status(world, server) == "ACTIVE"
    failed = world.store.read(build_failures_by_host)
    assert [row.count for row in failed.values()] == [1] and world.running()[server][0] not in failed


def test_a_disk_that_was_made_anew_once_is_not_made_again_where_the_next_host_has_it_before_it(world: World) -> None:
    """Seed 2432: the host that failed tried again by itself, and what its guest wrote was made anew on the next."""
    server = boot_on(world, "h1")
    for host in world.hosts[1:]:
        queue_failure(host.home, "start", Unavailable("no memory", retryable=False))
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    assert world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {"rebuild": True}).status == 202
    told: dict[str, tuple[int, int]] = {}
    for _ in range(40):
        world.engine.run_once()
        for host in world.hosts[1:]:
            host.step()
            record = host.desk.machine(server)
            if record is not None and record.present:
                told.setdefault(host.name, (record.disk, record.disk_made))
        world.clock.advance_s(1)
    assert list(told.values()) == [(2, 1), (2, 2)], "the first makes it anew, the second goes on from it"
    assert status(world, server) == "ACTIVE"


def test_a_disk_that_is_on_its_host_alone_is_not_made_anew_unasked(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2)
    server = boot_on(world, "h1")
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    refused = world.nova("POST", f"/servers/{server}/action", {"evacuate": {}}, world.admin)
    assert refused.status == 409 and "alone" in refused.json["conflictingRequest"]["message"]
    verdict = world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {}).json["servers"][0]
    assert verdict["outcome"] == "stays"
    world.admin.request("POST", "/operator/v1/hosts/h1/fence", {"confirmed": True})
    assert world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {"rebuild": True}).status == 202
    world.settle()
    assert world.running()[server] == ["h2"]


def test_it_goes_only_where_its_disk_is(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=3, capabilities=SHARED)
    world.hosts[2].capabilities = msgspec.structs.replace(world.hosts[2].capabilities, disk_store="another", vcpus=64)
    server = boot_on(world, "h1")
    auto = Steady(world)
    foreseen = world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {"dry_run": True}).json["servers"]
    assert [verdict["host"] for verdict in foreseen] == ["h2"]
    world.hosts[0].die()
    auto.look(LAPSED_S)
    world.settle()
    assert world.running()[server] == ["h2"]


def test_the_higher_priority_gets_the_room_and_the_rest_wait_and_go_on_when_there_is_some(
    cloud: Cloud, tmp_path: Path
) -> None:
    world = World(cloud, tmp_path, hosts=3, capabilities=SMALL)
    low = boot_on(world, "h1", "low", metadata={"holdfast:priority": "1"})
    high = boot_on(world, "h1", "high")
    boot_on(world, "h2", "there")
    world.hosts[2].die()
    pass_time(world, HOST_DOWN_S + 4)
    foreseen = world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {"dry_run": True}).json["servers"]
    world.hosts[0].die()
    pass_time(world, LAPSED_S)
    for _ in range(2):
        world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {})
        pass_time(world, 4)
    assert world.running()[high] == ["h2"] and low not in world.running()
    assert {v["name"]: v["outcome"] for v in foreseen} == {"high": "moves", "low": "waits"}
    waiting = next(act for act in evacuations(world) if act["server"] == "low")
    assert waiting["state"] == "open" and "No valid host" in waiting["waiting_for"]
    assert status(world, low) != "ERROR"
    world.hosts[2].come_back()
    pass_time(world, 12)
    assert world.running()[low] == ["h3"]


def test_parallel_evacuations_keep_a_group_apart(world: World) -> None:
    body = {"name": "apart", "policy": "anti-affinity"}
    group = world.nova("POST", "/os-server-groups", {"server_group": body}).json["server_group"]["id"]
    members = []
    for name in ("a", "b"):
        words = {
            "name": name,
            "imageRef": "11111111-1111-4111-8111-111111111111",
            "flavorRef": "42",
            "networks": "none",
        }
        answer = world.nova("POST", "/servers", {"server": words, "os:scheduler_hints": {"group": group}})
        members.append(answer.json["server"]["id"])
    world.settle()
    auto = Steady(world)
    first = next(host for host in world.hosts if host.name == world.running()[members[0]][0])
    first.die()
    auto.look(LAPSED_S)
    world.settle()
    places = [world.running()[member] for member in members]
    assert places[0] != places[1] and [first.name] not in places


def test_nothing_is_done_by_itself_when_most_hosts_vanish_at_once(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    for host in world.hosts[:2]:
        host.die()
    auto.look(LAPSED_S * 2)
    world.settle()
    assert evacuations(world) == []
    assert world.admin.request("GET", "/operator/v1/hosts").json["evacuation_braked"] is True
    assert world.admin.request("POST", "/operator/v1/hosts/h1/evacuate", {}).status == 202  # asked for, it goes
    world.settle()
    assert world.running()[server] == ["h3"]


def test_a_replica_that_was_away_itself_evacuates_nothing_before_it_has_looked_for_a_whole_lease(world: World) -> None:
    boot_on(world, "h1")
    reconciler = Evacuations(world.store, world.cloud.services.settings, world.clock)
    world.hosts[0].die()
    world.clock.advance_s(3600)
    for host in world.hosts[1:]:
        host.step()
    reconciler.tick()
    assert world.store.read(lambda tx: lease_fetch(tx, world.hosts[0].host_id)).phase is HostPhase.MEMBER


@pytest.mark.parametrize("said", [None, Phase.PREPARING])
def test_a_server_that_was_being_built_on_a_dead_host_is_built_elsewhere(world: World, said: Phase | None) -> None:
    auto = Steady(world)
    server = world.boot(networks="none")
    world.engine.run_once()
    host_id = world.store.read(lambda tx: tx.value(text("SELECT host_id FROM instance")))
    source = next(host for host in world.hosts if host.host_id == host_id)
    source.say(server, said)
    source.die()
    auto.look(LAPSED_S)
    pass_time(world, 8)
    assert world.running()[server] != [source.name]
    assert status(world, server) == "ACTIVE"


def test_a_stopped_server_stays_stopped(world: World) -> None:
    server = boot_on(world, "h1")
    world.nova("POST", f"/servers/{server}/action", {"os-stop": None}, world.admin)
    world.settle()
    auto = Steady(world)
    for host in world.hosts:
        world.store.write(lambda tx, host=host: build_failure_add(tx, host.host_id, "no memory"))
    world.hosts[0].die()
    auto.look(LAPSED_S)
    world.settle()
    assert len(world.store.read(build_failures_by_host)) == 3, "nothing was started: no host has shown that it can"
    assert status(world, server) == "SHUTOFF" and server not in world.running()
    assert world.server(server, world.admin)["OS-EXT-SRV-ATTR:host"] in ("h2", "h3")


def test_killed_at_any_point_an_evacuation_is_carried_on_by_another_replica(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2, capabilities=SHARED)
    for points in itertools.count():
        source, target = world.hosts
        server = boot_on(world, source.name, f"n{points}")
        source.die()
        world.clock.advance_s(LAPSED_S)
        target.step()
        world.admin.request("POST", f"/operator/v1/hosts/{source.name}/evacuate", {})
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        target.restart()
        world.settle(world.make_engine(worker=f"next-{points}"))
        assert world.running()[server] == [target.name], f"killed at point {points}"
        assert [act["state"] for act in evacuations(world) if act["server_id"] == server] == ["done"]
        source.come_back()
        world.settle()
        assert world.running()[server] == [target.name]
        world.nova("DELETE", f"/servers/{server}", client=world.admin)
        world.settle()
        assert world.audit() == []
        if not killed:
            return
