"""The smoke test's own promises: what fails is seen, what was made is removed, what is left is told."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from holdfast.base.errors import Conflict
from holdfast.validate.figures import at, figures_of
from holdfast.validate.junit import junit_of
from holdfast.validate.smoke import Outcome, Plan, leftovers, smoke_run
from holdfast.validate.steps import FAILED, OK, SKIPPED, Addresses, Loop, Result
from tests.validate.sides import Paper

FIRST = ["key_create", "image_find", "server_run", "server_wait", "port_open", "address_find", "command_run"]
LAST = ["server_remove", "port_close", "key_delete"]


def run(plan: Plan | None = None, **options: Any) -> tuple[Outcome, dict[str, str], list[Paper]]:
    things: dict[str, str] = {"server of somebody": "web"}
    sides: list[Paper] = []

    def make(name: str) -> Paper:
        sides.append(Paper(name, things, **options))
        return sides[-1]

    return smoke_run(plan or Plan(), make, lambda: dict(things), lambda result: None, threading.Event()), things, sides


def test_a_good_run_does_ten_steps_in_their_order_and_leaves_nothing() -> None:
    outcome, things, sides = run()
    assert not outcome.failed
    assert sides[0].asked == FIRST + LAST
    assert things == {"server of somebody": "web"}


@pytest.mark.parametrize("step", FIRST)
def test_after_a_failed_step_the_rest_is_skipped_and_everything_is_removed(step: str) -> None:
    outcome, things, sides = run(fails=(step,))
    assert outcome.failed
    assert sides[0].asked == FIRST[: FIRST.index(step) + 1] + LAST
    assert [r.outcome for r in outcome.results if r.number < 8].count(FAILED) == 1
    assert things == {"server of somebody": "web"}


@pytest.mark.parametrize("step", LAST)
def test_a_removal_that_fails_does_not_stop_the_others_and_what_is_left_is_named(step: str) -> None:
    outcome, _, sides = run(fails=(step,))
    assert outcome.failed
    assert sides[0].asked == FIRST + LAST
    assert len(outcome.left) == 1


def test_something_that_is_left_is_a_failure_although_every_step_went_well() -> None:
    inventories = iter([{}, {"port 7": ""}])
    stop = threading.Event()
    outcome = smoke_run(Plan(), lambda name: Paper(name, {}), lambda: next(inventories), lambda result: None, stop)
    assert all(result.outcome != FAILED for result in outcome.results)
    assert (outcome.left, outcome.failed) == (["port 7"], True)


def test_a_failed_guest_is_kept_when_that_is_asked_for() -> None:
    outcome, things, sides = run(Plan(keep_failed=True), fails=("command_run",))
    assert sides[0].asked == FIRST
    assert outcome.failed
    assert len(outcome.left) == len(things) - 1 == 3


def test_nothing_is_asked_twice() -> None:
    for step in FIRST + LAST:
        _, _, sides = run(fails=(step,))
        assert len(sides[0].asked) == len(set(sides[0].asked))


def test_a_failure_has_its_words_and_the_console_of_its_guest() -> None:
    outcome, _, _ = run(fails=("command_run",))
    failure = next(result for result in outcome.results if result.outcome == FAILED)
    assert failure.words == "RuntimeError: command_run went wrong\\x1b[2J"
    assert failure.console.startswith("the console of smoke-")


def test_two_living_guests_with_one_address_are_found() -> None:
    addresses = Addresses()
    addresses.hold("203.0.113.4", "one")
    addresses.hold("203.0.113.4", "one")
    with pytest.raises(Conflict, match="one and by two"):
        addresses.hold("203.0.113.4", "two")
    addresses.let_go("one")
    addresses.hold("203.0.113.4", "two")


def test_clients_side_by_side_see_a_stolen_address() -> None:
    meet = threading.Barrier(2, timeout=10)

    def make(name: str) -> Paper:
        side = Paper(name, {}, address="203.0.113.4")

        def together(step: str) -> None:
            if "address_find" in side.asked[-2:]:  # at that step, and at whatever comes after it
                meet.wait()

        side.on = together
        return side

    outcome = smoke_run(Plan(clients=2), make, dict, lambda result: None, threading.Event())
    failures = [result for result in outcome.results if result.outcome == FAILED]
    assert [failure.step for failure in failures] == ["find address"]
    assert "address_twice" in failures[0].words


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a shell begins in the background ignores interrupts, and so does what that begins: these tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_removes_what_there_is_and_begins_nothing_more() -> None:
    stop, waiting, things = threading.Event(), threading.Event(), dict[str, str]()
    sides: list[Paper] = []

    def make(name: str) -> Paper:
        def hold(step: str) -> None:
            if step == "server_wait":
                waiting.set()
                assert stop.wait(10)

        sides.append(Paper(name, things))
        sides[-1].on = hold
        return sides[-1]

    def interrupt() -> None:
        assert waiting.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    outcome = smoke_run(Plan(loops=3), make, lambda: dict(things), lambda result: None, stop)
    helper.join()
    assert sides[0].asked == FIRST[:4] + LAST
    assert (len(sides), things, outcome.left) == (1, {}, [])
    assert (outcome.stopped, outcome.failed) == (True, True)


def test_clients_and_loops_have_names_of_their_own() -> None:
    outcome, _, sides = run(Plan(loops=3, clients=4))
    assert len({side.name for side in sides}) == 12
    assert len(outcome.results) == 120
    assert not outcome.failed


def test_what_another_smoke_test_makes_meanwhile_is_not_ours() -> None:
    after = {"server 1": "smoke-other-1-1", "server 2": "smoke-me-1-1", "address 3": "", "server 4": "web"}
    assert leftovers({"server 4": "web"}, after, "smoke-me") == ["address 3", "server 2"]


def test_a_loop_can_be_told_as_it_goes() -> None:
    told: list[Result] = []
    Loop(Paper("x", {}), Addresses(), 1, 1, told.append).run()
    assert [result.number for result in told] == list(range(1, 11))


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 10.0), (0.95, 19.0), (1.0, 20.0)])
def test_percentiles_are_of_times_that_were_measured(share: float, value: float) -> None:
    assert at([float(n) for n in range(1, 21)], share) == value
    assert at([7.0], share) == 7.0
    assert at([], share) is None


def test_figures_count_failures_and_time_only_what_went_well() -> None:
    results = [
        Result(1, 1, 1, "create key pair", OK, 2.0),
        Result(1, 2, 1, "create key pair", FAILED, 99.0),
        Result(1, 3, 1, "create key pair", SKIPPED, 0.0),
        Result(1, 1, 2, "find image", OK, 1.0),
    ]
    first, second = figures_of(results)
    assert (first.ok, first.failed, first.min_s, first.max_s) == (1, 1, 2.0, 2.0)
    assert (second.number, second.step) == (2, "find image")


def test_the_junit_report_is_xml_whatever_a_guest_says() -> None:
    hostile = "\x00\x1b[2J]]><x>&\ud800\ufffe\n"
    results = [
        Result(1, 1, 7, "ssh a command", FAILED, 1.0, hostile, hostile),
        Result(2, 1, 8, "terminate", SKIPPED, 0.0),
    ]
    root = ElementTree.fromstring(junit_of(Outcome(results, ["port 7"], 3.5), "holdfast smoke EC2"))
    suites = list(root)
    assert [suite.get("failures") for suite in suites] == ["1", "0", "1"]
    assert root.find(".//failure[@message='left: port 7']") is not None
    assert "]]><x>&" in (root.findtext(".//system-out") or "")
