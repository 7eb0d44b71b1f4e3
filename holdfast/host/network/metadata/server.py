"""169.254.169.254, answered on the host: one event loop, a listening socket in every network.

Who asks is decided by the network whose socket the connection came in on and by its source address, which
the firewall has proved; nothing a guest writes (X-Forwarded-For, X-Instance-ID, Host) is read. Answers come
from memory, so the control plane may be away, and `save` keeps a copy on disk (it holds user data: 0600) for
an agent that starts while it is. Connections, bytes and time are bounded, per guest too.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from holdfast.base.limits import (
    METADATA_CONNECTIONS,
    METADATA_CONNECTIONS_PER_GUEST,
    METADATA_REQUEST_BYTES,
    METADATA_REQUEST_S,
)
from holdfast.domain.desired import Metadata
from holdfast.host.network import namespace
from holdfast.host.network.loop import READ, WRITE, Loop
from holdfast.host.network.metadata.documents import Plugged, Tree, tree

ADDRESS, PORT = "169.254.169.254", 80
_IP_FREEBIND = 15
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_MORE = {503: "Retry-After: 1\r\n"}


class Guest(msgspec.Struct, frozen=True):
    """One instance as its network's namespace and address see it."""

    space: str
    address: str
    metadata: Metadata
    plugged: tuple[Plugged, ...]


@dataclass(slots=True, eq=False)
class Call:
    """One connection: a request that comes in, then an answer that goes out."""

    socket: socket.socket
    space: str
    address: str
    deadline_s: float
    request: bytes = b""
    answer: bytes = b""


class MetadataServer:
    """The service of one host. `listen` and `forget` are called by the agent's thread, the rest is the loop's."""

    def __init__(self, loop: Loop, copy: Path) -> None:
        self._loop = loop
        self._copy = copy
        self._guests: dict[tuple[str, str], Guest] = {}
        self._trees: dict[tuple[str, str], Tree] = {}
        self._listening: dict[str, socket.socket] = {}
        self._calls: set[Call] = set()
        loop.tick(self._hang_up_late)

    def load(self) -> None:
        """Take up what the last agent knew; a copy that cannot be read is no copy."""
        with suppress(OSError, msgspec.DecodeError):
            self._take(msgspec.json.decode(self._copy.read_bytes(), type=tuple[Guest, ...]))

    def serve(self, guests: Iterable[Guest]) -> None:
        """Answer for these guests and no others from now on, and keep a copy; equal: nothing."""
        wanted = tuple(guests)
        if {(g.space, g.address): g for g in wanted} == self._guests and self._copy.exists():
            return
        self._take(wanted)
        fresh = self._copy.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(wanted))
        os.replace(fresh, self._copy)

    def listen(self, space: str, anew: bool = False) -> None:
        """Have a listening socket in a namespace; `anew` when the namespace is another one of the same name."""
        if anew:
            self.forget(space)
        if space not in self._listening:
            listener = namespace.inside(space, _listener)
            self._listening[space] = listener
            self._loop.call(lambda: self._loop.watch(listener, READ, partial(self._accept, listener, space)))

    def forget(self, space: str) -> None:
        """Close the socket in a namespace (an open one would keep the namespace alive)."""
        listener = self._listening.pop(space, None)
        if listener is not None:
            self._loop.call(lambda: self._drop(space, listener))

    def listening(self) -> list[str]:
        """The namespaces that are listened in."""
        return sorted(self._listening)

    def _take(self, guests: Iterable[Guest]) -> None:
        self._guests = {(guest.space, guest.address): guest for guest in guests}
        self._trees = {}

    def _accept(self, listener: socket.socket, space: str) -> None:
        with suppress(OSError):
            connection, peer = listener.accept()
            mine = sum(call.space == space and call.address == peer[0] for call in self._calls)
            if len(self._calls) >= METADATA_CONNECTIONS or mine >= METADATA_CONNECTIONS_PER_GUEST:
                connection.close()
                return
            connection.setblocking(False)
            call = Call(connection, space, peer[0], time.monotonic() + METADATA_REQUEST_S)
            self._calls.add(call)
            self._loop.watch(connection, READ, partial(self._attend, call))

    def _attend(self, call: Call) -> None:
        try:
            self._exchange(call)
        except OSError:
            self._hang_up(call)

    def _exchange(self, call: Call) -> None:
        """Read until the request is whole, then write until the answer is gone."""
        if not call.answer:
            data = call.socket.recv(METADATA_REQUEST_BYTES)
            call.request += data
            whole = b"\r\n\r\n" in call.request or b"\n\n" in call.request
            if not data:
                self._hang_up(call)
                return
            if not whole and len(call.request) < METADATA_REQUEST_BYTES:
                return
            call.answer = self._answer(call) if whole else _response(400, b"", False)
            self._loop.watch(call.socket, WRITE, partial(self._attend, call))
        call.answer = call.answer[call.socket.send(call.answer) :]
        if not call.answer:
            self._hang_up(call)

    def _answer(self, call: Call) -> bytes:
        words = call.request.split(b"\n", 1)[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(400, b"", False)
        if words[0] not in (b"GET", b"HEAD"):
            return _response(405, b"", False)
        key = (call.space, call.address)
        guest = self._guests.get(key)
        if guest is None:  # not heard of yet, or no longer: guests ask again after 503, and give up after 404
            return _response(503, b"", False)
        if key not in self._trees:
            self._trees[key] = tree(guest.metadata, guest.plugged)
        path = words[1].partition(b"?")[0].decode("latin-1").rstrip("/")
        body = self._trees[key].get("/".join(["", *filter(None, path.split("/"))]) if path else "")
        if body is None:
            return _response(404, b"", False)
        return _response(200, body, words[0] == b"HEAD", "application/json" if path.endswith(".json") else "text/plain")

    def _hang_up_late(self) -> None:
        now = time.monotonic()
        for call in [call for call in self._calls if call.deadline_s < now]:
            self._hang_up(call)

    def _hang_up(self, call: Call) -> None:
        self._calls.discard(call)
        self._loop.drop(call.socket)

    def _drop(self, space: str, listener: socket.socket) -> None:
        self._loop.drop(listener)
        for call in [call for call in self._calls if call.space == space]:
            self._hang_up(call)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
    listener.bind((ADDRESS, PORT))
    listener.listen(128)
    return listener


def _response(status: int, body: bytes, head_only: bool, kind: str = "text/plain") -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n{_MORE.get(status, '')}Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
