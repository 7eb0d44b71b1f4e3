"""Moves that are cut short: a host dies, is silent, or stands still; the server is deleted; its worker is killed.

The world is asked: which host's files say that a machine runs, and rows; never our own summary.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from holdfast.base.errors import Conflict
from holdfast.base.limits import MOVE_STALLED_S, OPERATION_LEASE_S
from holdfast.control.store.fencing.host_lease import departed_from
from holdfast.control.store.host import allocations_list
from holdfast.control.store.placement.passage import passages_list
from holdfast.host.hypervisor.simulated import queue_failure
from tests.conftest import Cloud
from tests.control.several_hosts import SHARED, Steady, act, boot_on, status
from tests.control.test_operations_crash import run_doomed
from tests.world import World


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=SHARED)


def test_a_host_that_a_second_move_brings_it_to_has_nothing_left_of_the_first(world: World) -> None:
    """Seed 1202: the target never heard that the first one was called off, before the second came there."""
    server, target = boot_on(world, "h1"), {"host": "h2", "block_migration": "auto"}
    act(world, server, "os-migrateLive", target)
    world.engine.run_once()
    world.hosts[1].step()
    (shown,) = world.nova("GET", f"/servers/{server}/migrations", client=world.admin).json["migrations"]
    assert world.nova("DELETE", f"/servers/{server}/migrations/{shown['id']}", client=world.admin).status == 202
    world.engine.run_once()
    assert [row.host_id for row in world.store.read(lambda tx: departed_from(tx, server))] == [world.hosts[1].host_id]
    assert act(world, server, "os-migrateLive", target) == 202
    world.engine.run_once()
    world.settle()
    assert world.running()[server] == ["h2"]
    assert world.store.read(lambda tx: departed_from(tx, server)) == []
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_it_goes_nowhere_before_the_host_that_it_left_said_that_nothing_of_it_is_there(
    cloud: Cloud, tmp_path: Path
) -> None:
    """Seed 5083: what came and could not go on was sent back to a host that had not ended what it had sent."""
    world = World(cloud, tmp_path, hosts=2, capabilities=SHARED)
    server, (source, target) = boot_on(world, "h1"), world.hosts
    queue_failure(target.home, "activate", Conflict("no guest was received"))
    act(world, server, "os-migrateLive", {"host": "h2", "block_migration": "auto"})
    while world.server(server, world.admin)["OS-EXT-SRV-ATTR:host"] == "h1":
        target.step()
        source.step()
        world.engine.run_once()
    target.step()
    world.engine.run_once()
    assert world.store.read(passages_list) == []
    assert [row.host_id for row in world.store.read(lambda tx: departed_from(tx, server))] == [source.host_id]
    world.pass_time(30)
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    assert world.store.read(lambda tx: departed_from(tx, server)) == []
    assert (world.store.read(passages_list), world.audit()) == ([], [])


@pytest.mark.parametrize("word", ["migrate", "os-migrateLive"])
def test_a_target_that_dies_on_the_way_is_left_for_another(world: World, word: str) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    act(world, server, word, None if word == "migrate" else {"host": None, "block_migration": "auto"})
    world.engine.run_once()
    (way,) = world.store.read(passages_list)
    target = next(host for host in world.hosts if host.host_id == way.target_id)
    target.die()
    for _ in range(30):  # a cold one may have become its target's at the last moment: then that is evacuated
        auto.look(4)
        world.settle()
    assert len(world.running()[server]) == 1 and world.running()[server] != [target.name]
    third = world.running()[server][0]
    target.come_back()
    world.settle()
    assert world.running()[server] == [third]
    assert world.store.read(lambda tx: departed_from(tx, server)) == []


def test_a_source_that_dies_on_the_way_is_evacuated(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    act(world, server, "os-migrateLive", {"host": "h2", "block_migration": "auto"})
    world.engine.run_once()
    world.hosts[0].die()
    auto.look(90)
    world.settle()
    auto.look(20)
    world.settle()
    assert len(world.running()[server]) == 1 and world.running()[server] != ["h1"]
    world.hosts[0].come_back()
    world.settle()
    assert len(world.running()[server]) == 1
    assert (world.store.read(passages_list), world.audit()) == ([], [])


@pytest.mark.parametrize("word", ["migrate", "os-migrateLive"])
@pytest.mark.parametrize("steps", range(6))
def test_deleted_on_its_way_nothing_of_it_is_left_anywhere(world: World, word: str, steps: int) -> None:
    server = boot_on(world, "h1")
    act(world, server, word, None if word == "migrate" else {"host": "h2", "block_migration": "auto"})
    for _ in range(steps):
        world.engine.run_once()
        for host in world.hosts:
            host.step()
    assert world.nova("DELETE", f"/servers/{server}", client=world.admin).status == 204
    world.settle()
    assert world.running() == {} and status(world, server) == "GONE"
    held = (world.store.read(passages_list), world.store.read(allocations_list))
    assert (*held, world.store.read(lambda tx: departed_from(tx, server)), world.audit()) == ([], [], [], [])


def test_a_move_that_stands_still_is_tried_elsewhere_and_given_up_with_the_server_as_it_was(world: World) -> None:
    server = boot_on(world, "h1")
    for host in world.hosts[1:]:
        host.deaf = True  # alive, and does nothing
    world.clock.advance_s(1)
    act(world, server, "os-migrateLive", {"host": None, "block_migration": "auto"})
    for _ in range(4 * MOVE_STALLED_S // 4):
        world.clock.advance_s(4)
        world.settle()
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    story = world.nova("GET", f"/servers/{server}/os-instance-actions", client=world.admin).json["instanceActions"]
    assert story[0]["action"] == "live-migration" and "nothing came" in story[0]["message"]
    for host in world.hosts:
        host.deaf = False
    world.settle()
    assert (world.store.read(passages_list), world.audit()) == ([], [])
    assert world.store.read(lambda tx: departed_from(tx, server)) == []


@pytest.mark.parametrize("word", ["migrate", "os-migrateLive"])
def test_killed_at_any_point_of_a_move_it_ends_as_if_nothing_had_been(world: World, word: str) -> None:
    argument = {"host": None} if word == "migrate" else {"host": None, "block_migration": "auto"}
    for points in itertools.count():
        server = boot_on(world, "h1", f"s{points}")
        act(world, server, word, argument)
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        for host in world.hosts:
            host.restart()
            host.step()
        world.settle(world.make_engine(worker=f"next-{points}"))
        assert len(world.running()[server]) == 1 and world.running()[server] != ["h1"]
        if word == "migrate":
            assert act(world, server, "confirmResize") == 204
        assert world.store.read(passages_list) == []
        world.nova("DELETE", f"/servers/{server}", client=world.admin)
        world.settle()
        assert (world.running(), world.store.read(allocations_list), world.audit()) == ({}, [], [])
        if not killed:
            assert points > 4, "it was never killed inside"
            return
