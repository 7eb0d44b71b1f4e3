"""A host dies while something goes on with a server: it ends as its owner asked, elsewhere, once. FAULTS EVA-10.

The act was accepted and placed, and its host has done nothing of it yet. Rescue and shelve are not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.base.limits import HOST_DOWN_S
from holdfast.control.store.host import allocations_list
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED, Steady, boot_on, evacuations
from tests.world import IMAGE, World

LARGE_MIB = 192

ACTS: dict[str, tuple[tuple[str, ...], str, Any, str]] = {  # what was before, the act, its words, and how it ends
    "stopping": ((), "os-stop", None, "SHUTOFF"),
    "starting": (("os-stop",), "os-start", None, "ACTIVE"),
    "rebooting": ((), "reboot", {"type": "HARD"}, "ACTIVE"),
    "pausing": ((), "pause", None, "PAUSED"),
    "unpausing": (("pause",), "unpause", None, "ACTIVE"),
    "rebuilding": ((), "rebuild", {"imageRef": IMAGE}, "ACTIVE"),
    "resizing": ((), "resize", {"flavorRef": "84"}, "VERIFY_RESIZE"),
    "snapshotting": ((), "createImage", {"name": "snapshot"}, "ACTIVE"),
    "nothing, paused": (("pause",), "", None, "PAUSED"),
}


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=SHARED)


@pytest.mark.parametrize("going_on", ACTS)
def test_what_goes_on_with_a_server_when_its_host_dies_ends_elsewhere_as_it_should(world: World, going_on: str) -> None:
    before, act, words, wanted = ACTS[going_on]
    server, auto = boot_on(world, "h1"), Steady(world)
    for word in before:
        world.nova("POST", f"/servers/{server}/action", {word: None}, world.admin)
        world.settle()
    world.hosts[0].deaf = True
    if act:
        asked = world.nova("POST", f"/servers/{server}/action", {act: words}, world.admin)
        assert asked.status == 202, asked.body
        world.settle()
    world.hosts[0].die()
    auto.look(LAPSED_S + HOST_DOWN_S)
    world.settle()
    assert world.server(server, world.admin)["status"] == wanted
    assert [host for host in world.running().get(server, []) if host != "h1"] == world.running().get(server, [])
    assert len(world.running().get(server, [])) == (wanted != "SHUTOFF")
    assert [row["state"] for row in evacuations(world)] == ["done"]
    images = world.admin.get("/image/v2/images?name=snapshot").json["images"]
    assert [image["status"] for image in images] in ([], ["killed"])
    world.hosts[0].deaf = False
    world.hosts[0].come_back()
    world.settle()
    assert world.running().get(server, []) != ["h1"]
    assert world.audit() == []


def test_a_server_that_may_go_back_to_a_larger_flavor_holds_its_room_where_it_is_evacuated_to(world: World) -> None:
    server, auto = boot_on(world, "h1", flavorRef="84"), Steady(world)
    for words in ({"resize": {"flavorRef": "42"}}, None, {"revertResize": None}):
        if words is None:
            world.hosts[0].die()
            auto.look(LAPSED_S + HOST_DOWN_S)
        else:
            assert world.nova("POST", f"/servers/{server}/action", words, world.admin).status == 202
        world.settle()
        assert [held.memory_mib for held in world.store.read(allocations_list)] == [LARGE_MIB]
    assert world.server(server, world.admin)["status"] == "ACTIVE"
