"""The control plane is away for ten minutes while a fleet runs and a queue waits: nothing is lost, and it catches up.

FAULTS STK-11. In that time nobody works and no host is heard; when it is back the first process begins before any
host spoke.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from holdfast.base.limits import (
    HOST_DOWN_S,
    OPERATION_DEADLINE_S,
    OPERATION_LEASE_S,
    OPERATIONS_PER_TICK,
    RECONCILE_PERIOD_S,
)
from holdfast.control.store.operation import operation, operation_event
from tests.conftest import Cloud, HeldClock
from tests.world import CAPABILITIES, IMAGE, HostStandIn, World

AWAY_S = 600
FLEET, QUEUE = 8, OPERATIONS_PER_TICK + 16
CLAIMS = 3  # of one act: it finds no host that speaks, it is placed, it is seen to run


class TellingClock(HeldClock):
    """One that is never asked twice in the same microsecond, so that what came first is known."""

    def now_us(self) -> int:
        self.at_us += 1
        return self.at_us


@pytest.fixture
def clock() -> HeldClock:
    return TellingClock()


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    world = World(cloud, tmp_path, hosts=FLEET)
    quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
    assert world.admin.put(f"/compute/v2.1/os-quota-sets/{cloud.known.demo_project_id}", quota).status == 200
    return world


def test_a_queue_is_worked_off_oldest_first_after_an_outage_of_minutes_and_what_ran_runs(world: World) -> None:
    before = [world.boot(f"before-{n}", networks="none") for n in range(FLEET)]
    world.settle()
    ran = world.running()
    queue = [world.boot(f"queued-{n}", networks="none") for n in range(QUEUE)]
    world.engine.run_once()  # the oldest were placed, and no host heard of it
    world.engine.stop()
    for host in world.hosts:
        host.away = True
    world.clock.advance_s(AWAY_S)

    engine = world.make_engine(worker="the next process")
    world.settle(engine)
    queue.append(world.boot("asked for at once when it was back", networks="none"))
    world.settle(engine)
    for host in world.hosts:
        host.away = False
        host.step()
    world.clock.advance_s(RECONCILE_PERIOD_S + 1)
    world.settle(engine)

    assert world.running().keys() == {*before, *queue}
    assert {server: world.running()[server] for server in before} == ran
    assert placed_in_order(world) == [*before, *queue]
    assert world.store.read(lambda tx: tx.value(select(func.max(operation.c.epoch)))) <= CLAIMS
    assert world.audit() == []


def placed_in_order(world: World) -> list[str]:
    """The servers, in the order in which they got their room."""
    events = operation_event.c
    placed = select(operation.c.resource_id).join(operation_event, events.operation_id == operation.c.id)
    placed = placed.where(events.step == "schedule", events.result == "done").order_by(events.at_us)
    return [row[0] for row in world.store.read(lambda tx: tx.all(placed))]


def test_a_host_that_is_silent_for_good_holds_a_server_up_for_no_longer_than_it_takes_to_be_told_from_late(
    world: World,
) -> None:
    for host in world.hosts:
        host.away = True
    world.clock.advance_s(AWAY_S)
    server = world.boot()
    world.settle()
    assert world.status(server) == "BUILD"
    world.pass_time(HOST_DOWN_S)
    assert world.status(server) == "ERROR"
    assert "has not reported lately" in world.server(server)["fault"]["message"]


def test_a_host_that_has_not_said_yet_what_it_has_is_waited_for(world: World, tmp_path: Path) -> None:
    """It joined, or came up, a moment ago: a server that only it can take is not refused."""
    late = HostStandIn(world.store, world.cloud.services.settings, tmp_path / "late", 9, CAPABILITIES)
    body = {"name": "web", "imageRef": IMAGE, "flavorRef": "42", "networks": "none", "availability_zone": "nova:h9"}
    server = world.nova("POST", "/servers", {"server": body}, world.admin).json["server"]["id"]
    world.settle()
    assert world.server(server, world.admin)["status"] == "BUILD"
    world.hosts.append(late)
    world.pass_time(HOST_DOWN_S - 1)
    assert world.running()[server] == ["h9"]


def test_an_act_whose_every_look_comes_late_ends_as_well(world: World) -> None:
    server = world.boot()
    world.engine.run_once()
    for host in world.hosts:
        host.away = True
    looks = 0
    while world.status(server) != "ERROR":
        assert looks <= OPERATION_DEADLINE_S // RECONCILE_PERIOD_S
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        world.settle()
        looks += 1
    assert looks > 1
