"""The supervisor: holds the listening sockets, and keeps control, agents and keepers running.

`python -m holdfast.daemon.supervisor --state DIR`. A process that ends is started again, with a growing pause
when it keeps ending. When the supervisor itself is killed the others go on; the next one finds them in /proc,
takes the sockets back from the control process that still has them, and watches them as its own. Nothing is
noted in files: between a start and its note there would be a moment to be killed in.
Guests are nobody's children here and are never touched.

Where the machine carries several hosts, their namespaces and the wires between them are made here, and made again
when they vanish; a process that is not in the namespace of its host is started anew in it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.base import config
from holdfast.base import log as logs
from holdfast.base.errors import Conflict, HoldfastError, Unavailable
from holdfast.base.limits import RESTART_PAUSE_MAX_S, RESTART_STEADY_S, SOCKET_BACKLOG, STOP_PROCESS_S
from holdfast.base.run import pid_alive, pids_of, spawn
from holdfast.daemon.places import Places
from holdfast.daemon.seats import (
    door_on,
    endpoint_for,
    fabric_of,
    hosts_here,
    listening_on,
    publics_read,
    seat_of,
    seats_of,
)
from holdfast.host.network import namespace
from holdfast.host.network.fabric import Fabric

log = logs.get(__name__)
_PIDFD_GETFD = 438  # system call, Linux 5.6; the same number on every architecture
TICK_S = 0.5


@dataclass(slots=True)
class Child:
    """One process that must run. `needle` finds it in /proc; a pid alone proves nothing."""

    name: str
    argv: list[str]
    needle: str
    pass_fds: tuple[int, ...] = ()
    space: str = ""  # network namespace that it runs in; empty: the machine's own
    pid: int = 0
    host: str = ""  # whose process it is; empty: the machine's
    started_s: float = 0.0
    pause_s: float = 0.1
    due_s: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Everything that runs for one state directory, but the guests."""

    places: Places
    settings: config.Settings
    signals: int  # descriptor that becomes readable when a signal came: poll goes on after a handler ran
    children: list[Child] = field(default_factory=list)
    fabric: Fabric | None = None
    stopping: bool = False

    def run(self) -> None:
        """Watch until SIGTERM, then end the children and return."""
        for child in self.children:
            self._adopt(child)
        while not self.stopping:
            self._hold_fabric()
            self._start_missing()
            self._wait()
        for child in reversed(self.children):
            stop_process(child.pid, child.needle)

    def _adopt(self, child: Child) -> None:
        for pid in pids_of(child.needle)[:1]:
            child.pid, child.started_s = pid, time.monotonic()
            log.info("child_adopted", process=child.name, pid=pid)

    def _hold_fabric(self) -> None:
        """Make what vanished; end what runs in a namespace that is no host's any more."""
        if self.fabric is None:
            return
        if not self.fabric.is_there():
            log.warn("fabric_made_again")
            try:
                self.fabric.make(publics_read(self.places))
            except HoldfastError as err:
                log.error("fabric_not_made", reason=err.message)
        for child in self.children:
            if child.pid and _is_elsewhere(child):
                log.warn("child_elsewhere", process=child.name, pid=child.pid, namespace=child.space)
                stop_process(child.pid, child.needle)

    def _start_missing(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.pid and pid_alive(child.pid, child.needle):
                continue
            if child.pid:
                _reap(child.pid)
                steady = now - child.started_s > RESTART_STEADY_S
                child.pause_s = 0.1 if steady else min(child.pause_s * 2, RESTART_PAUSE_MAX_S)
                child.due_s = now if steady else now + child.pause_s
                log.warn("child_ended", process=child.name, pid=child.pid, next_in_s=round(child.due_s - now, 1))
                child.pid = 0
            if now >= child.due_s and not (child.host and self.places.unplugged(child.host).exists()):
                self._start(child)

    def _start(self, child: Child) -> None:
        output = os.open(self.places.logs / f"{child.name}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            process = namespace.inside(child.space, lambda: spawn(child.argv, pass_fds=child.pass_fds, output=output))
        except Unavailable as err:  # its namespace is not there: it is tried again
            log.warn("child_not_started", process=child.name, reason=err.message)
            child.due_s = time.monotonic() + RESTART_PAUSE_MAX_S
            return
        finally:
            os.close(output)
        child.pid, child.started_s = process.pid, time.monotonic()
        log.info("child_started", process=child.name, pid=process.pid)

    def _wait(self) -> None:
        """Return when a child ends, on a signal, or after a tick."""
        poll, descriptors = select.poll(), []
        poll.register(self.signals, select.POLLIN)
        for child in self.children:
            try:
                descriptors.append(os.pidfd_open(child.pid))
            except (OSError, ValueError):
                continue
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        missing = any(not child.pid for child in self.children)
        poll.poll((0.1 if missing else TICK_S * 20) * 1000)
        for descriptor in descriptors:
            os.close(descriptor)


def _is_elsewhere(child: Child) -> bool:
    """Whether a process of a host is in another namespace than the host's, the one of that name now."""
    try:
        here, there = os.stat(f"/proc/{child.pid}/ns/net"), os.stat(namespace.RUN / child.space)
    except OSError:
        return False  # one of them is gone, and the next look says which
    return bool(child.space) and (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # adopted: somebody else's child


def supervisor_runs(places: Places) -> bool:
    """Whether the supervisor of a state directory is there."""
    return bool(pids_of(supervisor_needle(places.state)))


def supervisor_stop(places: Places) -> None:
    """End the supervisor, which ends its children; none there: nothing."""
    stop_all(supervisor_needle(places.state))


def stop_all(needle: str) -> None:
    """End every process of ours with that needle."""
    for pid in pids_of(needle):
        stop_process(pid, needle)


def stop_process(pid: int, needle: str) -> None:
    """End one of our processes: ask, wait, kill. Gone already: nothing."""
    if not pid or not pid_alive(pid, needle):
        return
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(STOP_PROCESS_S * 1000):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            poll.poll(STOP_PROCESS_S * 1000)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
        _reap(pid)


def listening_sockets(places: Sequence[tuple[str, int]], control_needle: str) -> list[socket.socket]:
    """Sockets at these addresses and ports: taken back from a control process that still has them all, or new ones."""
    for control_pid in pids_of(control_needle):
        taken = _steal(control_pid, {port for _, port in places})
        if taken.keys() >= set(places):
            return [taken[place] for place in places]
        for stranger in taken.values():
            stranger.close()
        stop_process(control_pid, control_needle)
    return [_bound(address, port) for address, port in places]


def _bound(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as err:
        raise Conflict(
            f"port {port} on {address} is taken; choose another with: holdfast up --port N, or --hosts-port N",
            code="port_taken",
        ) from err
    listener.listen(SOCKET_BACKLOG)
    return listener


def _steal(pid: int, ports: Set[int]) -> dict[tuple[str, int], socket.socket]:
    """Duplicate the listening sockets out of another process of ours, by address and port."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[tuple[str, int], socket.socket] = {}
    descriptor = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            taken = libc.syscall(_PIDFD_GETFD, descriptor, int(name), 0)
            if taken < 0:
                continue
            place = _listens_on(taken)
            if place and place[1] in ports and place not in found:
                found[place] = socket.socket(fileno=taken)
            else:
                os.close(taken)
    except OSError:
        return found
    finally:
        os.close(descriptor)
    return found


def _listens_on(descriptor: int) -> tuple[str, int] | None:
    """The address and port that a socket listens on; None for whatever does not."""
    try:
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None
    with duplicate:
        try:
            accepts, name = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), duplicate.getsockname()
            return (str(name[0]), int(name[1])) if accepts else None
        except (OSError, IndexError, ValueError):
            return None


def control_child(places: Places, fds: Sequence[int] = (), door_fds: Sequence[int] = ()) -> Child:
    """The control process; its sockets are for the API and for hosts of other machines."""
    state, sockets = str(places.state), [*(f"--fd={fd}" for fd in fds), *(f"--door-fd={fd}" for fd in door_fds)]
    argv = [sys.executable, "-m", "holdfast.daemon.control", "--state", state, *sockets]
    return Child("control", argv, f"holdfast.daemon.control\0--state\0{state}\0", (*fds, *door_fds))


def host_children(places: Places, settings: config.Settings, hosts: Mapping[str, str]) -> list[Child]:
    """Agent and keeper of each host; `hosts` are ids by name."""
    state, python, found = str(places.state), [sys.executable, "-m"], []
    for name, host_id in hosts.items():
        home, seat = places.host(name), seat_of(places, name)
        space = seat.space if seat else ""
        agent = [*python, "holdfast.daemon.agent", "--state", state, "--host", host_id, "--name", name]
        keeper = [*python, "holdfast.host.keeper", "--state", str(home), "--endpoint", endpoint_for(settings, seat)]
        keeper += [
            "--token-file",
            str(home / "token"),
            "--host",
            host_id,
            "--log",
            str(places.logs / f"keeper-{name}.log"),
        ]
        needle = f"holdfast.daemon.agent\0--state\0{state}\0--host\0{host_id}\0"
        found.append(Child(f"agent-{name}", agent, needle, space=space, host=name))
        found.append(
            Child(f"keeper-{name}", keeper, f"holdfast.host.keeper\0--state\0{home}\0", space=space, host=name)
        )
    return found


def children_of(places: Places, settings: config.Settings) -> list[Child]:
    """Every process of this machine, to be found by its needle."""
    control = [] if settings.role == "host" else [control_child(places)]
    return [*control, *host_children(places, settings, hosts_here(places))]


def supervisor_needle(state: Path) -> str:
    """What finds the supervisor of a state directory in /proc."""
    return f"holdfast.daemon.supervisor\0--state\0{state}\0"


def main() -> None:
    """Run the supervisor of one state directory; a second one ends at once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    places, settings = Places(options.state), config.load(options.state)
    logs.sink.open_file(places.logs / "supervisor.log", "supervisor", settings.log_format == "json")
    lock = os.open(places.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("supervisor_already_there")
        return
    seats = seats_of(places)
    fabric = fabric_of(places, settings, seats)
    if fabric is not None:
        try:
            fabric.make(publics_read(places))
        except HoldfastError as err:
            log.error("fabric_not_made", reason=err.message, detail=err.detail)
            raise
    children = host_children(places, settings, hosts_here(places))
    sockets: list[socket.socket] = []  # held here as long as this process lives
    if settings.role != "host":
        api, door = listening_on(settings, seats), door_on(settings)
        sockets = listening_sockets([*api, *door], control_child(places).needle)
        fds = [each.fileno() for each in sockets]
        children.insert(0, control_child(places, fds[: len(api)], fds[len(api) :]))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    supervisor = Supervisor(places, settings, woken, children, fabric)

    def stop(*_: object) -> None:
        supervisor.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    supervisor.run()


if __name__ == "__main__":
    main()
