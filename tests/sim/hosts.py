"""A compute host: its disk, its machines, its agent and its keeper, which are the product's own.

Machines are those of the product's simulated hypervisor, one small file each; the host knows which of them run, and
tells the world at once. A host that loses power loses them all; what is on its disk stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast.base.errors import Unavailable
from holdfast.base.limits import KEEPER_REQUEST_S
from holdfast.domain.observed import Capabilities
from holdfast.host.agent.agent import Agent, Parts
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.link import Link
from holdfast.host.agent.machine import ELSEWHERE
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.registration import Registration
from holdfast.host.agent.simulated import SimulatedNetwork, blank_image
from holdfast.host.dial import ControlPlane
from holdfast.host.hypervisor.driver import MachineSpec, Reason, Run
from holdfast.host.hypervisor.simulated import Knobs, Simulated, set_knobs
from holdfast.host.keeper import keep as keeping
from holdfast.host.keeper import lease as leases
from holdfast.host.keeper import renewal
from holdfast.host.keeper.watchdog import Watchdog
from holdfast.host.volumes.files import VolumeFiles
from tests.sim.clockwork import Process, Violation, current, loop
from tests.sim.disks import SimDisks
from tests.sim.rules import AFTER_A_THAW_S, World
from tests.sim.wire import Wire

TOKEN = "token"
"""The one that every host shows; its digest is in the store."""


class Machines(Simulated):
    """The simulated hypervisor, whose every change the world sees at once."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        super().__init__(host.home)

    def start(self, spec: MachineSpec) -> None:
        self.host.lock_check(spec.instance_id)
        super().start(spec)

    def _write(self, instance_id: str, machine: Any) -> None:
        elsewhere = machine.reason in ELSEWHERE  # on its way in or out: no disk is open, and no processor runs
        runs = machine.run != Run.STOPPED and not elsewhere
        if runs:
            self.host.lock_check(instance_id)
            self.host.disk_check(instance_id)
        super()._write(instance_id, machine)
        self.host.moved(instance_id, runs)


class SimWatchdog(Watchdog):
    """A watchdog that resets its host when it was armed and is not touched."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        path = host.home / "watchdog"
        path.touch()
        super().__init__(path if host.has_watchdog else None)

    def _touch(self) -> None:
        super()._touch()
        self.host.armed_until_s = loop().seconds + WATCHDOG_S if self._handle is not None else 0.0

    def keep(self, armed: bool, healthy: bool) -> None:
        super().keep(armed, healthy)
        if not armed:
            self.host.armed_until_s = 0.0


class SimControlPlane(ControlPlane):
    """The product's way to it, over the wire of the simulation."""

    def __init__(self, host: SimHost) -> None:
        super().__init__("http://cloud:80", host.host_id, host.home)
        self.host = host

    def connect(self, timeout_s: float) -> Any:
        return SimConnection(self.host, timeout_s)


class SimConnection:
    """What the product's own Link asks through."""

    def __init__(self, host: SimHost, timeout_s: float) -> None:
        self.host, self.timeout_s = host, timeout_s

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        shown = {"X-Host-Token": (self.host.home / "token").read_text(), **headers}
        self.asked = (method, f"/hosts/v1/{self.host.host_id}{path}", body or b"", shown)

    def getresponse(self) -> Any:
        try:
            answer = self.host.wire.call(self.host.name, "agent", *self.asked, self.timeout_s)
        except Unavailable as err:
            raise TimeoutError(err.message) from err
        return _Response(answer.status, answer.body)

    def close(self) -> None:
        """Nothing is open."""


class _Response(msgspec.Struct):
    status: int
    body: bytes

    def read(self) -> bytes:
        return self.body


class SimHost:
    """One host; `shared` is the directory of the disks and volumes that all hosts have before them, if they do."""

    def __init__(
        self, home: Path, number: int, wire: Wire, world: World, capabilities: Capabilities, shared: Path | None
    ) -> None:
        self.home, self.number, self.name, self.wire = home, number, f"h{number}", wire
        self.host_id = f"22222222-2222-4222-8222-{number:012d}"
        self.world, self.shared = world, shared
        self.disk_store = "shared" if shared else f"of {self.name}"
        self.capabilities = msgspec.structs.replace(capabilities, disk_store=self.disk_store)
        self.agent: Process | None = None
        self.keeper: Process | None = None
        self.up = self.frozen = False
        self.boots, self.booted_us, self.armed_until_s, self.thawed_s = 0, 0, 0.0, -1000.0
        self.has_watchdog = True
        self.restarts_in_s: Callable[[], float] = lambda: 1.0
        self.start_s: Callable[[], float] = lambda: 0.0
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "token").write_text(TOKEN)
        self.machines = Machines(self)

    # the host itself

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot-{self.boots}"

    def boot_time_s(self) -> float:
        """CLOCK_BOOTTIME: it goes on while the host is frozen."""
        return (loop().now_us - self.booted_us) / 1_000_000 + 10

    def boot(self) -> None:
        if self.up:
            return
        self.up, self.frozen = True, False
        self.boots += 1
        self.booted_us, self.armed_until_s = loop().now_us, 0.0
        loop().note(f"{self.name} boots, {self.boots}")
        self.keeper_start()
        self.agent_start()

    def power_off(self, why: str) -> None:
        """Everything that runs here ends; what is on the disk stays."""
        if not self.up:
            return
        loop().note(f"{self.name} is off: {why}")
        self.up, self.frozen = False, False
        for process in (self.agent, self.keeper):
            if process is not None:
                process.kill()
        self.agent = self.keeper = None
        self.end_machines(Reason.HOST_RESTART)

    def end_machines(self, reason: Reason) -> int:
        """Every machine of this host ends; how many there were."""
        ended = [i for i, seen in self.machines.machines().items() if seen.run != Run.STOPPED]
        for instance_id in ended:
            self.machines._change(instance_id, Run.STOPPED, reason)
            loop().note(f"{self.name} ended {instance_id[:8]}: {reason}")
        return len(ended)

    def freeze(self) -> None:
        """Nothing here runs on, guests included, until it is thawed; the boot clock goes on."""
        if self.up and not self.frozen:
            self.frozen = True
            loop().note(f"{self.name} freezes")
            for process in (self.agent, self.keeper):
                if process is not None:
                    process.freeze()

    def thaw(self) -> None:
        if self.up and self.frozen:
            self.frozen = False
            self.thawed_s = loop().seconds
            loop().note(f"{self.name} thaws")
            for process in (self.keeper, self.agent):
                if process is not None:
                    process.thaw()

    def watchdog_bites(self) -> bool:
        return self.up and not self.frozen and 0 < self.armed_until_s < loop().seconds

    def moved(self, instance_id: str, runs: bool) -> None:
        """A machine began or ended here."""
        self.world.moved(self, instance_id, runs)
        disk = self.world.disks.get((self.disk_store, instance_id))
        if runs and disk is None:
            raise Violation(f"{self.name} runs {instance_id} without a disk")
        if runs and disk is not None:
            disk.began_s = loop().seconds

    def writers_check(self, instance_id: str, what: str) -> None:
        """Nobody may use the disk that is changed here."""
        users = [host.name for host in self.world.copies(instance_id) if host.disk_store == self.disk_store]
        if users:
            raise Violation(f"I7 the disk of {instance_id} is {what} by {self.name} while it is used on {users}")

    def lock_check(self, instance_id: str) -> None:
        if other := self.world.locked(self, instance_id):
            raise Unavailable(f'Failed to get "write" lock: {other} holds the disk', code="disk_locked")

    def disk_check(self, instance_id: str) -> None:
        """A host that was frozen within a start finds the disk gone, and opens none."""
        gone = (self.disk_store, instance_id) not in self.world.disks
        if gone and loop().seconds - self.thawed_s < AFTER_A_THAW_S:
            self.world.seen("a thawed host found a disk gone")
            raise Unavailable("Could not open the disk: No such file or directory")

    # its processes

    def agent_start(self) -> None:
        if not self.up or (self.agent is not None and self.agent.alive):
            return
        set_knobs(self.home, Knobs(start_s=self.start_s(), stop_s=self.start_s()))
        self.agent = Process(f"agent of {self.name}", self)
        self.agent.spawn(self._agent, "agent")
        loop().note(f"agent of {self.name} starts")

    def agent_kill(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            loop().at(self.restarts_in_s(), self.agent_start)
            loop().note(f"agent of {self.name} was killed")

    def _agent(self) -> None:
        registration = Registration(self.home)
        control = SimControlPlane(self)
        Agent(lambda: Link(control, lambda: registration.number), self._parts(registration)).run()

    def _parts(self, registration: Registration) -> Parts:
        lease = self.home / leases.LEASE_FILE
        return Parts(
            Desk(self.host_id),
            self.machines,
            SimulatedNetwork(),
            SimDisks(self),
            ReachedFiles(self.home / "reached"),
            self.capabilities,
            VolumeFiles((self.shared or self.home) / "volumes", blank_image, self.shared is not None),
            registration,
            lambda: leases.read_lease(lease),
        )

    def keeper_start(self) -> None:
        if not self.up or (self.keeper is not None and self.keeper.alive):
            return
        self.keeper = Process(f"keeper of {self.name}", self)
        self.keeper.spawn(self._keeper, "keeper")

    def keeper_kill(self) -> None:
        if self.keeper is not None:
            self.keeper.kill()
            loop().at(self.restarts_in_s(), self.keeper_start)
            loop().note(f"keeper of {self.name} was killed")

    def _keeper(self) -> None:
        endpoint = renewal.parse_endpoint("http://cloud:80")
        keeping.keep(
            self.home,
            lambda body: renewal.lease_request(endpoint, self.host_id, self.home / "token", body),
            SimWatchdog(self),
        )

    def exchange(self, request: bytes) -> bytes:
        """The keeper's one request, in its own words."""
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        answer = self.wire.call(self.name, "keeper", method, path, body, headers, KEEPER_REQUEST_S)
        return b"HTTP/1.0 %d \r\n\r\n" % answer.status + answer.body


WATCHDOG_S = 10.0
"""How long an armed watchdog waits for a touch."""


def here() -> SimHost:
    """The host of the process that runs now."""
    thread = current()
    assert thread is not None and isinstance(thread.process.owner, SimHost)
    return thread.process.owner
