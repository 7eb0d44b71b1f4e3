"""Every act, failing at each of its steps in turn, and each undo done twice: nothing of it is left. FAULTS STK-03.

A step fails when those before it are kept, before it wrote anything or after it wrote what it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.base.errors import Conflict
from holdfast.base.limits import RECONCILE_PERIOD_S
from holdfast.control.operations.act import Act, Outcome, Step, Work, wait
from holdfast.control.operations.engine import Engine
from holdfast.control.operations.registry import ACTS
from holdfast.control.store.host import allocations_list
from holdfast.control.store.operation import operations_of
from holdfast.domain.operation import OperationState
from tests.control.test_operations_crash import PASSED_OVER, SCENARIOS
from tests.world import World

MAY_FAIL = sorted(kind for kind in SCENARIOS if ACTS[kind].fail is not None)  # a delete is never given up
PLACES = [(kind, step.name) for kind in MAY_FAIL for step in ACTS[kind].steps]
FAILED_TO = {"server_create": {"ERROR"}}  # the others: as it was, or in error


def failing(act: Act, name: str, after: bool, reached: list[str]) -> Act:
    """The act, with a step that fails and with undos that are done twice."""

    def fails(step: Step) -> Callable[[Work], Outcome]:
        def do(work: Work) -> Outcome:
            reached.append(step.name)
            if len(reached) == 1:
                return wait("what the steps before it wrote to be kept")
            if after:
                step.do(work)
            raise Conflict(f"{step.name} fails on purpose")

        return do

    def twice(step: Step) -> Callable[[Work], None]:
        def undo(work: Work) -> None:
            step.undo(work)
            step.undo(work)

        return undo

    steps = (replace(step, do=fails(step) if step.name == name else step.do, undo=twice(step)) for step in act.steps)
    return replace(act, steps=tuple(steps))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("kind", "step"), PLACES)
def test_an_act_that_fails_at_a_step_leaves_nothing_of_it(world: World, kind: str, step: str, after: bool) -> None:
    before, begin, _ = SCENARIOS[kind]
    server = world.boot()
    if kind != "server_create":
        world.settle()
        before(world, server)
    was, held = world.status(server), world.store.read(allocations_list)
    begin(world, server)
    reached: list[str] = []
    acts = {**ACTS, kind: failing(ACTS[kind], step, after, reached)}
    engine = Engine(world.store, world.cloud.services.settings, acts, "w1")
    world.settle(engine)
    world.clock.advance_s(RECONCILE_PERIOD_S)
    world.settle(engine)
    act = next(act for act in world.store.read(lambda tx: operations_of(tx, server)) if act.kind == kind)
    assert bool(reached) == (step not in PASSED_OVER.get(kind, ()))
    if not reached:
        assert act.state is OperationState.DONE
    else:
        assert (act.state, act.error) == (OperationState.FAILED, f"{step} fails on purpose")
        assert world.status(server) in FAILED_TO.get(kind, {was, "ERROR"})
        assert world.store.read(allocations_list) == ([] if kind == "server_create" else held)
        assert kind != "server_create" or world.running() == {}
    assert world.audit() == []
    world.settle()
    world.nova("DELETE", f"/servers/{server}")
    world.settle()
    assert (world.running(), world.store.read(allocations_list), world.audit()) == ({}, [], [])
