"""An HTTP/1.1 client that costs little: asyncio's own transports, connections kept open, no library.

The client shares the machine with what it measures, so each microsecond here is taken from the cloud. It reads
answers with a Content-Length only: that is what Holdfast and the yardstick send.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CHUNK_BYTES = 1 << 20
CALL_S = 120


class Answer(NamedTuple):
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiter: asyncio.Future[Answer] | None = None
        self.sink: Callable[[bytes], object] | None = None
        self._buffer = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None
        self._left = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def drain(self) -> None:
        await self._writable.wait()

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            data = bytes(self._buffer[end + 4 :])
            self._buffer.clear()
            self._head = (int(lines[0].split(" ", 2)[1]), headers)
            self._left = int(headers.get("content-length", "0"))
        self._left -= len(data)
        if self.sink is not None:
            self.sink(data)
        else:
            self._buffer += data
        if self._left <= 0:
            self._finish()

    def _finish(self) -> None:
        assert self._head is not None
        answer = Answer(*self._head, bytes(self._buffer))
        self._head = None
        self._buffer.clear()
        if answer.headers.get("connection", "").lower() == "close":
            self.open = False
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._writable.set()
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionResetError("the connection ended before the answer"))


class Http:
    """A pool of connections to one address. A request is sent once; a kept connection that had ended already is
    replaced before anything is sent."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[_Connection] = []

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        source: Path | None = None,
        sink: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """Send it and return the answer; raises OSError when the connection fails."""
        connection = await self._connection()
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        size = source.stat().st_size if source else len(payload)
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}"]
        if size or method in ("POST", "PUT"):
            kind = "application/octet-stream" if source or isinstance(body, bytes) else "application/json"
            lines += [f"content-length: {size}", f"content-type: {kind}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection.waiter = waiter
        connection.sink = sink
        assert connection.transport is not None
        try:
            connection.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + payload)
            if source is not None:
                await self._send(connection, source)
            answer = await asyncio.wait_for(waiter, CALL_S)
        except BaseException:
            connection.transport.abort()
            raise
        if connection.open:
            self._free.append(connection)
        else:
            connection.transport.close()
        return answer

    async def _send(self, connection: _Connection, source: Path) -> None:
        assert connection.transport is not None
        with source.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                if not connection.open:
                    return
                connection.transport.write(chunk)
                await connection.drain()

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.open:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection

    def close(self) -> None:
        for connection in self._free:
            if connection.transport is not None:
                connection.transport.abort()
        self._free.clear()
