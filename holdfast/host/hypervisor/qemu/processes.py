"""Which QEMU processes are ours: read from /proc, never from memory, so that a lost file hides nothing.

A process is ours when its own command line says so: a qemu-system program with `-uuid ID` and the pid file
of that id below our state directory, each as an argument of its own. A pid alone proves nothing: numbers
are reused, so nothing is signalled but through a descriptor that was checked after it was opened.

The keeper imports this: standard library only.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PID_FILE = "pid"
MACHINES = "machines"


@dataclass(frozen=True, slots=True)
class Process:
    """One QEMU of ours."""

    pid: int
    instance_id: str


def process_at(pid: int, state: Path) -> Process | None:
    """The machine that this pid is, or None when it is none of ours (ended ones have no command line)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            argv = cmdline.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return None
    if not argv[0].rpartition("/")[2].startswith("qemu-system"):
        return None
    instance_id = _value(argv, "-uuid")
    if not instance_id or _value(argv, "-pidfile") != f"{state}/{MACHINES}/{instance_id}/{PID_FILE}":
        return None
    return Process(pid, instance_id)


def _value(argv: list[str], option: str) -> str:
    """The argument after the first `option`; ours come before any text that a user chose."""
    place = argv.index(option) + 1 if option in argv else len(argv)
    return argv[place] if place < len(argv) else ""


def processes_of(state: Path) -> list[Process]:
    """Every QEMU of this state directory. `state` must be absolute and free of symbolic links."""
    found = (process_at(int(entry), state) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process]


@contextmanager
def held(process: Process, state: Path) -> Iterator[int | None]:
    """A pidfd of exactly this process, or None when it is gone: its number may belong to somebody else by now."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    try:
        yield handle if process_at(process.pid, state) == process else None
    finally:
        os.close(handle)


def wait_for_end(handle: int, timeout_s: float) -> bool:
    """Wait until the process has ended, its locks and files released; False after the bound."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def kill(handle: int) -> None:
    """SIGKILL; gone already is fine."""
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
