"""The agent's way to the control plane: HTTP, dialled out, one connection per caller.

Nothing is queued here. A call that fails raises Unavailable and the caller, who works from state and not
from messages, simply calls again.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable

import msgspec

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.limits import CONTROL_ANSWER_S, DESIRED_POLL_S
from holdfast.domain.desired import HostUpdate
from holdfast.domain.observed import ConsolePiece, HostReport
from holdfast.host.dial import Connection, ControlPlane, reason_of

_update = msgspec.json.Decoder(HostUpdate)
_encode = msgspec.json.Encoder().encode


class _Registered(msgspec.Struct, frozen=True):
    incarnation: int


class _Entry(msgspec.Struct, frozen=True):
    detail: str


class _Refusal(msgspec.Struct, frozen=True):
    errors: tuple[_Entry, ...]


class Link:
    """One connection, used by one thread at a time."""

    def __init__(self, control: ControlPlane, incarnation: Callable[[], int]) -> None:
        """`incarnation` says for which one this speaks, asked at each call."""
        self._control, self._incarnation = control, incarnation
        self._connection: Connection | None = None

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
        if self._connection is None:
            self._connection = self._control.connect(DESIRED_POLL_S + CONTROL_ANSWER_S)
        headers = {"Content-Type": "application/json", "X-Host-Incarnation": str(self._incarnation())}
        try:
            self._connection.ask(method, path, body or None, headers)
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as err:
            self._failed()
            words = f"the control plane does not answer: {reason_of(err)}"
            raise Unavailable(words, detail=f"{method} {path}") from err
        if answer.status == 409:
            raise Conflict(_reason(data), code="incarnation")
        if answer.status >= 300:
            self._failed()
            raise Unavailable(f"the control plane answered {answer.status} to {method} {path}", detail=str(data[:300]))
        return answer.status, data

    def _failed(self) -> None:
        self.close()
        self._control.failed()


def _reason(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).errors[0].detail
    except (msgspec.DecodeError, IndexError):
        return "the control plane refused this incarnation of the host"
