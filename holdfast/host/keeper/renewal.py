"""Asking the control plane for the lease, in one bounded HTTP request.

Spoken by hand, because http.client and what it imports would double the keeper's memory. HTTP/1.0 with the
connection closed afterwards: an answer is never in chunks and ends where the connection ends. The token is
read anew for each request (certificates, too: they are renewed), is sent as a header, and appears in no error.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.certificates import CONTROL_NAME, context_of
from holdfast.base.errors import BadInput, Unavailable
from holdfast.base.limits import KEEPER_ANSWER_BYTES, KEEPER_REQUEST_S, LEASE_MAX_S

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the control plane listens."""

    tls: bool
    host: str
    port: int
    prefix: str  # of the path, '' or '/cloud'


def parse_endpoint(url: str) -> Endpoint:
    """Read `http://address:port/prefix`; raises BadInput."""
    scheme, separator, rest = url.partition("://")
    authority, _, prefix = rest.partition("/")
    name, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        name, port = authority, str(_DEFAULT_PORTS.get(scheme, ""))
    if not separator or scheme not in _DEFAULT_PORTS or not name or not port.isdecimal():
        raise BadInput(f"{url} is no http address")
    return Endpoint(scheme == "https", name.strip("[]"), int(port), f"/{prefix}".rstrip("/"))


class Renewals:
    """Asks one control replica, and after a failure the next of those that were named."""

    def __init__(self, endpoints: Sequence[Endpoint], host_id: str, token_file: Path) -> None:
        self._endpoints, self._host_id, self._token_file, self._turn = endpoints, host_id, token_file, 0

    def __call__(self, body: dict[str, object]) -> tuple[float, bool]:
        """Ask once, as `lease_request` does."""
        endpoint = self._endpoints[self._turn % len(self._endpoints)]
        try:
            return lease_request(endpoint, self._host_id, self._token_file, body)
        except Unavailable:
            self._turn += 1
            raise


def lease_request(endpoint: Endpoint, host_id: str, token_file: Path, body: dict[str, object]) -> tuple[float, bool]:
    """Ask once; return (valid_s, enforce). Anything but a well-formed grant raises Unavailable."""
    try:
        token = token_file.read_text().strip()
    except OSError as err:
        raise Unavailable("the host token cannot be read", detail=str(err)) from err
    payload = json.dumps(body).encode()
    head = (
        f"POST {endpoint.prefix}/hosts/v1/{host_id}/lease HTTP/1.0\r\n"
        f"Host: {endpoint.host}:{endpoint.port}\r\nX-Host-Token: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    try:
        answer = _exchange(endpoint, head.encode() + payload, token_file.parent)
    except OSError as err:
        raise Unavailable("the control plane does not answer", detail=str(err)) from err
    return _grant(answer)


def _exchange(endpoint: Endpoint, request: bytes, home: Path) -> bytes:
    """Send and read to the end; the bound is on the whole, so that a trickle cannot hold us."""
    deadline = time.monotonic() + KEEPER_REQUEST_S
    with socket.create_connection((endpoint.host, endpoint.port), KEEPER_REQUEST_S) as plain:
        connection = context_of(home).wrap_socket(plain, server_hostname=CONTROL_NAME) if endpoint.tls else plain
        with connection:
            connection.sendall(request)
            answer = b""
            while len(answer) <= KEEPER_ANSWER_BYTES:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("the answer did not end in time")
                connection.settimeout(left_s)
                if not (chunk := connection.recv(KEEPER_ANSWER_BYTES)):
                    return answer
                answer += chunk
    raise Unavailable("the control plane's answer is too long")


def _grant(answer: bytes) -> tuple[float, bool]:
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or words[1] != b"200":
        status = words[1].decode("ascii", "replace") if len(words) > 1 else "nothing"
        raise Unavailable(f"the control plane granted no lease: {status}")
    try:
        grant = json.loads(body)
        valid_s, enforce = grant["valid_s"], grant["enforce"]
    except (ValueError, KeyError, TypeError) as err:
        raise Unavailable("the control plane's answer is no grant") from err
    if type(valid_s) not in (int, float) or not 0 < valid_s <= LEASE_MAX_S or not isinstance(enforce, bool):
        raise Unavailable("the control plane's grant makes no sense")
    return float(valid_s), enforce
