"""What goes wrong: each fault is one function, chosen by dice, and ends by itself or when everything is healed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.limits import HOST_BUILDS_FAILED
from holdfast.control.operations.host.evacuation import host_evacuate
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_fetch
from holdfast.domain.credentials import Credentials
from holdfast.domain.host import Host
from holdfast.host.hypervisor.driver import Reason, Run
from holdfast.host.hypervisor.simulated import queue_failure
from tests.sim.clockwork import SECOND_US, loop
from tests.sim.wire import Cut

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.hosts import SimHost


def replica_killed(c: Cluster) -> None:
    loop().dice.choice(c.replicas).crash()


def replica_killed_inside(c: Cluster) -> None:
    """Before one of its next statements: in the middle of a transaction, of an act or of a request."""
    replica = loop().dice.choice(c.replicas)
    replica.store.statements_left = loop().dice.randint(1, 60)
    replica.died_inside = True


def replica_killed_after_commit(c: Cluster) -> None:
    loop().dice.choice(c.replicas).store.dies_after_commit = True


def replica_frozen(c: Cluster) -> None:
    replica = loop().dice.choice(c.replicas)
    if (process := replica.process) is not None:
        process.freeze()
        loop().note(f"{replica.name} freezes")
        loop().at(loop().dice.uniform(1, 60), process.thaw)


def store_slow(c: Cluster) -> None:
    replica = loop().dice.choice(c.replicas)
    worst_s = loop().dice.choice((0.1, 1, 20))
    replica.store.pause_s = lambda: loop().dice.random() * worst_s
    loop().at(loop().dice.uniform(5, 30), replica.store.sound)


def store_fails(c: Cluster) -> None:
    replica = loop().dice.choice(c.replicas)
    replica.store.fails = True
    loop().at(loop().dice.uniform(1, 10), replica.store.sound)


def agent_killed(c: Cluster) -> None:
    loop().dice.choice(c.hosts).agent_kill()


def agent_frozen(c: Cluster) -> None:
    host = loop().dice.choice(c.hosts)
    if (process := host.agent) is not None:
        process.freeze()
        loop().note(f"agent of {host.name} freezes")
        loop().at(loop().dice.uniform(1, 90), lambda: host.frozen or process.thaw())


def keeper_killed(c: Cluster) -> None:
    loop().dice.choice(c.hosts).keeper_kill()


def keeper_frozen(c: Cluster) -> None:
    """Only where a watchdog stands behind the keeper: elsewhere nothing would end its guests (see 012)."""
    host = loop().dice.choice(c.hosts)
    if host.has_watchdog and (process := host.keeper) is not None:
        process.freeze()
        loop().note(f"keeper of {host.name} freezes")
        loop().at(loop().dice.uniform(1, 60), lambda: host.frozen or process.thaw())


def machine_killed(c: Cluster) -> None:
    """A guest's process dies, or the guest turns itself off."""
    host = loop().dice.choice(c.hosts)
    seen = {i: m.run for i, m in sorted(host.machines.machines().items()) if m.run != Run.STOPPED}
    if seen and host.up and not host.frozen:
        instance_id = loop().dice.choice(list(seen))
        itself = seen[instance_id] is Run.RUNNING and loop().dice.random() < 0.3  # a paused guest does nothing itself
        host.machines._change(instance_id, Run.STOPPED, Reason.GUEST_SHUTDOWN if itself else Reason.KILLED)


def host_lost(c: Cluster) -> None:
    """Power off; it comes back with the same disk, as another boot."""
    host = loop().dice.choice(c.hosts)
    host.power_off("power lost")
    loop().at(loop().dice.choice((3, 30, 60, 120)), host.boot)


def host_frozen(c: Cluster) -> None:
    host = loop().dice.choice(c.hosts)
    host.freeze()
    loop().at(loop().dice.choice((2, 20, 45, 90)), host.thaw)


def link_cut(c: Cluster) -> None:
    """The control link of one host, in one direction or in both, of its agent, its keeper, or both."""
    dice = loop().dice
    host = dice.choice(c.hosts)
    parts = dice.choice(({"agent", "keeper"}, {"agent", "keeper"}, {"agent"}, {"keeper"}))
    there, back = dice.choice(((True, True), (True, False), (False, True)))
    c.wire.cuts[host.name] = Cut(parts if there else set(), parts if back else set())
    loop().note(f"link of {host.name} is cut for {sorted(parts)}, there {there}, back {back}")
    loop().at(dice.choice((5, 30, 60, 120)), lambda: c.wire.cuts.pop(host.name, None))


def weather_bad(c: Cluster) -> None:
    dice = loop().dice
    w = c.wire.weather
    w.late, w.lost, w.doubled = dice.choice(((0.2, 0, 0), (0, 0.2, 0), (0, 0, 0.5), (0.1, 0.1, 0.2)))
    w.late_s = dice.choice((2.0, 40.0))

    def clear() -> None:
        w.late = w.lost = w.doubled = 0.0

    loop().at(dice.uniform(5, 40), clear)


def word_given_wrongly(c: Cluster) -> None:
    """Somebody, or a tool that lies, says that a host is off, whatever it is; they are not believed while its lease
    enforces. Where it does not, the word is all there is (guarantee `word`), and nobody lies here: seeds 4469, 5016.
    """
    host = loop().dice.choice(c.hosts)
    c.word_given(host, lies=host.up)


def evacuation_asked(c: Cluster) -> None:
    """Somebody wants everything moved away from a host, twice."""
    host = loop().dice.choice(c.hosts)
    by = Credentials("somebody", "", "", project_id="")
    for _ in range(2):
        c.in_a_replica(lambda tx, settings: host_evacuate(tx, settings, _row(tx, host), by, "", "", False))


def _row(tx: Tx, host: SimHost) -> Host:
    row = host_fetch(tx, host.host_id)
    assert row is not None
    return row


def store_clock_set(c: Cluster) -> None:
    """Forward or back, by less than a lease or by much more."""
    by_s = loop().dice.choice((-3600, -90, -20, 20, 90, 3600))
    loop().note(f"the store's clock is set by {by_s} s")
    loop().store_ahead_us += by_s * SECOND_US


def start_fails(c: Cluster) -> None:
    """The next start on a host fails, for a reason that others might not have, or for one that they have too; with
    the first kind some more, so that the host is shunned."""
    dice = loop().dice
    host, why = dice.choice(c.hosts), dice.choice((Unavailable("no memory"), Conflict("bad image")))
    for _ in range(HOST_BUILDS_FAILED + 1 if why.retryable else 1):
        queue_failure(host.home, "start", why)


FAULTS: dict[str, Callable[[Cluster], None]] = {
    name: fault
    for name, fault in list(globals().items())
    if callable(fault) and getattr(fault, "__module__", "") == __name__ and not name.startswith("_") and name.islower()
}
