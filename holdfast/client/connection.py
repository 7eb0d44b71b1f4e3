"""HTTP over the standard library: one connection per address, kept open, every answer bounded in time and size.

Nothing is ever sent twice: a call that failed raises, and its caller decides. A connection that failed is
closed and not used again. Small on purpose: `holdfast list` pays for every module that is imported here.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from holdfast.base.errors import BadInput, Unavailable
from holdfast.base.limits import ANSWER_BYTES, CALL_S
from holdfast.client.text import one_line


class Unreachable(Unavailable):
    """Nothing answers there."""

    code = "unreachable"


class Answer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None for an empty one. Raises Unavailable for anything else."""
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as err:
            raise Unavailable(f"the answer ({self.status}) is not JSON; is this a cloud?") from err


class Http:
    """Connections to whatever URLs name; not for use by two threads at once."""

    def __init__(self, timeout_s: float = CALL_S) -> None:
        self._timeout_s = timeout_s
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and read the whole answer; raises Unreachable, or Unavailable when it broke off."""
        parts = urlsplit(url)
        place = (parts.scheme, parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(*place)
        try:
            if connection.sock is None:
                self._connect(connection, f"{parts.scheme}://{parts.netloc}")
            connection.request(method, target, body, dict(headers or {}))
            reply = connection.getresponse()
            data = reply.read(ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as err:
            self._open.pop(place).close()
            raise Unavailable(
                f"{parts.scheme}://{parts.netloc} broke off {method} {parts.path}: {_words(err)}"
            ) from err
        if len(data) > ANSWER_BYTES:
            self._open.pop(place).close()
            raise Unavailable(f"the answer of {url} is larger than {ANSWER_BYTES} bytes")
        return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, data)

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if scheme not in kinds or not netloc:
            raise BadInput(f"{scheme}://{netloc} is no address of a cloud: it must begin with http:// or https://")
        place = (scheme, netloc)
        if place not in self._open:
            try:
                self._open[place] = kinds[scheme](netloc, timeout=self._timeout_s)
            except http.client.InvalidURL as err:
                raise BadInput(f"{scheme}://{netloc} is no address of a cloud: {err}") from err
        return self._open[place]

    def _connect(self, connection: http.client.HTTPConnection, where: str) -> None:
        try:
            connection.connect()
        except OSError as err:
            raise Unreachable(f"the cloud at {where} does not answer: {_words(err)}") from err


def _words(error: Exception) -> str:
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
