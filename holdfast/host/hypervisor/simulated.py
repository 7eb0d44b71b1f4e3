"""A hypervisor without guests, part of the product: thousands of hosts and machines on one laptop.

A machine is one small file, replaced whole, so it survives kill -9 of whoever started it and is found by
the next driver, as a process would be. It does not survive the host's loss of power: nothing is synced.

What a test or a rehearsal may turn, from any process, while the driver runs:

    set_knobs(state, Knobs(start_s=2.0))                      how long verbs take
    queue_failure(state, "start", Unavailable("no memory"))   the next `start` fails so, once per call
    happen(state, instance_id, Reason.GUEST_SHUTDOWN)         the guest turns itself off, crashes, fills the disk
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec

from holdfast.base import errors
from holdfast.base.errors import BadInput, Conflict, HoldfastError, NotFound
from holdfast.base.ids import is_id
from holdfast.base.limits import CONSOLE_BYTES
from holdfast.host.hypervisor.check import check_passage, check_spec, check_volume
from holdfast.host.hypervisor.driver import (
    Copy,
    MachineSpec,
    Observed,
    Passage,
    Probed,
    Reason,
    Run,
    Sending,
    SendState,
    Volume,
    Where,
)

MACHINES, KNOBS, FAILURES = "machines", "knobs.json", "failures"
_ENDED = {
    Reason.RECEIVING: Reason.NOT_RECEIVED,
    Reason.RECEIVED: Reason.NOT_RECEIVED,
    Reason.SENT: Reason.MOVED,
}
_PAUSING = {Reason.NOSPACE, Reason.INTERNAL_ERROR}


class Knobs(msgspec.Struct, frozen=True):
    """How long a verb takes, in seconds."""

    start_s: float = 0.0
    stop_s: float = 0.0
    send_looks: int = 2  # calls of `send` until a guest is sent


class _Machine(msgspec.Struct):
    run: Run
    reason: Reason
    starts: int
    console: str
    volumes: dict[str, int] = {}
    passage: str = ""  # the move that goes on at this end
    key: str = ""  # RECEIVING: who may send
    looks: int = 0  # of the sender so far
    failure: str = ""  # the move is over, and this is why


class _Failure(msgspec.Struct, frozen=True):
    kind: str  # the name of a class in base/errors
    code: str
    message: str


class Simulated:
    """The machines of one state directory."""

    name = "simulated"

    def __init__(self, state: Path) -> None:
        self._state = state
        self._machines = state / MACHINES
        self._machines.mkdir(parents=True, exist_ok=True)
        self._consoles: dict[str, tuple[int, int]] = {}  # when a machine's file changed, and how long its console is

    def probe(self) -> Probed:
        self._fail_if_queued("probe")
        return Probed("simulated", "no guest runs here", "1")

    def machines(self) -> Mapping[str, Observed]:
        self._fail_if_queued("machines")
        found = {}
        for name in os.listdir(self._machines):
            if is_id(name) and (machine := self._read(name)):
                found[name] = Observed(name, machine.run, 0, machine.reason)
        return found

    def start(self, spec: MachineSpec) -> None:
        check_spec(spec)
        if (machine := self._read(spec.instance_id)) and machine.run != Run.STOPPED:
            return
        time.sleep(self._knobs().start_s)
        with self._locked():
            machine = self._read(spec.instance_id)
            if machine and machine.run != Run.STOPPED:
                return
            try:
                self._fail_if_queued("start")
            except HoldfastError:
                if machine:
                    machine.reason = Reason.START_FAILED
                    self._write(spec.instance_id, machine)
                raise
            starts, console = (machine.starts + 1, machine.console) if machine else (1, "")
            words = f"simulated machine {spec.instance_id}, boot {starts}, {spec.memory_mib} MiB\n"
            volumes = {volume.id: _size_of(volume) for volume in spec.volumes}
            started = _Machine(Run.RUNNING, Reason.NONE, starts, (console + words)[-CONSOLE_BYTES:], volumes)
            self._write(spec.instance_id, started)

    def stop(self, instance_id: str, grace_s: float) -> None:
        machine = self._read(instance_id)
        if machine is None or machine.run == Run.STOPPED:
            return
        self._fail_if_queued("stop")
        time.sleep(min(self._knobs().stop_s, grace_s))
        reason = _ENDED.get(machine.reason, Reason.STOPPED if grace_s > 0 else Reason.FORCED)
        self._change(instance_id, Run.STOPPED, reason)

    def pause(self, instance_id: str, paused: bool) -> None:
        self._fail_if_queued("pause")
        machine = self._read(instance_id)
        if machine and machine.run != Run.STOPPED and (machine.reason in _ENDED or machine.passage):
            raise Conflict(f"{instance_id} is on its way between two hosts")
        if not self._change(instance_id, Run.PAUSED if paused else Run.RUNNING, Reason.NONE):
            raise Conflict(f"{instance_id} does not run")

    def volumes(self, instance_id: str) -> Mapping[str, int]:
        self._fail_if_queued("volumes")
        machine = self._read(instance_id)
        return {} if machine is None or machine.run == Run.STOPPED else machine.volumes

    def plug(self, instance_id: str, volume: Volume) -> None:
        check_volume(volume)
        self._fail_if_queued("plug")
        size_bytes = _size_of(volume)
        if not self._change_volumes(instance_id, lambda found: {volume.id: size_bytes, **found}):
            raise Conflict(f"{instance_id} does not run")

    def unplug(self, instance_id: str, volume_id: str, wait_s: float) -> bool:
        """A queued failure is a guest that does not let go."""
        try:
            self._fail_if_queued("unplug")
        except Conflict:
            return False
        self._change_volumes(instance_id, lambda found: {v: size for v, size in found.items() if v != volume_id})
        return True

    def grow(self, instance_id: str, volume_id: str, size_bytes: int) -> None:
        self._fail_if_queued("grow")
        self._change_volumes(
            instance_id, lambda found: {v: max(s, size_bytes) if v == volume_id else s for v, s in found.items()}
        )

    def receive(self, spec: MachineSpec, passage: Passage, address: str) -> Where:
        """What the sender needs to find it here is this state directory."""
        check_spec(spec)
        check_passage(passage)
        self._fail_if_queued("receive")
        with self._locked():
            machine = self._read(spec.instance_id)
            if machine and machine.run != Run.STOPPED and machine.reason != Reason.RECEIVING:
                raise Conflict(f"{spec.instance_id} is here already: {machine.run.value}")
            if not machine or machine.run == Run.STOPPED or machine.passage != passage.id:
                starts, console = (machine.starts, machine.console) if machine else (0, "")
                waiting = _Machine(Run.PAUSED, Reason.RECEIVING, starts, console)
                waiting.passage, waiting.key = passage.id, passage.key
                self._write(spec.instance_id, waiting)
        return Where(str(self._state), 1, 0 if passage.copy is Copy.NONE else 2)

    def send(self, instance_id: str, passage: Passage, where: Where) -> Sending:
        check_passage(passage)
        self._fail_if_queued("send")
        with self._locked():
            machine = self._read(instance_id)
            if machine is None or machine.run == Run.STOPPED or machine.reason in (Reason.RECEIVING, Reason.RECEIVED):
                raise Conflict(f"{instance_id} does not run")
            if machine.passage != passage.id:
                if machine.passage and not machine.failure:
                    raise Conflict(f"{instance_id} is on another way already")
                machine.passage, machine.looks, machine.failure = passage.id, 0, ""
            if not machine.failure and machine.reason != Reason.SENT:
                machine.looks += 1
                if machine.looks >= self._knobs().send_looks:
                    arrived = Simulated(Path(where.address))._arrive(instance_id, passage, machine)
                    machine.failure = "" if arrived else "the other end does not take the guest"
                    if arrived:
                        machine.run, machine.reason = Run.PAUSED, Reason.SENT
                self._write(instance_id, machine)
        return self._seen_sending(machine)

    def sending(self, instance_id: str) -> Sending:
        machine = self._read(instance_id)
        return self._seen_sending(machine) if machine else Sending(SendState.NONE)

    def cancel_send(self, instance_id: str) -> Sending:
        with self._locked():
            machine = self._read(instance_id)
            if machine is None or machine.run == Run.STOPPED or machine.reason in _ENDED:
                return self._seen_sending(machine) if machine else Sending(SendState.NONE)
            machine.passage, machine.failure = "", ""
            self._write(instance_id, machine)
        return Sending(SendState.NONE)

    def activate(self, instance_id: str, paused: bool = False) -> None:
        self._fail_if_queued("activate")
        with self._locked():
            machine = self._read(instance_id)
            if machine and machine.run == Run.RUNNING:
                return
            if machine is None or machine.reason not in (Reason.RECEIVED, Reason.SENT):
                raise Conflict(f"{instance_id} has no guest that was received or sent")
            machine.run, machine.reason = Run.PAUSED if paused else Run.RUNNING, Reason.NONE
            machine.passage = machine.key = ""
            self._write(instance_id, machine)

    def _arrive(self, instance_id: str, passage: Passage, guest: _Machine) -> bool:
        """Take the guest of another driver in, if it is waited for; one that arrives twice is refused."""
        with self._locked() if self._machines.is_dir() else nullcontext():
            waiting = self._read(instance_id)
            known = waiting is not None and (waiting.passage, waiting.key) == (passage.id, passage.key)
            if waiting is None or not known or waiting.reason != Reason.RECEIVING:
                return False
            waiting.reason, waiting.starts, waiting.volumes = Reason.RECEIVED, guest.starts, guest.volumes
            waiting.console = guest.console
            self._write(instance_id, waiting)
            return True

    def _seen_sending(self, machine: _Machine) -> Sending:
        if machine.reason == Reason.SENT:
            return Sending(SendState.SENT)
        if machine.run == Run.STOPPED or not machine.passage or machine.reason in _ENDED:
            return Sending(SendState.NONE)
        if machine.failure:
            return Sending(SendState.FAILED, reason=machine.failure)
        total = self._knobs().send_looks
        return Sending(SendState.SENDING, max(0, total - machine.looks), total)

    def _change_volumes(self, instance_id: str, change: Callable[[dict[str, int]], dict[str, int]]) -> bool:
        """Change the volumes of a machine that runs; False when it does not."""
        with self._locked():
            machine = self._read(instance_id)
            if machine is None or machine.run == Run.STOPPED:
                return False
            machine.volumes = change(machine.volumes)
            self._write(instance_id, machine)
            return True

    def forget(self, instance_id: str) -> None:
        with self._locked():
            machine = self._read(instance_id)
            if machine is None:
                return
            if machine.run != Run.STOPPED:
                raise Conflict(f"{instance_id} runs")
            self._fail_if_queued("forget")
            os.unlink(self._machines / instance_id)

    def console_sizes(self) -> Mapping[str, int]:
        """Only what changed since the last call is read again: there may be thousands."""
        seen: dict[str, tuple[int, int]] = {}
        for entry in os.scandir(self._machines):
            changed_ns = entry.stat().st_mtime_ns
            known = self._consoles.get(entry.name)
            if known is not None and known[0] == changed_ns:
                seen[entry.name] = known
            elif is_id(entry.name) and (machine := self._read(entry.name)):
                seen[entry.name] = (changed_ns, len(machine.console.encode()))
        self._consoles = seen
        return {name: size for name, (_, size) in seen.items()}

    def console(self, instance_id: str, size_bytes: int) -> bytes:
        machine = self._read(instance_id)
        if machine is None:
            raise NotFound(f"{instance_id} never started here")
        return machine.console.encode()[-size_bytes:] if size_bytes > 0 else b""

    def _change(self, instance_id: str, run: Run, reason: Reason) -> bool:
        """Move a machine that runs; False when it does not."""
        with self._locked():
            machine = self._read(instance_id)
            if machine is None or machine.run == Run.STOPPED:
                return False
            machine.run, machine.reason = run, reason
            if run == Run.STOPPED:
                machine.passage = machine.key = machine.failure = ""
            self._write(instance_id, machine)
            return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time over all processes; held for two small file operations, never while waiting."""
        handle = os.open(self._machines, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self, instance_id: str) -> _Machine | None:
        if not is_id(instance_id):
            return None
        try:
            with open(self._machines / instance_id, "rb") as file:
                return msgspec.json.decode(file.read(), type=_Machine)
        except FileNotFoundError:
            return None

    def _write(self, instance_id: str, machine: _Machine) -> None:
        _replace(self._machines / instance_id, msgspec.json.encode(machine))

    def _knobs(self) -> Knobs:
        try:
            with open(self._state / KNOBS, "rb") as file:
                return msgspec.json.decode(file.read(), type=Knobs)
        except FileNotFoundError:
            return Knobs()

    def _fail_if_queued(self, verb: str) -> None:
        """Take the oldest failure queued for this verb, if any, and raise it; each is raised once."""
        try:
            queued = sorted(name for name in os.listdir(self._state / FAILURES / verb) if name[0] != ".")
        except FileNotFoundError:
            return
        for name in queued:
            path = self._state / FAILURES / verb / name
            try:
                failure = msgspec.json.decode(path.read_bytes(), type=_Failure)
                os.unlink(path)
            except FileNotFoundError:  # another thread or process took it
                continue
            raise _error_class(failure.kind)(failure.message, code=failure.code)


def set_knobs(state: Path, knobs: Knobs) -> None:
    """Turn the knobs of the driver on `state`, whichever process it is in."""
    state.mkdir(parents=True, exist_ok=True)
    _replace(state / KNOBS, msgspec.json.encode(knobs))


def queue_failure(state: Path, verb: str, error: HoldfastError) -> None:
    """Let the next call of `verb` on `state` raise this error; several queue up, oldest first."""
    directory = state / FAILURES / verb
    directory.mkdir(parents=True, exist_ok=True)
    failure = _Failure(type(error).__name__, error.code, error.message)
    _replace(directory / f"{time.time_ns():020d}-{os.getpid()}-{threading.get_ident()}", msgspec.json.encode(failure))


def happen(state: Path, instance_id: str, reason: Reason) -> None:
    """Let a running guest end or halt by itself for `reason`; NotFound when it does not run."""
    run = Run.PAUSED if reason in _PAUSING else Run.STOPPED
    if not Simulated(state)._change(instance_id, run, reason):
        raise NotFound(f"{instance_id} does not run")


def _size_of(volume: Volume) -> int:
    try:
        return volume.path.stat().st_size
    except OSError as err:
        raise Conflict(f"the file of volume {volume.id} is not there") from err


def _error_class(kind: str) -> type[HoldfastError]:
    found = getattr(errors, kind, None)
    if not (isinstance(found, type) and issubclass(found, HoldfastError)):
        raise BadInput(f"{kind} is no error of ours")
    return found


def _replace(path: Path, data: bytes) -> None:
    """Write a file that readers see wholly or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
