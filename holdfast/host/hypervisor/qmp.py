"""QEMU's monitor protocol: one JSON object per line over a unix socket.

A QEMU serves one client per socket at a time and the next one waits unheard, so a conversation is short:
connect, ask, close; nobody keeps a monitor open. Every wait has a bound, because a frozen QEMU accepts
connections and never answers. What comes back is hostile: a guest may have taken its QEMU over.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.limits import MONITOR_REPLY_BYTES, MONITOR_S

EVENTS_KEPT = 64  # per conversation; conversations are short
_READ_BYTES = 64 << 10


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name of the socket at `path` that fits the kernel's 107 bytes, however deep the directory is."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class Qmp:
    """One conversation with one monitor. Use as a context manager."""

    def __init__(self, path: Path, timeout_s: float = MONITOR_S) -> None:
        """Connect and negotiate; raises Unavailable when nothing answers within the bound."""
        self._path = path
        self._buffer = b""
        self._sequence = 0
        self.events: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + timeout_s
        try:
            self._socket.settimeout(timeout_s)
            with short_path(path) as name:
                self._socket.connect(name)
            if "QMP" not in self._receive(deadline):
                raise Unavailable(f"{path.parent.name}: the monitor does not speak QMP")
            self.execute("qmp_capabilities", timeout_s=timeout_s)
        except OSError as err:
            self._socket.close()
            raise Unavailable(f"{path.parent.name}: the monitor is not there", detail=str(err)) from err
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def execute(self, command: str, arguments: Mapping[str, object] | None = None, timeout_s: float = MONITOR_S) -> Any:
        """Run one command and return its answer; Conflict when QEMU refuses it, Unavailable when it is silent."""
        self._sequence += 1
        question = {"execute": command, "id": self._sequence, **({"arguments": arguments} if arguments else {})}
        deadline = time.monotonic() + timeout_s
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(json.dumps(question).encode() + b"\n")
        except OSError as err:
            raise Unavailable(f"{self._path.parent.name}: the monitor went away", detail=str(err)) from err
        while True:
            answer = self._receive(deadline)
            if "event" in answer:
                self.events = [*self.events[1 - EVENTS_KEPT :], answer]
            elif answer.get("id") == self._sequence:
                if "error" in answer:
                    raise Conflict(f"{command}: {answer['error'].get('desc', '')}", code="monitor_refused")
                return answer.get("return")

    def give(self, name: str, descriptor: int) -> None:
        """Hand over an open file, which commands of this conversation may name."""
        try:
            socket.send_fds(self._socket, [b" "], [descriptor])  # white space before the command that takes it
        except OSError as err:
            raise Unavailable(f"{self._path.parent.name}: the monitor went away", detail=str(err)) from err
        self.execute("getfd", {"fdname": name})

    def _receive(self, deadline: float) -> dict[str, Any]:
        """The next message; the bound is on the whole message, so a trickle of bytes cannot hold us."""
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or len(self._buffer) > MONITOR_REPLY_BYTES:
                raise Unavailable(f"{self._path.parent.name}: the monitor does not answer")
            self._socket.settimeout(left_s)
            try:
                chunk = self._socket.recv(_READ_BYTES)
            except OSError as err:
                raise Unavailable(f"{self._path.parent.name}: the monitor does not answer", detail=str(err)) from err
            if not chunk:
                raise Unavailable(f"{self._path.parent.name}: the monitor closed the connection")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return _message(line)


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as err:
        raise Unavailable("the monitor sent no JSON", detail=repr(line[:200])) from err
    return message if isinstance(message, dict) else {}


def statuses(paths: Mapping[str, Path], timeout_s: float) -> dict[str, str]:
    """Ask every monitor at once for its run state; those that do not answer within the one bound are left out.

    The questions are sent before the greeting is read: a frozen QEMU costs nothing but the bound, and a
    hundred of them cost no more than one.
    """
    question = b'{"execute":"qmp_capabilities"}\n{"execute":"query-status","id":"status"}\n'
    waiting: dict[int, tuple[str, socket.socket, bytes]] = {}
    poller = select.poll()
    found: dict[str, str] = {}
    try:
        for key, path in paths.items():
            monitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            waiting[monitor.fileno()] = (key, monitor, b"")
            try:
                with short_path(path) as name:
                    monitor.connect(name)
                monitor.send(question)
                poller.register(monitor, select.POLLIN)
            except OSError:
                waiting.pop(monitor.fileno())
                monitor.close()
        deadline = time.monotonic() + timeout_s
        while waiting and (left_s := deadline - time.monotonic()) > 0:
            for number, _ in poller.poll(left_s * 1000):
                key, monitor, heard = waiting[number]
                heard, status, more = _hear(monitor, heard)
                waiting[number] = (key, monitor, heard)
                if status:
                    found[key] = status
                if not more:
                    poller.unregister(number)
                    waiting.pop(number)
                    monitor.close()
    finally:
        for _, monitor, _ in waiting.values():
            monitor.close()
    return found


def _hear(monitor: socket.socket, heard: bytes) -> tuple[bytes, str, bool]:
    """Read what is there; return what was heard so far, the run state if it came, and whether to go on."""
    try:
        chunk = monitor.recv(_READ_BYTES)
    except OSError:
        return b"", "", False
    heard += chunk
    for line in heard.split(b"\n")[:-1]:
        try:
            message = _message(line)
        except Unavailable:
            return b"", "", False
        if message.get("id") == "status":
            answer = message.get("return")
            return b"", str(answer.get("status", "")) if isinstance(answer, dict) else "", False
    return heard, "", bool(chunk) and len(heard) <= MONITOR_REPLY_BYTES
