"""The directory of one machine: what is in it, and who may change it when.

A verb holds the directory's lock from its look to its last effect, so two verbs on one machine follow each
other, whichever threads and processes they are in.

    spec.json      what it was started with, and on which boot of the host
    pid            written by QEMU; QEMU removes it when it ends by itself, so left behind means killed
    alive          locked by QEMU for as long as it lives, by the kernel's word
    reason         why we ended it, written before we did
    agent.qmp debug.qmp console.sock guest-agent.sock     where QEMU listens
    console.log qemu.log      serial output, and QEMU's own words; both cut to their last part
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import Unavailable
from holdfast.host.hypervisor.qmp import short_path

AGENT_MONITOR, DEBUG_MONITOR = "agent.qmp", "debug.qmp"
CONSOLE_SOCKET, GUEST_AGENT = "console.sock", "guest-agent.sock"
SOCKETS = (AGENT_MONITOR, DEBUG_MONITOR, CONSOLE_SOCKET, GUEST_AGENT)
SPEC_FILE, ALIVE_FILE = "spec.json", "alive"
BACKLOG = 8  # a monitor that is frozen queues this many askers; more are refused at once
_LOOK_S = 0.01  # between two looks at a lock that somebody else holds


@dataclass(frozen=True, slots=True)
class Owner:
    """The unprivileged user that QEMU runs as."""

    name: str
    uid: int
    gid: int


@contextmanager
def locked(path: Path, timeout_s: float, create: bool) -> Iterator[bool]:
    """Hold the directory for one verb, against every thread and process; yields whether it is new.

    A directory that another verb removed while we waited for it is not the one we want: look again.
    Raises FileNotFoundError when it is not there and `create` is false, Unavailable after the bound.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        fresh = create and _made(path)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            lock_file(handle, deadline - time.monotonic(), path.name)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(handle)):
                    yield fresh
                    return
        finally:
            os.close(handle)


def lock_file(handle: int, timeout_s: float, name: str) -> None:
    """Take the exclusive lock of an open file; raises Unavailable when somebody keeps it beyond the bound."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            if time.monotonic() >= deadline:
                raise Unavailable(f"{name}: another act on it, or its old process, does not end") from err
            time.sleep(_LOOK_S)


def _made(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def own(path: Path, owner: Owner) -> None:
    """Give a file or directory to the user that QEMU runs as; a link is refused."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchown(handle, owner.uid, owner.gid)
    finally:
        os.close(handle)


def write_durable(path: Path, data: bytes) -> None:
    """Replace a file so that it is wholly old or wholly new after any crash; readable by its owner only."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def listen(directory: Path, name: str) -> socket.socket:
    """A listening socket for QEMU to inherit: whoever connects is queued from now on, so nobody has to poll."""
    (directory / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(directory / name) as short:
        listener.bind(short)
    listener.listen(BACKLOG)
    return listener


def remove(directory: Path) -> None:
    """Remove it and all that is in it; the disks are elsewhere."""
    shutil.rmtree(directory)
