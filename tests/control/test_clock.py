"""The store's clock is set, forward or back, while hosts live and die: nobody is taken for dead, and nothing waits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from holdfast.base.limits import HOST_LEASE_S
from holdfast.control.operations.host.fencing import word_given
from holdfast.control.reconcilers.clock import ClockSetBack
from holdfast.control.store.fencing.clock import clock_watch_note, clock_watched
from holdfast.control.store.fencing.host_lease import lease_fetch
from holdfast.control.store.host import host_fetch
from holdfast.domain.lease import ClockWatch, HostPhase
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED, Steady, boot_on, pass_time, status
from tests.world import World


class Stepped(Steady):
    """A replica that watched all along, on a store's clock that somebody sets: its own clock goes on as before."""

    def __init__(self, world: World) -> None:
        self.set_s = 0.0
        real, world.clock.then = world.clock.monotonic_s, lambda: None
        world.clock.monotonic_s = lambda: real() - self.set_s  # type: ignore[method-assign]
        super().__init__(world)

    def set_clock(self, by_s: float) -> None:
        self.set_s += by_s
        self.world.clock.advance_s(by_s)


@pytest.fixture
def stepped(cloud: Cloud, tmp_path: Path) -> Stepped:
    return Stepped(World(cloud, tmp_path, hosts=3, capabilities=SHARED))


@pytest.mark.parametrize("by_s", [90, 3600, 86_400])
def test_no_host_counts_as_dead_because_the_clock_was_set_forward(stepped: Stepped, by_s: int) -> None:
    """Not to the automatic evacuation, and not to an act or a person's word; the same without a step is proof."""
    world = stepped.world
    boot_on(world, "h1")
    source = world.hosts[0]
    source.away = True
    stepped.look(8)
    stepped.set_clock(by_s)
    stepped.look(HOST_LEASE_S - 12)  # its keeper lets its guests run for so long, and counts by the host's own clock
    row = world.store.read(lambda tx: host_fetch(tx, source.host_id))
    assert row is not None
    missing = world.store.write(lambda tx: word_given(tx, row, "", "it is off, they say"))
    assert "the lease of host h1 to lapse in" in missing
    assert world.store.read(lambda tx: lease_fetch(tx, source.host_id)).phase is HostPhase.MEMBER
    stepped.look(LAPSED_S)
    assert world.store.read(lambda tx: lease_fetch(tx, source.host_id)).phase is HostPhase.FENCED


@pytest.mark.parametrize("by_s", [-90, -3600, -86_400])
def test_a_clock_that_is_set_back_hides_no_dead_host_and_holds_up_no_act(stepped: Stepped, by_s: int) -> None:
    world = stepped.world
    server, other, source = boot_on(world, "h1"), boot_on(world, "h2"), world.hosts[0]
    source.die()
    assert world.nova("POST", f"/servers/{other}/action", {"os-stop": None}, world.admin).status == 202
    stepped.set_clock(by_s)
    assert ClockSetBack(world.store).tick()["drawn"]
    world.settle()
    assert status(world, other) == "SHUTOFF"
    stepped.look(LAPSED_S)
    world.clock.then = world.watch
    pass_time(world, 8)
    assert world.running()[server] != ["h1"], "nobody noticed that its host is dead"
    source.come_back()
    world.settle()
    assert ClockSetBack(world.store).tick() == Counter() and world.audit() == []


def test_views_of_the_clock_add_up_where_they_overlap_and_a_new_one_replaces_none(stepped: Stepped) -> None:
    store, second = stepped.world.store, 1_000_000
    now_us = store.read(lambda tx: tx.now_us)

    def seen(since_s: float, looked_s: float) -> tuple[float, float]:
        mine = ClockWatch(now_us + int(since_s * second), now_us + int(looked_s * second))
        store.write(lambda tx: clock_watch_note(tx, mine))
        kept = store.read(clock_watched)
        return (kept.since_us - now_us) / second, (kept.looked_us - now_us) / second

    store.write(lambda tx: clock_watch_note(tx, ClockWatch(now_us, now_us)))
    assert seen(0, 60) == (0, 60)
    assert seen(61, 61) == (0, 60), "one that has only begun took the place of a long one"
    assert seen(50, 62) == (0, 62)
    assert seen(70, 70) == (70, 70), "there was a gap in which nobody looked"
    assert seen(0, 69) == (0, 70), "a replica that watched for longer, and looked a moment before"
    assert seen(-3600, -3500) == (-3600, -3500), "the clock was set back, and nothing is known before"


def test_nothing_is_written_for_a_silent_host_about_which_nobody_waits_for_time_to_pass(
    cloud: Cloud, tmp_path: Path
) -> None:
    """A host with disks of its own may be off for weeks, and each look would be a commit."""
    auto = Stepped(World(cloud, tmp_path, hosts=2))
    auto.world.hosts[0].die()
    auto.look(LAPSED_S)
    before = auto.world.store.read(clock_watched)
    auto.look(20)
    assert auto.world.store.read(clock_watched) == before
