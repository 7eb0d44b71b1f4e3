"""A host is emptied in its bound, with a verdict for each server; cancelled or killed, it is as if by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.base.limits import DRAIN_MOVES, OPERATION_LEASE_S
from holdfast.control.store.placement.passage import passages_list
from tests.conftest import Cloud
from tests.control.several_hosts import SHARED, boot_on, pass_time, status
from tests.control.test_operations_crash import run_doomed
from tests.world import World


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=SHARED)


def drain(world: World, **words: Any) -> dict[str, Any]:
    answer = world.admin.request("POST", "/operator/v1/hosts/h1/drain", words)
    assert answer.status == 202, answer.body
    return dict(answer.json["drain"])


def look(world: World) -> dict[str, Any]:
    return dict(world.admin.request("GET", "/operator/v1/hosts/h1/drain").json["drain"])


def verdicts(world: World) -> dict[str, str]:
    return {server["name"]: server["outcome"] for server in look(world)["servers"]}


def host(world: World) -> dict[str, Any]:
    return dict(world.admin.request("GET", "/operator/v1/hosts/h1").json["host"])


def deafen(world: World, deaf: bool) -> None:
    """The hosts that servers could go to are alive and do nothing; or they do again."""
    for target in world.hosts[1:]:
        target.deaf = deaf


def test_running_and_stopped_servers_leave_and_nothing_new_comes(world: World) -> None:
    servers = [boot_on(world, "h1", f"s{number}") for number in range(2 * DRAIN_MOVES)]
    world.nova("POST", f"/servers/{servers[0]}/action", {"os-stop": None}, world.admin)
    world.settle()
    assert drain(world)["id"] == drain(world)["id"]  # asked for again, it is the same
    most = 0
    for _ in range(100):
        world.engine.run_once()
        most = max(most, len(world.store.read(passages_list)))
        for each in world.hosts:
            each.step()
        world.clock.advance_s(1)
    assert most == DRAIN_MOVES
    assert look(world)["state"] == "done" and set(verdicts(world).values()) == {"moved"}
    assert set(world.running()) == set(servers[1:])
    assert all(hosts != ["h1"] for hosts in world.running().values())
    assert [status(world, server) for server in servers] == ["SHUTOFF", *["ACTIVE"] * (len(servers) - 1)]
    shown = host(world)
    assert (shown["enabled"], shown["disabled_reason"], shown["servers"]) == (False, "it is being drained", 0)
    assert world.audit() == []


def test_a_server_that_is_still_landing_is_waited_for(world: World) -> None:
    boot_on(world, "h1")
    drain(world, live_only=False)
    for _ in range(40):
        world.engine.run_once()
        if host(world)["servers"] == 0:
            break
        for each in world.hosts:
            each.step()
    deafen(world, True)
    pass_time(world, 12)
    assert look(world)["state"] == "open" and verdicts(world) == {}
    deafen(world, False)
    pass_time(world, 12)
    assert look(world)["state"] == "done" and verdicts(world) == {"web": "moved"}


def test_one_that_may_not_go_anywhere_stays_with_the_reason_and_holds_up_nobody(world: World) -> None:
    world.admin.request("POST", "/operator/v1/hosts/h3/disable", {"reason": "a fan"})
    group = {"server_group": {"name": "apart", "policy": "anti-affinity"}}
    group_id = world.nova("POST", "/os-server-groups", group, world.admin).json["server_group"]["id"]
    for name in ("h1", "h2"):
        boot_on(world, name, f"apart-{name}", hints={"group": group_id})
    fits = boot_on(world, "h1", "fits")
    drain(world, timeout_s=100)
    pass_time(world, 20)
    assert verdicts(world) == {"fits": "moved", "apart-h1": "stays"}
    reason = next(server["reason"] for server in look(world)["servers"] if server["outcome"] == "stays")
    assert "anti-affinity" in reason and look(world)["state"] == "done"
    assert world.running()[fits] == ["h2"]


def test_at_its_deadline_what_is_on_its_way_is_called_off_and_stays(world: World) -> None:
    server = boot_on(world, "h1")
    deafen(world, True)
    drain(world, timeout_s=30)
    pass_time(world, 60)
    assert look(world)["state"] == "done" and verdicts(world) == {"web": "stays"}
    assert "30 s" in look(world)["servers"][0]["reason"]
    deafen(world, False)
    pass_time(world, 20)
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    assert (world.store.read(passages_list), world.audit()) == ([], [])


def test_cancelled_the_host_is_open_again_and_its_servers_stay(world: World) -> None:
    server = boot_on(world, "h1")
    deafen(world, True)
    drain(world)
    world.settle()
    assert world.admin.request("DELETE", "/operator/v1/hosts/h1/drain").status == 204
    assert world.admin.request("DELETE", "/operator/v1/hosts/h1/drain").status == 409
    deafen(world, False)
    world.settle()
    assert world.running()[server] == ["h1"] and status(world, server) == "ACTIVE"
    assert host(world)["enabled"] and look(world)["state"] == "cancelled"
    assert world.store.read(passages_list) == []


def test_a_host_that_was_closed_before_stays_closed_when_its_drain_is_cancelled(world: World) -> None:
    world.admin.request("POST", "/operator/v1/hosts/h1/disable", {"reason": "a fan"})
    drain(world)
    world.admin.request("DELETE", "/operator/v1/hosts/h1/drain")
    assert host(world)["disabled_reason"] == "a fan"


def test_killed_at_any_point_the_drain_goes_on(world: World) -> None:
    for points in itertools.count():
        world.admin.request("POST", "/operator/v1/hosts/h1/enable", {})
        world.clock.advance_s(1)
        server = boot_on(world, "h1", f"s{points}")
        drain(world)
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        for each in world.hosts:
            each.restart()
            each.step()
        engine = world.make_engine(worker=f"next-{points}")
        for _ in range(4):
            world.settle(engine)
            world.clock.advance_s(6)
        assert verdicts(world) == {f"s{points}": "moved"} and look(world)["state"] == "done"
        assert len(world.running()[server]) == 1 and world.running()[server] != ["h1"]
        world.nova("DELETE", f"/servers/{server}", client=world.admin)
        world.settle()
        if not killed:
            assert points > 4, "it was never killed inside"
            return


def test_what_cannot_be_drained_is_refused(world: World) -> None:
    for words in ({"timeout_s": 0}, {"timeout_s": "long"}, {"timeout_s": True}, {"live_only": "yes"}):
        assert world.admin.request("POST", "/operator/v1/hosts/h1/drain", words).status == 400
    assert world.admin.request("GET", "/operator/v1/hosts/h1/drain").status == 404
    assert world.admin.request("POST", "/operator/v1/hosts/nobody/drain", {}).status == 404
    world.hosts[0].away = True
    pass_time(world, 60)
    assert world.admin.request("POST", "/operator/v1/hosts/h1/drain", {}).status == 409
    assert host(world)["enabled"]


def test_live_only_ends_no_server(world: World) -> None:
    server = boot_on(world, "h1")
    for target in world.hosts[1:]:
        target.capabilities = msgspec.structs.replace(target.capabilities, hypervisor_version="2")
    world.settle()
    drain(world, live_only=True)
    pass_time(world, 10)
    assert verdicts(world) == {"web": "stays"} and world.running()[server] == ["h1"]
    world.admin.request("POST", "/operator/v1/hosts/h1/enable", {})
    drain(world)
    pass_time(world, 10)
    assert verdicts(world) == {"web": "moved"} and world.running()[server] != ["h1"]
