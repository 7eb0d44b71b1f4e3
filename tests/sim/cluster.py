"""One seed: a cluster, users, faults for a while; then everything is healed, and it must come to rest as it should."""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable

from holdfast.base.config import Settings
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import HOST_DOWN_S
from holdfast.control.operations.host.fencing import word_given
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import lease_fetch
from holdfast.control.store.host import host_fetch, host_insert
from holdfast.debug.audit import store_audit
from holdfast.domain.observed import Capabilities
from tests.sim.clockwork import Loop, Violation
from tests.sim.faults import FAULTS
from tests.sim.hosts import TOKEN, SimHost
from tests.sim.mutants import Mutant, without
from tests.sim.operators import Operators
from tests.sim.replicas import Replica
from tests.sim.rest import Rest
from tests.sim.rules import World
from tests.sim.standins import stood_in
from tests.sim.stores import ground
from tests.sim.users import Users
from tests.sim.wire import Weather, Wire

CHAOS_S = 60.0
CONVERGE_S = 360.0
"""Every accepted request ends within 300 s of the healing (OPERATION_DEADLINE_S), and then a sweep and a report."""
GONE_S = 120.0
LOST_FOR_GOOD = 0.3


class SeedFailed(AssertionError):
    """A violation, with the seed's last events and the command that replays it."""


class Cluster:
    """Everything of one seed."""

    def __init__(self, loop: Loop, kinds: tuple[str, ...] = (), operators: bool = True) -> None:
        """`kinds` names the faults that happen; none: the dice do. `operators` move servers as well."""
        self.kinds = kinds
        self.loop, dice = loop, loop.dice
        self.counts: Counter[str] = Counter()
        self.ground = ground()
        self.ground.restore()
        self.replicas = [Replica(self.ground, number) for number in range(dice.choice((1, 2, 2, 3)))]
        self.wire = Wire(self.replicas, self.seen)
        self.world = World(self.ground.raw, locks=dice.random() < 0.5, seen=self.seen)
        count = dice.choice((2, 2, 3, 3, 4))
        capabilities = Capabilities(8, 512 + 128 * 5, 500, "simulated", "", "simulated", "1", "h", "127.0.0.1")
        home = self.ground.home
        self.shared = shared = home / "shared" if dice.random() < 0.75 else None
        shutil.rmtree(home / "shared", ignore_errors=True)
        self.hosts = [
            SimHost(home / f"h{n}", n, self.wire, self.world, capabilities, shared) for n in range(1, count + 1)
        ]
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        store = self.ground.stores[0]
        for host in self.hosts:
            store.write(lambda tx, h=host: host_insert(tx, h.host_id, h.name, "nova", digest))  # type: ignore[misc]
            host.restarts_in_s = lambda: dice.uniform(0.5, 3.5)
            host.start_s = lambda: dice.choice((0.0, 0.1, 2.0))
            host.has_watchdog = dice.random() < 0.5
        for replica in self.replicas:
            replica.restarts_in_s = lambda: dice.choice((0.5, 2, 20))
        self.users = Users(self.wire, self.ground, ranked=operators)
        names = [host.name for host in self.hosts]
        self.operators = Operators(self.users, loop.seed, names) if operators else None

    def seen(self, what: str) -> None:
        """Count a kind of event: a run in which one never happened proves nothing about it."""
        self.counts[what] += 1

    def live(self) -> None:
        """Chaos, then healing, then rest."""
        loop, dice = self.loop, self.loop.dice
        loop.after_each = self.after_each
        for replica in self.replicas:
            replica.start()
        for host in self.hosts:
            host.boot()
        loop.run(20)
        self.users.live(loop.seconds + CHAOS_S, dice.choice((3.0, 6.0, 15.0)))
        if self.operators is not None:
            self.operators.work(loop.seconds + CHAOS_S)
        self.chaos()
        rest = Rest(self)
        if self.shared and len(self.hosts) > 2 and dice.random() < LOST_FOR_GOOD:
            self.one_stays_away(rest)
        self.heal()
        if not loop.run(CONVERGE_S, until=rest.reached):
            raise Violation(f"I2 it did not come to rest within {CONVERGE_S:.0f} s of the healing: {rest.missing()}")
        loop.note("at rest")
        rest.clear_away()
        if not loop.run(GONE_S, until=rest.empty):
            raise Violation(f"I8 something is left after everything was deleted: {rest.left()}")
        self.count_rows()
        self.counts["requests accepted"] += self.users.accepted
        self.counts["creates repeated after a lost answer"] += self.users.repeated

    def one_stays_away(self, rest: Rest) -> None:
        """Everything is healed but one host, which is off: what is to be elsewhere does not wait for it."""
        lost = self.loop.dice.choice(self.hosts)
        lost.power_off("it stays away")
        self.heal(but=lost)
        self.loop.run(HOST_DOWN_S + 1)
        self.word_given(lost)
        if not self.loop.run(CONVERGE_S, until=lambda: rest.reached_without(lost)):
            raise Violation(f"I2 without {lost.name} it did not go on elsewhere: {rest.waiting_without(lost)}")
        self.seen("came to rest without a host")

    def count_rows(self) -> None:
        """How much of what is to be survived did happen, from the rows."""
        for kind, state, number in self.world.rows("SELECT kind, state, count(*) FROM operation GROUP BY kind, state"):
            self.counts[f"act {kind} {state}"] += int(str(number))
        for kind, number in self.world.rows("SELECT kind, count(*) FROM fence_proof GROUP BY kind"):
            self.counts[f"fenced by {kind}"] += int(str(number))
        for (number,) in self.world.rows("SELECT sum(incarnation) FROM host_lease"):
            self.counts["registrations"] += int(str(number))

    def chaos(self) -> None:
        """Faults at random instants, of some kinds per seed: which, and how many, is the seed's own."""
        loop, dice = self.loop, self.loop.dice
        kinds = list(self.kinds) or [
            *dice.sample(sorted(FAULTS), dice.randint(1, 5)),
            dice.choice(("host_lost", "link_cut", "host_frozen")),
        ]
        loop.note(f"kinds of faults: {kinds}")
        for _ in range(dice.randint(3, 12)):
            kind = dice.choice(kinds)
            loop.at(dice.uniform(2, CHAOS_S), lambda kind=kind: self.fault(kind))  # type: ignore[misc]
        loop.run(CHAOS_S)

    def fault(self, kind: str) -> None:
        if self.healed:
            return
        self.loop.note(f"FAULT {kind}")
        self.seen(f"fault {kind}")
        FAULTS[kind](self)

    def word_given(self, host: SimHost, lies: bool = False) -> None:
        """Somebody says that a host is off; who lies does so only where its lease enforces."""

        def change(tx: Tx, _: Settings) -> None:
            row = host_fetch(tx, host.host_id)
            assert row is not None
            if not lies or lease_fetch(tx, host.host_id).enforced:
                word_given(tx, row, "", "so they say")

        self.in_a_replica(change)

    def in_a_replica(self, change: Callable[[Tx, Settings], object]) -> None:
        """Do what an operator's call would do, in one transaction of some replica; refused is refused."""

        def go() -> None:
            try:
                replica.store.write(lambda tx: change(tx, self.ground.settings))
                self.seen("an operator's word was taken")
            except HoldfastError as err:
                self.loop.note(f"an operator was told: {err.message}")

        replica = self.loop.dice.choice(self.replicas)
        if replica.process is not None:
            replica.process.spawn(go, "an operator's call")

    healed = False

    def heal(self, but: SimHost | None = None) -> None:
        """Everything that is broken is whole again; one host, if need be, stays as it is."""
        self.healed = True
        self.loop.note("HEAL")
        self.wire.cuts.clear()
        self.wire.weather = Weather()
        for replica in self.replicas:
            replica.store.sound()
            replica.restarts_in_s = lambda: 1.0
            if replica.process is not None:
                replica.process.thaw()
            else:
                replica.start()
        for host in self.hosts:
            if host is but:
                continue
            host.thaw()
            host.boot()
            host.restarts_in_s = lambda: 1.0
            for process in (host.keeper, host.agent):
                if process is not None:
                    process.thaw()

    def after_each(self) -> None:
        for host in self.hosts:
            if host.watchdog_bites():
                self.seen("watchdog reset a host")
                host.power_off("its watchdog was not touched")
                self.loop.at(5, host.boot)
        written = [store for store in self.ground.stores if store.written]
        for store in written:
            store.written = False
        self.world.check(bool(written))

    def audit(self) -> list[str]:
        """What the product's own audit says; it is a subject of the test as well."""
        images = self.ground.home / "images"
        found = self.ground.stores[0].read(lambda tx: store_audit(tx, images))
        return [f"{f.code} {f.object}: {f.words}" for f in found if f.code != "image-without-file"]

    def end(self) -> None:
        """Kill everything that runs."""
        self.users.process.kill()
        for host in self.hosts:
            host.power_off("the seed is over")
        for replica in self.replicas:
            if replica.process is not None:
                replica.process.kill()
                replica.application.close()


def run_seed(
    seed: int,
    tell: Callable[[str], None] | None = None,
    mutant: Mutant | None = None,
    kinds: tuple[str, ...] = (),
    operators: bool = True,
) -> tuple[Counter[str], str]:
    """Run one seed; returns what happened in it and a digest of its story. Raises SeedFailed."""
    loop = Loop(seed, tell)
    ground()  # before anything stands in
    collected = gc.isenabled()
    gc.disable()
    with stood_in(loop, tell), without(mutant):
        cluster = Cluster(loop, kinds, operators)
        try:
            cluster.live()
        except Violation as err:
            story = "\n".join(loop.last)
            raise SeedFailed(
                f"{err}\nseed {seed}, at {loop.seconds:.3f} s\n{story}\nreplay: make sim SEED={seed}"
            ) from err
        finally:
            loop.after_each = lambda: None
            cluster.end()
            if collected:
                gc.enable()
    return cluster.counts, loop.story()
