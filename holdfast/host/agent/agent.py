"""The agent of one host: fetches what should be, makes it so, says what is.

    poll     registers; long poll for what is newer; marks what changed as due
    sweep    looks at reality every few seconds; marks whatever differs as due
    work     several threads; each takes a due machine and reconciles it
    network  applies the network when it or a machine changed, and looks at it every few seconds
    volumes  makes, grows and removes the files of volumes
    console  sends what guests wrote
    report   what changed at once, everything every few seconds (that is the heartbeat)

No thread waits for another, and every one goes on after a failure: a control plane that is away, a machine
that cannot start and a network that cannot be applied hold up nothing but themselves. A machine found here
that nobody asked for is reported and left alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from holdfast.base import log as logs
from holdfast.base.errors import Conflict, HoldfastError
from holdfast.base.limits import (
    AGENT_WORKERS,
    DESIRED_POLL_S,
    FAILED_AGAIN_S,
    FULL_REPORT_S,
    MOVE_STEP_S,
    NETWORK_GATHER_S,
    NETWORK_LOOK_S,
    REPORT_PERIOD_S,
    SWEEP_PERIOD_S,
)
from holdfast.domain.desired import Machine
from holdfast.domain.observed import Capabilities, HostReport, MachineReport, MoveState, Phase, VolumeReport
from holdfast.host.agent.board import Due, Said, Seen
from holdfast.host.agent.consoles import Consoles
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.link import Link
from holdfast.host.agent.machine import Act, Worker, decide
from holdfast.host.agent.networking import Networking
from holdfast.host.agent.parts import Disks, Network
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.registration import Registration
from holdfast.host.agent.volumes import Plugging, VolumeKeeping, in_gib
from holdfast.host.hypervisor.driver import Hypervisor, Observed, Run
from holdfast.host.keeper.lease import Lease
from holdfast.host.volumes.files import VolumeFiles

log = logs.get(__name__)
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that an agent is made of; chosen by the composition root."""

    desk: Desk
    hypervisor: Hypervisor
    network: Network
    disks: Disks
    reached: ReachedFiles
    capabilities: Capabilities
    volumes: VolumeFiles
    registration: Registration
    lease: Callable[[], Lease]


class Agent:
    """One host's agent. `make_link` makes a connection per thread."""

    def __init__(self, make_link: Callable[[], Link], parts: Parts) -> None:
        self._make_link, self._parts = make_link, parts
        self._desk = parts.desk
        self._due: Due = Due()
        self._said: Said[MachineReport] = Said(lambda report: report.instance_id)
        self._plugging = Plugging(parts.hypervisor, parts.volumes)
        self._keeping = VolumeKeeping(parts.volumes, self._desk, Said(lambda report: report.id, self._said.changed))
        self._networking = Networking(parts.network, self._desk)
        self._worker = Worker(
            parts.hypervisor,
            self._networking,
            parts.network,
            parts.disks,
            parts.reached,
            self._plugging,
            self._why_not_run,
        )
        self._seen = Seen()
        self._failed_at: dict[str, float] = {}
        self._capturing: set[str] = set()
        self._consoles = Consoles(parts.hypervisor, make_link)
        self._network_due = threading.Event()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Work until `stop`."""
        loops = [self._poll, self._sweep, self._network, self._console, self._volumes, self._report]
        loops += [self._work] * AGENT_WORKERS
        threads = [threading.Thread(target=loop, name=f"agent-{loop.__name__}", daemon=True) for loop in loops]
        self._seen.look(self._parts.hypervisor.machines)
        for thread in threads:
            thread.start()
        self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()

    def _why_not_run(self, machine: Machine) -> str:
        """Why a machine may not start here now: asked at the last moment, for a thread may have slept since."""
        if not self._parts.lease().may_run:
            return "waits for the host's lease"
        return "" if self._desk.is_current(machine) else "waits for the newest word on it"

    def _register(self, link: Link) -> None:
        """Begin a new incarnation; whatever was known is an older one's."""
        mine = self._parts.registration
        number = link.register(mine.boot_id, mine.machine)
        self._desk.reset()
        mine.registered(number)
        log.info("host_registered", incarnation=number)

    def _poll(self) -> None:
        link, registration = self._make_link(), self._parts.registration
        while not self._stopping.is_set():
            try:
                if not registration.number:
                    self._register(link)
                update = link.desired(self._desk.version, DESIRED_POLL_S if self._desk.known else 0)
            except Conflict as err:
                log.warn("host_refused", reason=err.message)
                registration.lost()
                self._stopping.wait(RETRY_S)
                continue
            except HoldfastError as err:
                log.warn("desired_not_fetched", reason=err.message)
                self._stopping.wait(RETRY_S)
                continue
            if update is not None:
                changed = self._desk.apply(update)
                registration.publish()
                log.debug("desired_fetched", version=update.version, machines=len(changed))
                self._due.add(changed)
                self._keeping.wanted([volume.id for volume in update.volumes])
                if update.network is not None:
                    self._network_due.set()
                    self._stopping.wait(NETWORK_GATHER_S)

    def _network(self) -> None:
        """Apply again and again: a floating address is reported up, or down, by whoever looks at its path."""
        while not self._stopping.is_set():
            if self._desk.known and self._networking.apply_quietly():
                self._said.changed()
            self._network_due.wait(NETWORK_LOOK_S)
            self._network_due.clear()

    def _volumes(self) -> None:
        self._keeping.run(self._stopping)

    def _console(self) -> None:
        self._consoles.run(self._stopping)

    def _work(self) -> None:
        while not self._stopping.is_set():
            instance_id = self._due.take(REPORT_PERIOD_S)
            if instance_id is None:
                continue
            machine = self._desk.machine(instance_id)
            if machine is not None:
                self._reconcile(machine)
            self._due.done(instance_id)

    def _reconcile(self, machine: Machine) -> None:
        report, seen = self._worker.reconcile(machine, self._seen.of(machine.instance_id))
        self._seen.put(machine.instance_id, seen)
        if report.phase is Phase.FAILED or report.volume_problem:
            self._failed_at[machine.instance_id] = time.monotonic()
        self._said.say(report)
        if report.move is not None and report.move.state in (MoveState.WAITING, MoveState.SENDING):
            self._again_soon(machine.instance_id)
        if machine.interfaces and report.phase in (Phase.RUNNING, Phase.ABSENT):
            self._network_due.set()
        if machine.capture_image_id and machine.present and machine.capture_image_id not in self._capturing:
            self._capturing.add(machine.capture_image_id)
            threading.Thread(target=self._capture, args=(machine,), daemon=True).start()

    def _again_soon(self, instance_id: str) -> None:
        """A move is followed closely: at its end the guest is halted."""
        timer = threading.Timer(MOVE_STEP_S, lambda: self._due.add([instance_id]))
        timer.daemon = True
        timer.start()

    def _capture(self, machine: Machine) -> None:
        """Fill an image from a disk, beside everything else. A failure is told once, and ends the act."""
        with logs.bind(instance=machine.instance_id):
            try:
                self._parts.disks.capture(machine)
            except HoldfastError as err:
                log.warn("capture_failed", code=err.code, reason=err.message, detail=err.detail)
                self._tell_capture_failed(machine.capture_image_id, err.message)
            finally:
                self._capturing.discard(machine.capture_image_id)

    def _tell_capture_failed(self, image_id: str, reason: str) -> None:
        link = self._make_link()
        try:
            link.capture_failed(image_id, reason)
        except HoldfastError as err:
            log.warn("capture_failure_not_told", reason=err.message)
        finally:
            link.close()

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_PERIOD_S):
            if not self._desk.known:
                continue
            try:
                self._seen.look(self._parts.hypervisor.machines)
            except HoldfastError as err:
                log.warn("hypervisor_not_seen", code=err.code, reason=err.message)
                continue
            self._due.add([i for i in self._desk.instance_ids() if self._is_due(i, self._seen.of(i))])

    def _is_due(self, instance_id: str, seen: Observed | None) -> bool:
        machine, said = self._desk.machine(instance_id), self._said.of(instance_id)
        if machine is None:
            return False
        if said is None or said.generation != machine.generation:
            return True
        if said.phase is Phase.FAILED:
            late = time.monotonic() - self._failed_at.get(instance_id, 0.0) > FAILED_AGAIN_S
            return said.retryable and late
        if machine.move is not None:
            return True
        differs = seen is not None and (said.phase.value, said.reason) != (seen.run.value, seen.reason.value)
        if differs or decide(machine, self._parts.reached.get(instance_id), seen) is not Act.NONE:
            return True
        return self._plugs_differ(machine, said, seen)

    def _plugs_differ(self, machine: Machine, said: MachineReport, seen: Observed | None) -> bool:
        """Whether the volumes of a running machine are not as asked for; looked at where there are or were any."""
        if seen is None or seen.run is Run.STOPPED or not (machine.volumes or said.volumes != ()):
            return False
        try:
            has = self._plugging.look(machine)
        except HoldfastError as err:
            log.warn("volumes_of_machine_not_seen", instance=machine.instance_id, reason=err.message)
            return False
        if in_gib(has) != said.volumes:
            return True  # a guest let go by itself, late
        just_tried = time.monotonic() - self._failed_at.get(machine.instance_id, 0.0) < FAILED_AGAIN_S
        return self._plugging.differs(machine, has) and not (said.volume_problem and just_tried)

    def _report(self) -> None:
        link, last_s, full_s = self._make_link(), 0.0, 0.0
        while not self._stopping.is_set():
            if not self._parts.registration.there.wait(RETRY_S):
                continue  # it would be refused; once registered it reports at once, for before it takes no servers
            due = time.monotonic() - last_s >= REPORT_PERIOD_S
            full = self._desk.known and time.monotonic() - full_s >= FULL_REPORT_S
            news = self._said.take_news()
            machines, files = self._said.unheard(), self._keeping.said.unheard()
            if full:
                machines, files = self._said.everything(), self._keeping.said.everything()
            if due or full or machines or files or news:
                try:
                    link.report(self._host_report(machines, files, full))
                except HoldfastError as err:
                    log.warn("report_not_taken", reason=err.message)
                    self._said.again(machines)
                    self._keeping.said.again(files)
                    self._stopping.wait(RETRY_S)
                    continue
                last_s = time.monotonic()
                full_s = last_s if full else full_s
                self._heard(machines)
                self._keeping.heard(files)
            self._said.wait(REPORT_PERIOD_S - (time.monotonic() - last_s) if self._desk.known else RETRY_S)

    def _heard(self, machines: tuple[MachineReport, ...]) -> None:
        """What was reported as gone needs no more words."""
        for report in machines:
            machine = self._desk.machine(report.instance_id)
            if report.phase is Phase.ABSENT:
                self._said.forget(report)
                if machine is not None and machine.generation == report.generation:
                    self._desk.forget(machine)

    def _host_report(
        self, machines: tuple[MachineReport, ...], files: tuple[VolumeReport, ...], full: bool
    ) -> HostReport:
        disks = self._parts.disks
        here = {*self._seen.instance_ids(), *disks.found(), *self._parts.reached.instance_ids()}
        strangers = here - set(self._desk.instance_ids())  # asked last: what is here by now was asked for before
        strangers |= self._keeping.strangers()
        return HostReport(
            full=full,
            desired_version=self._desk.version,
            capabilities=msgspec.structs.replace(self._parts.capabilities, disk_gib=disks.size_gib()),
            machines=machines,
            floating=self._networking.floating,
            images=disks.held(),
            disk_free_gib=disks.free_gib(),
            unknown=tuple(sorted(strangers)) if self._desk.known else (),
            volumes=files,
            problems=self._networking.problems,
        )
