"""The agent's way to the control plane: HTTP, dialled out, one connection per caller.

Nothing is queued here. A call that fails raises Unavailable and the caller, who works from state and not
from messages, simply calls again.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.limits import DESIRED_POLL_S
from holdfast.domain.desired import HostUpdate
from holdfast.domain.observed import ConsolePiece, HostReport

_ANSWER_S = 10
_update = msgspec.json.Decoder(HostUpdate)
_encode = msgspec.json.Encoder().encode


class _Registered(msgspec.Struct, frozen=True):
    incarnation: int


class _Entry(msgspec.Struct, frozen=True):
    detail: str


class _Refusal(msgspec.Struct, frozen=True):
    errors: tuple[_Entry, ...]


class Link:
    """One connection, used by one thread at a time. The token is read from its file at each new connection."""

    def __init__(self, endpoint: str, host_id: str, token_file: Path, incarnation: Callable[[], int]) -> None:
        """`incarnation` says for which one this speaks, asked at each call."""
        parts = urlsplit(endpoint)
        self._address = (parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80))
        self._secure = parts.scheme == "https"
        self._path = f"{parts.path.rstrip('/')}/hosts/v1/{host_id}"
        self._token_file, self._incarnation = token_file, incarnation
        self._token = ""
        self._connection: http.client.HTTPConnection | None = None

    def register(self, boot_id: str, machine: str) -> int:
        """Begin a new incarnation of this host; returns its number. Conflict says why this is not that host."""
        _, body = self._call("POST", "/register", _encode({"boot_id": boot_id, "machine": machine}))
        return msgspec.json.decode(body, type=_Registered).incarnation

    def desired(self, since: int, wait_s: int) -> HostUpdate | None:
        """What is newer than `since`; None when nothing came up within `wait_s` seconds."""
        status, body = self._call("GET", f"/desired?since={since}&wait_s={wait_s}", b"")
        return _update.decode(body) if status == 200 else None

    def report(self, report: HostReport) -> None:
        """Say what this host is."""
        self._call("POST", "/report", _encode(report))

    def consoles(self, pieces: tuple[ConsolePiece, ...]) -> dict[str, int]:
        """Send what guests wrote; returns how far each console is known."""
        _, body = self._call("POST", "/consoles", _encode(pieces))
        return msgspec.json.decode(body, type=dict[str, int])

    def capture_failed(self, image_id: str, reason: str) -> None:
        """Say that an image cannot be filled."""
        self._call("POST", f"/images/{image_id}/failed", _encode({"reason": reason}))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            connection = self._connected()
            headers = {"X-Host-Token": self._token, "Content-Type": "application/json"}
            headers["X-Host-Incarnation"] = str(self._incarnation())
            connection.request(method, self._path + path, body or None, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as err:
            self.close()
            raise Unavailable("the control plane does not answer", detail=f"{method} {path}: {err}") from err
        if answer.status == 409:
            raise Conflict(_reason(data), code="incarnation")
        if answer.status >= 300:
            self.close()
            raise Unavailable(f"the control plane answered {answer.status} to {method} {path}", detail=str(data[:300]))
        return answer.status, data

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._token = self._token_file.read_text().strip()
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = kind(*self._address, timeout=DESIRED_POLL_S + _ANSWER_S)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        return self._connection


def _reason(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).errors[0].detail
    except (msgspec.DecodeError, IndexError):
        return "the control plane refused this incarnation of the host"
