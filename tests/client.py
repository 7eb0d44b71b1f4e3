"""Speaks to the application in-process, as a client would over HTTP, without a socket."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from holdfast.api.http.application import PEER


@lru_cache(maxsize=1)
def one_loop() -> asyncio.AbstractEventLoop:
    """The loop that every client of a test process shares: a loop each would use up the descriptors."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """`client.get("/compute/v2.1/servers")`; `as_token` returns one that sends a token."""

    def __init__(
        self, application: Any, headers: dict[str, str] | None = None, loop: Any = None, peer: str | None = None
    ) -> None:
        self.application, self.headers, self.peer = application, headers or {}, peer
        self.loop = loop or one_loop()

    def with_headers(self, **headers: str) -> Client:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return Client(self.application, {**self.headers, **named}, self.loop, self.peer)

    def through_door(self, peer: str = "") -> Client:
        """As a host of another machine, whose certificate is for this key; empty: it shows none."""
        return Client(self.application, self.headers, self.loop, peer)

    def as_token(self, token: str) -> Client:
        return self.with_headers(x_auth_token=token)

    def request(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, timeout_s: float = 60
    ) -> Answer:
        future = asyncio.run_coroutine_threadsafe(self._request(method, url, body, headers or {}), self.loop)
        return future.result(timeout_s)

    async def _request(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Answer:
        path, _, query = url.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        merged = {"host": "cloud", **self.headers, **headers}
        if data:
            merged.setdefault("content-type", "application/json")
            merged["content-length"] = str(len(data))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in merged.items()],
            "client": ("127.0.0.1", 1),
            **({PEER: self.peer} if self.peer is not None else {}),
        }
        sent: list[dict[str, Any]] = []
        parts = iter([data[i : i + 65536] for i in range(0, len(data), 65536)] or [b""])
        left = [max(1, -(-len(data) // 65536))]

        async def receive() -> dict[str, Any]:
            left[0] -= 1
            if left[0] < 0:  # nobody hangs up: as on a connection that stays
                await asyncio.get_running_loop().create_future()
            return {"type": "http.request", "body": next(parts, b""), "more_body": left[0] > 0}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.application(scope, receive, send)
        head = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], head, b"".join(m.get("body", b"") for m in sent[1:]))

    def get(self, url: str, **kw: Any) -> Answer:
        return self.request("GET", url, **kw)

    def post(self, url: str, body: Any = None, **kw: Any) -> Answer:
        return self.request("POST", url, body, **kw)

    def put(self, url: str, body: Any = None, **kw: Any) -> Answer:
        return self.request("PUT", url, body, **kw)

    def patch(self, url: str, body: Any = None, **kw: Any) -> Answer:
        return self.request("PATCH", url, body, **kw)

    def delete(self, url: str, **kw: Any) -> Answer:
        return self.request("DELETE", url, **kw)
