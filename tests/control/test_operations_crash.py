"""Every act, killed at every point of its worker: another worker ends it as if nothing had been.

The worker's own database raises `Killed`, which nothing may catch, at the Nth point, for every N until it gets through.
Then its lease runs out and a worker that knows nothing carries on. A point is the beginning of a part of a transaction
or its end, before it is committed: what is killed between them wrote nothing either. HOLDFAST_TEST_STATEMENTS=1
makes each SQL statement a point.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest

from holdfast.base.limits import OPERATION_LEASE_S
from holdfast.control.operations.registry import ACTS
from holdfast.control.store.database import Database
from holdfast.control.store.host import allocations_list
from holdfast.control.store.operation import operation_events, operations_of
from holdfast.domain.operation import OperationState
from tests.world import IMAGE, World


class Killed(BaseException):
    """The process is gone."""


def stopped(world: World, server_id: str) -> None:
    world.act(server_id, "os-stop")
    world.settle()


def paused(world: World, server_id: str) -> None:
    world.act(server_id, "pause")
    world.settle()


def resized(world: World, server_id: str) -> None:
    world.act(server_id, "resize", {"flavorRef": "84"})
    world.settle()


def ready(world: World, server_id: str) -> None:
    """As it is after it was made."""


SCENARIOS: dict[str, tuple[Callable[[World, str], None], Callable[[World, str], object], str]] = {
    "server_create": (ready, lambda w, i: None, "ACTIVE"),
    "server_delete": (ready, lambda w, i: w.nova("DELETE", f"/servers/{i}"), "GONE"),
    "server_stop": (ready, lambda w, i: w.act(i, "os-stop"), "SHUTOFF"),
    "server_start": (stopped, lambda w, i: w.act(i, "os-start"), "ACTIVE"),
    "server_reboot": (ready, lambda w, i: w.act(i, "reboot", {"type": "HARD"}), "ACTIVE"),
    "server_pause": (ready, lambda w, i: w.act(i, "pause"), "PAUSED"),
    "server_unpause": (paused, lambda w, i: w.act(i, "unpause"), "ACTIVE"),
    "server_rebuild": (ready, lambda w, i: w.act(i, "rebuild", {"imageRef": IMAGE}), "ACTIVE"),
    "server_resize": (ready, lambda w, i: w.act(i, "resize", {"flavorRef": "84"}), "VERIFY_RESIZE"),
    "server_revert": (resized, lambda w, i: w.act(i, "revertResize"), "ACTIVE"),
}
MOVE = {"pass", "land", "apply"}  # its host has the room: tests/control/test_moves.py has one that goes elsewhere
PASSED_OVER = {"server_resize": MOVE, "server_revert": {"claim", *MOVE}}
WAITING_FOR_BYTES = {"server_capture"}  # its host must send a disk


def test_every_registered_act_is_crash_tested() -> None:
    of_volumes = {kind for kind in ACTS if kind.startswith("volume_")}  # tests/control/test_volume_crash.py
    elsewhere = of_volumes | {"server_evacuate"}  # tests/control/test_evacuation.py
    elsewhere |= {"server_migrate", "server_live_migrate", "host_drain"}  # test_moves.py, test_drain.py
    assert set(SCENARIOS) | WAITING_FOR_BYTES == set(ACTS) - elsewhere


@pytest.mark.parametrize("kind", sorted(SCENARIOS))
def test_killed_at_any_point_it_ends_as_if_nothing_had_been(world: World, kind: str) -> None:
    before, begin, wanted = SCENARIOS[kind]
    for points in itertools.count():
        server_id = world.boot(f"{kind}-{points}")
        if kind != "server_create":
            world.settle()
            before(world, server_id)
            begin(world, server_id)
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        for host in world.hosts:
            host.restart()
            host.step()
        world.settle(world.make_engine(worker=f"next-{points}"))
        assert world.status(server_id) == wanted, f"killed at point {points}"
        assert all(len(hosts) == 1 for hosts in world.running().values())
        assert_one_act(world, server_id, kind)
        if wanted != "GONE":
            world.nova("DELETE", f"/servers/{server_id}")
            world.settle()
        assert (world.running(), world.store.read(allocations_list), world.audit()) == ({}, [], [])
        if not killed:
            assert points > 2, "it was never killed inside"
            return


def assert_one_act(world: World, server_id: str, kind: str) -> None:
    """The act is done, once, and every step of it is told as done."""
    acts = [act for act in world.store.read(lambda tx: operations_of(tx, server_id)) if act.kind == kind]
    assert [act.state for act in acts] == [OperationState.DONE]
    told = world.store.read(lambda tx: operation_events(tx, acts[0].id))
    steps = [step.name for step in ACTS[kind].steps if step.name not in PASSED_OVER.get(kind, ())]
    assert [event.step for event in told if event.result == "done"] == steps


POINTS = ("",) if os.environ.get("HOLDFAST_TEST_STATEMENTS") else ("SAVEPOINT", "RELEASE SAVEPOINT")


def run_doomed(world: World, points: int) -> bool:
    """Let a worker run, and its host between, until it is killed or has nothing to do; whether it was killed."""
    left = iter(range(points))

    def die_when_spent(statement: str) -> None:
        if statement.startswith(POINTS) and next(left, None) is None:
            raise Killed

    doomed = Database(world.cloud.services.settings.store_url, world.clock.now_us, die_when_spent)
    engine = world.make_engine(doomed, "doomed")
    try:
        for _ in range(20):
            worked = engine.run_once()
            spoke = [host.step() for host in world.hosts if not host.away]
            if not worked and not any(spoke):
                return False
        return False
    except Killed:
        return True
    finally:
        engine.stop()
        doomed.close()
