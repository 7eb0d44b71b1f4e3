"""QEMU behind the driver contract: every verb looks at processes and monitors, then acts.

A machine lives as one QEMU of its own session, which nothing of ours needs to keep alive. That one instance
never has two of them on this host rests on three things, each enough by itself: a verb that starts holds the
machine's directory from the look to the answer; QEMU holds the lock of `alive` as long as it lives; and
QEMU locks the disks.

    start:  lock directory > look in /proc > spec.json > spawn > monitor answers
            killed between any two: the next look finds a process or none, and goes on from there
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.base.errors import Conflict, HoldfastError, NotFound, Unavailable
from holdfast.base.ids import is_id
from holdfast.base.limits import HYPERVISOR_START_S, KILL_S, MONITOR_S, QEMU_LOG_BYTES, STATUS_S
from holdfast.base.log import get
from holdfast.base.run import Child
from holdfast.host.hypervisor.check import check_passage, check_spec, check_volume
from holdfast.host.hypervisor.driver import (
    Card,
    MachineSpec,
    Observed,
    Passage,
    Probed,
    Reason,
    Sending,
    SendState,
    Volume,
    Where,
)
from holdfast.host.hypervisor.qemu import directory as home
from holdfast.host.hypervisor.qemu import files, moves, processes, volumes
from holdfast.host.hypervisor.qemu.command import BINARY
from holdfast.host.hypervisor.qemu.launch import Host, launch, owner_of
from holdfast.host.hypervisor.qemu.observe import observed_running, observed_stopped
from holdfast.host.hypervisor.qemu.passage import note_read
from holdfast.host.hypervisor.qemu.probe import boot_id, newest_machine_type, probe, version_of
from holdfast.host.hypervisor.qmp import Qmp, statuses

log = get(__name__)

_WORDS = 600  # of QEMU's last output, in an error


class Qemu:
    """The machines of one state directory.

    `open_tap` opens the tap of a card and returns its descriptor, which is ours to close. With `user`
    every QEMU runs as that user, who is given the machine's directory and disks; backing files and kernels
    have to be readable by it. `accelerator` is `auto` (proved by a probe, with `kernel` if there is one) or one
    word that is believed.
    """

    name = "qemu"

    def __init__(
        self,
        state: Path,
        open_tap: Callable[[Card], int],
        *,
        user: str | None = None,
        accelerator: str = "auto",
        kernel: Path | None = None,
        binary: str = BINARY,
    ) -> None:
        self._state = state.resolve()
        self._machines = self._state / processes.MACHINES
        self._open_tap = open_tap
        self._owner = owner_of(user) if user else None
        self._accelerator = accelerator
        self._kernel = kernel
        self._binary = binary
        self._host: Host | None = None
        self._children: set[Child] = set()  # only to be reaped; what runs is read from /proc
        self._machines.mkdir(mode=0o711, parents=True, exist_ok=True)

    def probe(self) -> Probed:
        """Prove an accelerator (Unavailable: none works); kept for this boot and this QEMU."""
        self._host = self._prove()
        return self._host.probed

    def machines(self) -> Mapping[str, Observed]:
        """Every machine that has a directory or a process. Also keeps the logs of all of them bounded.

        One that another thread is just starting is seen as it is so far: stopped, `start-failed`.
        """
        self._reap()
        running = {process.instance_id: process for process in processes.processes_of(self._state)}
        monitors = {instance_id: self._machines / instance_id / home.AGENT_MONITOR for instance_id in running}
        answers = statuses(monitors, STATUS_S)
        for instance_id, status in answers.items():
            files.confirm_start(self._machines / instance_id)
            if status == "running":
                moves.confirm_activated(self._machines / instance_id)
        found = {
            key: observed_running(process, answers.get(key), moves.is_inbound(self._machines / key))
            for key, process in running.items()
        }
        this_boot = boot_id()
        for directory in self._machines.iterdir():
            if is_id(directory.name):
                files.trim_logs(directory)
                found.setdefault(directory.name, observed_stopped(directory, this_boot))
        return found

    def start(self, spec: MachineSpec) -> None:
        check_spec(spec)
        host = self._host = self._host or self._prove()
        try:
            self._start(spec, host)
        except OSError as err:
            raise Unavailable(f"{spec.instance_id} could not be set up: {err.strerror}", detail=str(err)) from err

    def stop(self, instance_id: str, grace_s: float) -> None:
        for process in self._find(instance_id):
            with processes.held(process, self._state) as handle:
                if handle is not None:
                    self._end(process, handle, grace_s)
        self._reap()

    def pause(self, instance_id: str, paused: bool) -> None:
        if not self._find(instance_id):
            raise Conflict(f"{instance_id} does not run")
        with self._monitor(instance_id) as monitor:
            if moves.on_its_way(monitor, self._machines / instance_id):
                raise Conflict(f"{instance_id} is on its way between two hosts")
            monitor.execute("stop" if paused else "cont")

    def volumes(self, instance_id: str) -> Mapping[str, int]:
        if not self._find(instance_id):
            return {}
        with self._monitor(instance_id) as monitor:
            return volumes.volumes_open(monitor)

    def plug(self, instance_id: str, volume: Volume) -> None:
        check_volume(volume)
        if not self._find(instance_id):
            raise Conflict(f"{instance_id} does not run")
        if self._owner is not None:
            home.own(volume.path, self._owner)
        with self._monitor(instance_id) as monitor:
            volumes.plug(monitor, volume)

    def unplug(self, instance_id: str, volume_id: str, wait_s: float) -> bool:
        if not self._find(instance_id) or not is_id(volume_id):
            return True
        return volumes.unplug(lambda: self._monitor(instance_id), volume_id, wait_s)

    def grow(self, instance_id: str, volume_id: str, size_bytes: int) -> None:
        if self._find(instance_id) and is_id(volume_id):
            with self._monitor(instance_id) as monitor:
                volumes.grow(monitor, volume_id, size_bytes)

    def receive(self, spec: MachineSpec, passage: Passage, address: str) -> Where:
        check_spec(spec)
        check_passage(passage)
        host = self._host = self._host or self._prove()
        directory = self._machines / spec.instance_id
        try:
            with home.locked(directory, HYPERVISOR_START_S, create=True) as fresh:
                if where := self._listens_already(spec.instance_id, passage):
                    return where
                with self._nothing_left(directory, fresh):
                    self._launch(spec, directory, host, waits=True)
                    return moves.wait_for_guest(directory, spec, passage, address, host.owner)
        except OSError as err:
            raise Unavailable(f"{spec.instance_id} could not be set up: {err.strerror}", detail=str(err)) from err

    def send(self, instance_id: str, passage: Passage, where: Where) -> Sending:
        check_passage(passage)
        with self._running(instance_id) as directory:
            return moves.send(directory, passage, where, self._owner)

    def sending(self, instance_id: str) -> Sending:
        if not self._find(instance_id):
            return Sending(SendState.NONE)
        return moves.sending(self._machines / instance_id)

    def cancel_send(self, instance_id: str) -> Sending:
        if not self._find(instance_id):
            return Sending(SendState.NONE)
        with self._running(instance_id) as directory:
            return moves.cancel(directory)

    def activate(self, instance_id: str, paused: bool = False) -> None:
        with self._running(instance_id) as directory:
            moves.activate(directory, paused)

    @contextmanager
    def _running(self, instance_id: str) -> Iterator[Path]:
        """The directory of a machine that runs, held."""
        if not self._find(instance_id):
            raise Conflict(f"{instance_id} does not run")
        try:
            with home.locked(self._machines / instance_id, HYPERVISOR_START_S, create=False):
                yield self._machines / instance_id
        except FileNotFoundError as err:
            raise Conflict(f"{instance_id} does not run") from err

    def _listens_already(self, instance_id: str, passage: Passage) -> Where | None:
        """Where this very passage is waited for; a wait for another, or one that was interrupted, is ended."""
        found = self._find(instance_id)
        if not found:
            return None
        note, seen = note_read(self._machines / instance_id), self.machines()[instance_id]
        if seen.reason is not Reason.RECEIVING:
            raise Conflict(f"{instance_id} is here already: {seen.run.value} {seen.reason.value}".rstrip())
        if note is not None and note.id == passage.id:
            return note.where
        self.stop(instance_id, 0)
        return None

    @contextmanager
    def _nothing_left(self, directory: Path, fresh: bool) -> Iterator[None]:
        """What fails inside leaves no process, and no directory that was not there before."""
        try:
            yield
        except BaseException:
            self.stop(directory.name, 0)
            if fresh:
                home.remove(directory)
            raise

    def _monitor(self, instance_id: str) -> Qmp:
        return Qmp(self._machines / instance_id / home.AGENT_MONITOR)

    def forget(self, instance_id: str) -> None:
        directory = self._directory(instance_id)
        if directory is None:
            return self._refuse_running(instance_id)
        try:
            with home.locked(directory, HYPERVISOR_START_S, create=False):
                self._refuse_running(instance_id)
                home.remove(directory)
        except FileNotFoundError:
            return

    def console_sizes(self) -> Mapping[str, int]:
        sizes = {}
        for name in os.listdir(self._machines) if self._machines.is_dir() else ():
            with suppress(OSError):
                sizes[name] = os.lstat(self._machines / name / files.CONSOLE_FILE).st_size
        return sizes

    def console(self, instance_id: str, size_bytes: int) -> bytes:
        directory = self._directory(instance_id)
        try:
            if directory is not None:
                return files.tail(directory / files.CONSOLE_FILE, size_bytes)
        except FileNotFoundError as err:
            raise NotFound(f"{instance_id} never started here") from err
        raise NotFound(f"{instance_id} never started here")

    def _start(self, spec: MachineSpec, host: Host) -> None:
        directory = self._machines / spec.instance_id
        with home.locked(directory, HYPERVISOR_START_S, create=True) as fresh:
            if self._find(spec.instance_id):
                return
            began_s = time.monotonic()
            with self._nothing_left(directory, fresh):
                self._launch(spec, directory, host)
            log.info("machine_started", instance=spec.instance_id, took_s=round(time.monotonic() - began_s, 3))

    def _prove(self) -> Host:
        machine_type = newest_machine_type(self._binary)
        if self._accelerator == "auto":
            probed = probe(self._binary, machine_type, self._state / "probe.json", self._kernel)
        else:
            probed = Probed(self._accelerator, "chosen by the operator", version_of(self._binary))
        return Host(self._binary, machine_type, probed, self._owner)

    def _launch(self, spec: MachineSpec, directory: Path, host: Host, waits: bool = False) -> None:
        """Spawn and wait for the monitor; on any failure the process is gone before the error leaves."""
        deadline = time.monotonic() + HYPERVISOR_START_S
        files.write_reason(directory, Reason.START_FAILED)
        child = launch(spec, directory, host, self._open_tap, waits)
        try:
            with Qmp(directory / home.AGENT_MONITOR, timeout_s=deadline - time.monotonic()):
                if waits:
                    files.write_reason(directory, Reason.NOT_RECEIVED)
                else:
                    (directory / files.REASON_FILE).unlink(missing_ok=True)
        except BaseException as err:
            child.kill()
            child.wait(KILL_S)
            if not isinstance(err, HoldfastError):
                raise
            words = files.tail_or_nothing(directory / files.QEMU_LOG, QEMU_LOG_BYTES).decode("utf-8", "replace").strip()
            why = words[-_WORDS:] or err.message
            raise Unavailable(f"{spec.instance_id} did not start: {why}", code="start_failed") from err
        self._children.add(child)

    def _end(self, process: processes.Process, handle: int, grace_s: float) -> None:
        directory = self._machines / process.instance_id
        elsewhere = moves.leave(directory)
        if grace_s > 0 and elsewhere is Reason.NONE:
            files.write_reason(directory, Reason.STOPPED)
            if self._press_power(directory) and processes.wait_for_end(handle, grace_s):
                return
        files.write_reason(directory, elsewhere or Reason.FORCED)
        processes.kill(handle)
        if not processes.wait_for_end(handle, KILL_S):
            raise Unavailable(f"{process.instance_id}: process {process.pid} does not end, even killed")

    def _press_power(self, directory: Path) -> bool:
        """Say whether the button could be pressed; a paused guest is resumed, or it would never notice."""
        try:
            with Qmp(directory / home.AGENT_MONITOR, MONITOR_S) as monitor:
                monitor.execute("cont")
                monitor.execute("system_powerdown")
        except HoldfastError as err:
            log.warn("power_button_failed", instance=directory.name, reason=err.message)
            return False
        return True

    def _find(self, instance_id: str) -> list[processes.Process]:
        return [found for found in processes.processes_of(self._state) if found.instance_id == instance_id]

    def _refuse_running(self, instance_id: str) -> None:
        if self._find(instance_id):
            raise Conflict(f"{instance_id} runs")

    def _directory(self, instance_id: str) -> Path | None:
        """Its directory if there is one. What is no id is no path either."""
        directory = self._machines / instance_id
        return directory if is_id(instance_id) and os.path.isdir(directory) else None

    def _reap(self) -> None:
        for child in list(self._children):
            if child.poll() is not None:
                self._children.discard(child)
