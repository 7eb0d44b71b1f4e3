"""What an agent does next with one machine, decided from facts alone."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.domain.desired import Move, MoveRole, Power
from holdfast.domain.observed import Phase
from holdfast.host.agent.machine import Act, decide
from holdfast.host.agent.reached import Reached, ReachedFiles
from holdfast.host.hypervisor.driver import Observed, Reason, Run
from tests.host.test_agent_desk import machine

RUNNING = Observed("a", Run.RUNNING, 1)
PAUSED = Observed("a", Run.PAUSED, 1)
STOPPED = Observed("a", Run.STOPPED, 0)
OFF = Observed("a", Run.STOPPED, 0, Reason.GUEST_SHUTDOWN)
CRASHED = Observed("a", Run.STOPPED, 0, Reason.KILLED)
NOSPACE = Observed("a", Run.PAUSED, 1, Reason.NOSPACE)
THERE = Reached(generation=1, boot=1, disk=1, phase=Phase.RUNNING)


RECEIVING = Observed("a", Run.PAUSED, 1, Reason.RECEIVING)
RECEIVED = Observed("a", Run.PAUSED, 1, Reason.RECEIVED)
SENT = Observed("a", Run.PAUSED, 1, Reason.SENT)
ON_ITS_WAY = Reached(generation=1, boot=1, disk=1, phase=Phase.RUNNING, move="m")
IN, OUT = Move("m", MoveRole.RECEIVE, "k", "none", "::1"), Move("m", MoveRole.SEND, "k", "none")


@pytest.mark.parametrize(
    ("changes", "reached", "seen", "act"),
    [
        ({}, Reached(), None, Act.RENEW_DISK),
        ({}, Reached(disk=1), None, Act.START),
        ({}, THERE, RUNNING, Act.NONE),
        ({}, THERE, CRASHED, Act.START),
        ({}, THERE, OFF, Act.NONE),
        ({"generation": 2}, THERE, OFF, Act.START),
        ({"boot": 2}, THERE, RUNNING, Act.STOP),
        ({"disk": 2}, THERE, RUNNING, Act.STOP),
        ({"disk": 2}, THERE, STOPPED, Act.RENEW_DISK),
        ({"power": Power.STOPPED}, THERE, RUNNING, Act.STOP),
        ({"power": Power.STOPPED}, THERE, STOPPED, Act.NONE),
        ({"power": Power.PAUSED}, THERE, RUNNING, Act.PAUSE),
        ({"power": Power.PAUSED}, THERE, PAUSED, Act.NONE),
        ({}, Reached(1, 1, 1, Phase.PAUSED), PAUSED, Act.RESUME),
        ({}, THERE, NOSPACE, Act.NONE),
        ({"present": False}, THERE, RUNNING, Act.REMOVE),
        ({"present": False}, Reached(), None, Act.REMOVE),
        ({"move": IN}, Reached(), None, Act.MOVE),
        ({"move": IN}, ON_ITS_WAY, RECEIVED, Act.MOVE),
        ({"move": OUT}, THERE, RUNNING, Act.MOVE),
        ({"move": OUT}, THERE, CRASHED, Act.START),
        ({"move": OUT}, ON_ITS_WAY, CRASHED, Act.MOVE),  # it may have been sent, and run elsewhere
        ({"generation": 2}, ON_ITS_WAY, RECEIVED, Act.ACTIVATE),
        ({"generation": 2}, ON_ITS_WAY, SENT, Act.ACTIVATE),
        ({"generation": 2}, ON_ITS_WAY, RECEIVING, Act.ACTIVATE),
        ({"generation": 2}, ON_ITS_WAY, RUNNING, Act.STAY),
        ({"generation": 2}, ON_ITS_WAY, CRASHED, Act.START),
        ({}, ON_ITS_WAY, RECEIVED, Act.NONE),  # a record no newer than the move says nothing of who owns it
        ({}, ON_ITS_WAY, SENT, Act.NONE),
        ({}, ON_ITS_WAY, RECEIVING, Act.NONE),
        ({"move": IN, "present": False}, ON_ITS_WAY, RECEIVED, Act.REMOVE),
    ],
)
def test_the_next_act_follows_from_the_record_what_was_reached_and_what_is_seen(
    changes: dict[str, object], reached: Reached, seen: Observed | None, act: Act
) -> None:
    assert decide(msgspec.structs.replace(machine("a", 1), **changes), reached, seen) is act


def test_what_was_reached_survives_and_a_torn_file_is_nothing_reached(tmp_path: object) -> None:
    from pathlib import Path

    home = Path(str(tmp_path))
    one, two = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    files = ReachedFiles(home)
    files.put(one, THERE)
    files.put(two, THERE)
    (home / two).write_bytes(b'{"gener')
    again = ReachedFiles(home)
    assert (again.get(one), again.get(two)) == (THERE, Reached())
    again.drop(one)
    assert ReachedFiles(home).get(one) == Reached()
