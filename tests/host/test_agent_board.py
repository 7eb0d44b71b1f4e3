"""What the agent believes to be here, when it looks while its workers change things."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.base.errors import Unavailable
from holdfast.host.agent.board import Seen
from holdfast.host.hypervisor.driver import Observed, Run

RUNNING, PAUSED = Observed("a", Run.RUNNING, 1), Observed("a", Run.PAUSED, 1)


def found(
    machines: dict[str, Observed], meanwhile: Callable[[], None] = lambda: None
) -> Callable[[], dict[str, Observed]]:
    """A look that has found these before something else happened."""

    def look() -> dict[str, Observed]:
        there = dict(machines)
        meanwhile()
        return there

    return look


def test_a_machine_that_was_removed_during_a_look_is_not_there_again() -> None:
    seen = Seen()
    seen.look(found({"a": RUNNING, "b": RUNNING}))
    seen.look(found({"a": RUNNING, "b": RUNNING}, lambda: seen.put("a", None)))
    assert seen.instance_ids() == ["b"]


def test_a_machine_that_was_changed_during_a_look_is_as_it_was_left() -> None:
    seen = Seen()
    seen.look(found({}, lambda: seen.put("a", RUNNING)))
    assert seen.of("a") == RUNNING
    seen.look(found({"a": RUNNING}, lambda: seen.put("a", PAUSED)))
    assert seen.of("a") == PAUSED


def test_the_next_look_has_the_last_word() -> None:
    seen = Seen()
    seen.put("a", RUNNING)
    seen.look(found({}))
    assert seen.of("a") is None


def test_a_look_that_fails_changes_nothing() -> None:
    def fails() -> dict[str, Observed]:
        raise Unavailable("the hypervisor does not answer")

    seen = Seen()
    seen.put("a", RUNNING)
    with pytest.raises(Unavailable):
        seen.look(fails)
    assert seen.of("a") == RUNNING
