"""A host's way to the control plane, which it always dials itself, and how it shows who it is.

Its token goes with every call. A host of another machine dials https and proves its key as well; where several control
replicas are named, the next one is asked after a call that failed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from holdfast.base.certificates import CONTROL_NAME, context_of
from holdfast.base.errors import BadInput, Unavailable

TOKEN = "token"  # file of a host (0600)
_PORTS = {"http": 80, "https": 443}


class ControlPlane:
    """One host's. May be used by several threads."""

    def __init__(self, endpoints: str, host_id: str, home: Path) -> None:
        """`endpoints` are base URLs with commas between; `home` has the token and, for https, the certificates."""
        self._ways = [urlsplit(each.strip()) for each in endpoints.split(",")]
        if not all(way.scheme in _PORTS and way.hostname for way in self._ways):
            raise BadInput(f"{endpoints} is no http address, nor several with commas between")
        self._path, self._home, self._turn = f"/hosts/v1/{host_id}", home, 0

    def connect(self, timeout_s: float) -> Connection:
        """A new connection, made; raises Unavailable."""
        turn = self._turn
        way = self._ways[turn % len(self._ways)]
        connection = Connection(way, self._path, self._home, timeout_s)
        try:
            connection.connect()
        except OSError as err:
            self._turn = turn + 1
            raise Unavailable(f"the control plane at {way.netloc} does not answer: {reason_of(err)}") from err
        return connection

    def failed(self) -> None:
        """A call came to nothing: the next connection goes to the next replica."""
        self._turn += 1


class Wire(http.client.HTTPConnection):
    """One connection; over TLS, which the address says, to nobody but a control replica."""

    def __init__(self, way: SplitResult, timeout_s: float, context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(way.hostname or "", way.port or _PORTS[way.scheme], timeout=timeout_s)
        self._secure, self._make_context = way.scheme == "https", context

    def connect(self) -> None:
        super().connect()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure:
            self.sock = self._make_context().wrap_socket(self.sock, server_hostname=CONTROL_NAME)


class Connection(Wire):
    """A host's. The token, and the certificates, are read when it is made: they may have been renewed."""

    def __init__(self, way: SplitResult, path: str, home: Path, timeout_s: float) -> None:
        super().__init__(way, timeout_s, partial(context_of, home))
        self._prefix, self._home, self._token = way.path.rstrip("/") + path, home, ""

    def connect(self) -> None:
        self._token = (self._home / TOKEN).read_text().strip()
        super().connect()

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        """Send a request for something of this host, `path` below the host's own; `getresponse` has the answer."""
        self.request(method, self._prefix + path, body, {"X-Host-Token": self._token, **(headers or {})})


def reason_of(err: Exception) -> str:
    """Why a connection broke, in words."""
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {err.verify_message}"
    return str(err) or type(err).__name__
