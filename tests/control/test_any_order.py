"""Launches, resizes, moves, evacuations and deletes in any order, on both databases: room and quota are sums of rows.

FAULTS MIG-01. After each of them, and after each part of the work that follows, the rows are added up anew.
HOLDFAST_TEST_ORDERS=100 tries a hundred; a failure names its number.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from holdfast.base.limits import HOST_DOWN_S
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED
from tests.world import IMAGE, World

ORDERS = range(int(os.environ.get("HOLDFAST_TEST_ORDERS", "0"))) or (9,)  # it found an evacuation that held too little
ACTS = 60
RESERVED_MIB, ROOM_MIB = 512, 128 * 4
ROOMY = msgspec.structs.replace(SHARED, memory_mib=RESERVED_MIB + ROOM_MIB)
CHANGES = {
    "stop": {"os-stop": None},
    "start": {"os-start": None},
    "resize": {"resize": {"flavorRef": "84"}},
    "shrink": {"resize": {"flavorRef": "42"}},
    "confirm": {"confirmResize": None},
    "revert": {"revertResize": None},
    "migrate": {"migrate": None},
    "rebuild": {"rebuild": {"imageRef": IMAGE}},
}
WORDS = (*CHANGES, *CHANGES, "create", "create", "create", "create", "delete", "die", "come back", "close", "open")


@pytest.fixture(params=["cloud", "postgres_cloud"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    cloud: Cloud = request.getfixturevalue(request.param)
    return World(cloud, tmp_path / "hosts", hosts=3, capabilities=ROOMY)


@pytest.mark.parametrize("number", ORDERS)
def test_no_order_of_acts_promises_a_room_twice_or_counts_a_server_wrongly(world: World, number: int) -> None:
    dice, done = random.Random(number), defaultdict[str, int](int)
    for _ in range(ACTS):
        word = dice.choice(WORDS)
        done[word] += one(world, dice, word)
        for _ in range(dice.randrange(5)):
            some_work(world, dice)
            added_up(world)
    for host in world.hosts:
        if host.away:
            host.come_back()
    world.pass_time(2 * HOST_DOWN_S)
    added_up(world)
    assert world.audit() == []
    assert sum(done.values()) > ACTS / 3 and sum(done[word] for word in CHANGES) >= 5, dict(done)


def one(world: World, dice: random.Random, word: str) -> bool:
    """Do one thing, if it is allowed now; whether it was."""
    host = dice.choice(world.hosts)
    servers = [row["id"] for row in world.nova("GET", "/servers", client=world.admin).json["servers"]]
    if word == "create":
        body = {"name": "s", "imageRef": IMAGE, "flavorRef": dice.choice(("42", "84")), "networks": "none"}
        return world.nova("POST", "/servers", {"server": body}, world.admin).status == 202
    if word in ("close", "open"):
        way = "disable" if word == "close" else "enable"
        return world.admin.post(f"/operator/v1/hosts/{host.name}/{way}", {}).status < 300
    if word == "come back":
        return host.away and host.come_back() is None
    if word == "die":
        return sum(each.away for each in world.hosts) == 0 and leave_dead(world, host.name)
    for server in dice.sample(servers, len(servers)):  # the first that may
        if word == "delete":
            return world.nova("DELETE", f"/servers/{server}", client=world.admin).status == 204
        if world.nova("POST", f"/servers/{server}/action", CHANGES[word], world.admin).status in (202, 204):
            return True
    return False


def leave_dead(world: World, name: str) -> bool:
    """A host dies, and when that is proved its servers are asked to leave it."""
    next(host for host in world.hosts if host.name == name).die()
    for _ in range(int(LAPSED_S + HOST_DOWN_S) // 4):
        world.clock.advance_s(4)
        for host in world.hosts:
            if not host.away:
                host.step()
    return world.admin.post(f"/operator/v1/hosts/{name}/evacuate", {}).status == 202


def some_work(world: World, dice: random.Random) -> None:
    """A part of what is due happens, and a little time passes."""
    world.clock.advance_s(dice.randrange(3))
    if dice.random() < 0.5:
        world.engine.run_once()
    for host in dice.sample(world.hosts, 2):
        if not host.away:
            host.step()


def added_up(world: World) -> None:
    """Judge room and quota by the rows alone."""

    def rows(statement: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in world.store.read(lambda tx: tx.all(text(statement)))]

    promised = "SELECT host_id, memory_mib FROM allocation UNION ALL SELECT target_id, memory_mib FROM passage"
    full = f"SELECT host_id, sum(memory_mib) FROM ({promised}) AS held GROUP BY host_id"
    assert [row for row in rows(full) if int(str(row[1])) > ROOM_MIB] == []
    parted = "SELECT a.instance_id FROM allocation a LEFT JOIN instance i ON i.id = a.instance_id"
    assert rows(f"{parted} WHERE i.id IS NULL OR i.host_id <> a.host_id") == []
    homeless = "SELECT i.id FROM instance i LEFT JOIN allocation a ON a.instance_id = i.id"
    assert rows(f"{homeless} WHERE i.host_id <> '' AND a.instance_id IS NULL") == []
    (count,) = rows("SELECT count(*) FROM instance WHERE state <> 'deleted'")[0]
    limits = world.nova("GET", "/limits", client=world.admin).json["limits"]["absolute"]
    assert limits["totalInstancesUsed"] == count
    assert all(len(hosts) == 1 for hosts in world.running().values())
