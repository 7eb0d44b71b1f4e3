"""Two agents' workers move a simulated guest, each from its records alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.base.ids import new_id
from holdfast.domain.desired import Machine, Move, MoveEnd, MoveRole
from holdfast.domain.observed import MachineReport, MoveState, Phase
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.machine import Worker
from holdfast.host.agent.networking import Networking
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.simulated import SimulatedDisks, SimulatedNetwork, blank_image
from holdfast.host.agent.volumes import Plugging
from holdfast.host.hypervisor.driver import Observed, Reason, Run
from holdfast.host.hypervisor.simulated import Simulated
from holdfast.host.volumes.files import VolumeFiles
from tests.host.test_agent_desk import machine

KEY = "0f" * 32


class Host:
    """A worker that sees what is there; `again` is the same host after its agent was killed."""

    def __init__(self, room: Path) -> None:
        self.room, self.driver = room, Simulated(room / "hypervisor")
        network, desk = SimulatedNetwork(), Desk("host")
        plugging = Plugging(self.driver, VolumeFiles(room / "volumes", blank_image))
        networking = Networking(network, desk)
        reached = ReachedFiles(room / "reached")
        self.worker = Worker(self.driver, networking, network, SimulatedDisks(), reached, plugging)

    def again(self) -> Host:
        return Host(self.room)

    def reconcile(self, record: Machine) -> MachineReport:
        return self.worker.reconcile(record, self.seen(record))[0]

    def seen(self, record: Machine) -> Observed | None:
        return self.driver.machines().get(record.instance_id)

    def runs(self, record: Machine) -> bool:
        seen = self.seen(record)
        return seen is not None and seen.run is Run.RUNNING


class Pair:
    """A guest on the first host, and what the control plane would say of it."""

    def __init__(self, room: Path) -> None:
        self.source, self.target = Host(room / "one"), Host(room / "two")
        self.record = machine(new_id(), 1)
        assert self.source.reconcile(self.record).phase is Phase.RUNNING

    def said(self, generation: int, role: MoveRole | None = None, end: MoveEnd | None = None) -> Machine:
        move = Move("11111111-1111-4111-8111-111111111111", role, KEY, "none", "::1", end) if role else None
        return msgspec.structs.replace(self.record, generation=generation, move=move)

    def state(self, report: MachineReport) -> MoveState:
        assert report.move is not None
        return report.move.state

    def sent(self) -> None:
        waits = self.target.reconcile(self.said(2, MoveRole.RECEIVE))
        assert waits.move is not None and waits.move.end is not None
        assert self.state(self.source.reconcile(self.said(2, MoveRole.SEND))) is MoveState.WAITING
        outbound = self.said(2, MoveRole.SEND, waits.move.end)
        assert self.state(self.source.reconcile(outbound)) is MoveState.SENDING
        self.source = self.source.again()
        assert self.state(self.source.reconcile(outbound)) is MoveState.SENT
        self.target = self.target.again()
        assert self.state(self.target.reconcile(self.said(2, MoveRole.RECEIVE))) is MoveState.RECEIVED
        assert not self.source.runs(self.record) and not self.target.runs(self.record)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_the_new_owner_runs_the_guest_and_the_old_one_ends_it_and_keeps_the_disk(pair: Pair) -> None:
    pair.sent()
    assert pair.target.reconcile(pair.said(4)).phase is Phase.RUNNING
    assert pair.target.reconcile(pair.said(4)).move is None
    gone = msgspec.structs.replace(pair.said(4), present=False, keep_disk=True)
    assert pair.source.reconcile(gone).phase is Phase.ABSENT
    assert pair.target.runs(pair.record) and pair.source.seen(pair.record) is None


def test_a_guest_that_comes_back_before_its_old_host_heard_that_it_left_is_received(pair: Pair) -> None:
    pair.sent()
    assert pair.target.reconcile(pair.said(4)).phase is Phase.RUNNING
    back = msgspec.structs.replace(pair.said(5, MoveRole.RECEIVE), move=Move(new_id(), MoveRole.RECEIVE, KEY, "full"))
    assert pair.state(pair.source.reconcile(back)) is MoveState.WAITING
    assert pair.state(pair.source.again().reconcile(back)) is MoveState.WAITING
    assert pair.target.runs(pair.record) and not pair.source.runs(pair.record)


def test_an_old_word_to_receive_ends_no_guest_that_was_sent(pair: Pair) -> None:
    pair.sent()
    old = msgspec.structs.replace(pair.said(2), move=Move(new_id(), MoveRole.RECEIVE, KEY, "none"))
    pair.source.reconcile(old)
    seen = pair.source.seen(pair.record)
    assert seen is not None and seen.reason is Reason.SENT


def test_a_record_from_before_the_move_wakes_nobody(pair: Pair) -> None:
    pair.sent()
    for host in (pair.source, pair.target):
        for stale in (pair.said(1), pair.said(2), pair.said(1)):
            host.reconcile(stale)
            assert not host.runs(pair.record)


def test_a_guest_that_was_sent_and_ended_here_is_not_started_by_an_old_record(pair: Pair) -> None:
    """Seed 1460: its host was cut off, its keeper ended what was left, and the lease came before the news."""
    pair.sent()
    pair.source.driver.stop(pair.record.instance_id, 0)
    assert pair.target.reconcile(pair.said(4)).phase is Phase.RUNNING
    for host in (pair.source, pair.source.again()):
        for end in (None, MoveEnd("::1", 1, 0)):
            assert pair.state(host.reconcile(pair.said(2, MoveRole.SEND, end))) is not MoveState.SENT
            assert not host.runs(pair.record)
    assert pair.target.runs(pair.record)


def test_the_old_owner_takes_the_guest_back_when_the_move_ends_with_it(pair: Pair) -> None:
    pair.sent()
    assert pair.target.reconcile(msgspec.structs.replace(pair.said(4), present=False)).phase is Phase.ABSENT
    assert pair.source.reconcile(pair.said(4)).phase is Phase.RUNNING
    assert pair.source.runs(pair.record) and pair.target.seen(pair.record) is None


def test_a_move_that_is_called_off_half_way_leaves_the_guest_running(pair: Pair) -> None:
    waits = pair.target.reconcile(pair.said(2, MoveRole.RECEIVE))
    assert waits.move is not None
    pair.source.reconcile(pair.said(3, MoveRole.SEND, waits.move.end))
    assert pair.source.reconcile(pair.said(4)).phase is Phase.RUNNING
    assert pair.source.driver.sending(pair.record.instance_id).state == "none"
    assert pair.source.runs(pair.record)


def test_a_try_whose_target_died_is_failed_at_both_ends_and_stays_so(pair: Pair) -> None:
    waits = pair.target.reconcile(pair.said(2, MoveRole.RECEIVE))
    assert waits.move is not None
    pair.target.driver.stop(pair.record.instance_id, 0)
    assert pair.target.seen(pair.record) == Observed(pair.record.instance_id, Run.STOPPED, 0, Reason.NOT_RECEIVED)
    outbound = pair.said(3, MoveRole.SEND, waits.move.end)
    pair.source.reconcile(outbound)
    for _ in range(2):
        assert pair.state(pair.source.reconcile(outbound)) is MoveState.FAILED
        assert pair.state(pair.target.reconcile(pair.said(2, MoveRole.RECEIVE))) is MoveState.FAILED
    assert pair.source.runs(pair.record)


def test_a_record_of_a_move_does_not_print_its_key(pair: Pair) -> None:
    assert KEY not in repr(pair.said(2, MoveRole.RECEIVE))
