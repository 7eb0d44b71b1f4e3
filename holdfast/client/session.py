"""A session with a cloud: a token, one connection, JSON in and out. Standard library only, and quick to import.

Every answer that is not a success raises the error of ours that its status means, with the service's own
message; nothing is retried here.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.base import errors
from holdfast.base.errors import HoldfastError

_ERRORS: dict[int, type[HoldfastError]] = {
    400: errors.BadInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    501: errors.NotSupported,
}
ANSWER_S = 120


class Session:
    """One user's session; not shared between threads."""

    def __init__(self, endpoint: str, token: str = "", microversion: str = "2.96") -> None:
        parts = urlsplit(endpoint)
        self.endpoint, self.token, self._microversion = endpoint.rstrip("/"), token, microversion
        self._address = (parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80))
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._base = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None

    def login(self, user: str, password: str, project: str) -> dict[str, Any]:
        """Get a token for a project; returns what the identity service says of it."""
        domain = {"name": "Default"}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        }
        scope = {"project": {"name": project, "domain": domain}}
        body = {"auth": {"identity": identity, "scope": scope}}
        status, headers, data = self._request("POST", "/identity/v3/auth/tokens", json.dumps(body).encode())
        document = _answer(status, data)
        self.token = headers["x-subject-token"]
        return dict(document["token"])

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer's document, None for an empty one; raises the error that the status means."""
        data = None if body is None else json.dumps(body).encode()
        status, _, answer = self._request(method, path, data)
        return _answer(status, answer)

    def upload(self, path: str, source: Path) -> None:
        """PUT a file as it is."""
        with source.open("rb") as file:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(source.stat().st_size)}
            status, _, answer = self._request("PUT", path, file, headers)
        _answer(status, answer)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        words = {"Accept": "application/json", "X-OpenStack-Nova-API-Version": self._microversion}
        words |= {"X-Auth-Token": self.token} if self.token else {}
        words |= {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection = self._connected()
            connection.request(method, self._base + path, body, words | (headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException) as err:
            self.close()
            words_ = f"the cloud at {self.endpoint} does not answer; start it with: holdfast up"
            raise errors.Unavailable(words_, code="cloud_not_reachable", detail=str(err)) from err

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = self._kind(*self._address, timeout=ANSWER_S)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        return self._connection


def _answer(status: int, data: bytes) -> Any:
    try:
        document = json.loads(data) if data else None
    except ValueError:
        document = None
    if status < 300:
        return document
    kind = _ERRORS.get(status, errors.Unavailable if status == 503 else errors.Bug)
    raise kind(_message(document) or f"the cloud answered {status}", code=f"http_{status}")


def _message(document: Any) -> str:
    """The sentence in a fault of any of the services."""
    if isinstance(document, dict):
        for value in [document, *document.values()]:
            inner = value[0] if isinstance(value, list) and value else value
            if isinstance(inner, dict) and isinstance(found := inner.get("message") or inner.get("detail"), str):
                return found
    return ""
