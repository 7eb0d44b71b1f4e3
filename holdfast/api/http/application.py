"""The ASGI application: one port, every facade; what happens to each request, in order.

    find the facade by the first path segment -> request id -> microversion -> route -> token -> rule
    -> body within its limit -> handler in a worker thread -> reply, or the facade's own fault

Version discovery and login never wait for the store's writer. A Bug is logged whole and answered with 500
and the request id, never with its text.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import MethodNotAllowed
from holdfast.api.http.policy import Policy
from holdfast.api.http.routes import ANY_TOKEN, HOST, JOINING, PUBLIC, Facade, Route, Table
from holdfast.api.http.services import Services
from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.errors import BadInput, Bug, Forbidden, HoldfastError, NotFound, TooLarge, Unauthenticated
from holdfast.base.limits import HANDLER_THREADS, REQUEST_BODY_BYTES
from holdfast.domain.credentials import Credentials

log = logs.get(__name__)
Scope = dict[str, Any]
PEER = "holdfast.peer"  # of a scope: who came through the door (Call.peer)
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class HostAdmission(Protocol):
    """Who decides which host speaks."""

    def knows(self, call: Call) -> bool:
        """Whether it was admitted a moment ago; must not block."""

    def admit(self, call: Call) -> None:
        """Raise Unauthenticated unless it is the host in the path."""


class Application:
    """Every facade behind one port. Both checks, of a token and of a host's call, raise Unauthenticated."""

    def __init__(
        self,
        services: Services,
        facades: Sequence[Facade],
        policy: Policy,
        credentials_of: Callable[[str], Credentials],
        hosts: HostAdmission,
        root: Facade,
    ) -> None:
        self._services, self._policy = services, policy
        self._credentials_of, self._hosts = credentials_of, hosts
        self._facades = {f.mount: (f, Table(f.routes)) for f in facades}
        self._root = (root, Table(root.routes))
        self._pool = ThreadPoolExecutor(HANDLER_THREADS, "handler")

    def close(self) -> None:
        """End the handlers' threads; those that work finish first."""
        self._pool.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        if scope["type"] != "http":
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        facade, table, path = self._facade(scope.get("raw_path", b"").decode("latin-1") or quote(scope["path"]))
        request_id = ids.new_request_id()
        with logs.bind(request=request_id):
            reply, version = await self._answer(facade, table, path, scope, headers, receive, request_id)
        own = {"x-openstack-request-id": request_id}
        if reply.body is not None or reply.stream is not None:  # glanceclient parses an empty body that says JSON
            own["content-type"] = reply.content_type
        if facade.name == "compute":
            own["x-compute-request-id"] = request_id
        await _send(send, scope["method"], reply, {**own, **facade.version_headers(version), **reply.headers})

    def _facade(self, path: str) -> tuple[Facade, Table, str]:
        mount, _, rest = path.lstrip("/").partition("/")
        if mount in self._facades:
            return *self._facades[mount], "/" + rest
        return *self._root, path

    async def _answer(
        self,
        facade: Facade,
        table: Table,
        path: str,
        scope: Scope,
        headers: dict[str, str],
        receive: Receive,
        request_id: str,
    ) -> tuple[Reply, int]:
        version = 0
        try:
            call = self._call(path, scope, headers, request_id)
            version = call.version = facade.version(call)
            route, parameters = _route(table, call)
            call.parameters = parameters
            await self._admit(call, route)
            if route.streams:
                call.receive, call.gone = _chunks(receive), lambda: _gone(receive)
                return await route.handler(call), version
            call.body = await _body(receive, headers)
            if asyncio.iscoroutinefunction(route.handler):
                return await route.handler(call), version
            return await self._in_thread(lambda call: _encoded(route.handler(call)), call), version
        except HoldfastError as err:
            if not isinstance(err, Bug):
                if err.detail:
                    log.warn("request_refused", code=err.code, reason=err.message, detail=err.detail)
                return facade.fault(err, request_id), version
            log.exception("request_bug", method=scope["method"], path=path)
        except Exception:  # the outermost boundary: anything else is our own mistake
            log.exception("request_failed", method=scope["method"], path=path)
        return facade.fault(Bug(f"An unexpected error; the log has it under {request_id}"), request_id), version

    def _call(self, path: str, scope: Scope, headers: Mapping[str, str], request_id: str) -> Call:
        raw_query = scope["query_string"].decode("latin-1")
        return Call(
            services=self._services,
            method=scope["method"],
            path=path,
            parameters={},
            query=parse_qsl(raw_query, keep_blank_values=True),
            headers=headers,
            body=b"",
            request_id=request_id,
            version=0,
            policy=self._policy.allows,
            remote=(scope.get("client") or ("", 0))[0],
            peer=scope.get(PEER),
            raw_query=raw_query,
            raw_path=scope.get("raw_path", b"").decode("latin-1"),
        )

    async def _admit(self, call: Call, route: Route) -> None:
        """Check the token and the route's rule; a missing or bad token is 401 before anything else is looked at.

        Behind the door is what hosts call, and nothing else; what a machine joins with goes no other way.
        """
        if route.rule == JOINING if call.peer is None else route.rule not in (HOST, JOINING):
            raise NotFound("The resource could not be found.")
        if route.rule == JOINING:
            return
        if route.rule == PUBLIC:
            return
        if route.rule == HOST:
            if not self._hosts.knows(call):
                await self._in_thread(self._hosts.admit, call)
            return
        token = call.headers.get("x-auth-token", "")
        if not token:
            raise Unauthenticated("The request you have made requires authentication.")
        call.credentials_or_none = await self._in_thread(self._credentials_of, token)
        if route.rule != ANY_TOKEN:
            target = {**call.parameters, "project_id": call.credentials.project_id, "user_id": call.credentials.user_id}
            if not self._policy.allows(route.rule, target, call.credentials):
                raise Forbidden(f"Policy doesn't allow {route.rule} to be performed.")

    async def _in_thread(self, fn: Callable[[Any], Any], argument: Any) -> Any:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, fn, argument)


def _encoded(reply: Reply) -> Reply:
    """A long list takes milliseconds to encode: in the handler's thread, while the loop serves others."""
    if reply.body is not None:
        reply.body = reply.encoded()
    return reply


def _route(table: Table, call: Call) -> tuple[Route, dict[str, str]]:
    found = table.find(call.method, call.path, call.version)
    if not isinstance(found, list):
        return found[0], {name: unquote(value) for name, value in found[1].items()}
    if found and call.method == "HEAD" and "GET" in found:
        got = table.find("GET", call.path, call.version)
        if not isinstance(got, list):
            return got
    if found:
        raise MethodNotAllowed(f"The method {call.method} is not allowed for this resource.")
    raise NotFound("The resource could not be found.")


async def _body(receive: Receive, headers: Mapping[str, str]) -> bytes:
    declared = headers.get("content-length", "0")
    if not declared.isdigit():
        raise BadInput("Content-Length is not a number")
    if int(declared) > REQUEST_BODY_BYTES:
        raise TooLarge(f"the request body is larger than {REQUEST_BODY_BYTES} bytes")
    parts, size = [], 0
    async for chunk in _chunks(receive):
        size += len(chunk)
        if size > REQUEST_BODY_BYTES:
            raise TooLarge(f"the request body is larger than {REQUEST_BODY_BYTES} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it arrives; a client that goes away ends it with an error, so that nothing short passes as whole."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the client went away before the end of its request")
        if chunk := message.get("body", b""):
            yield chunk
        more = message.get("more_body", False)


async def _gone(receive: Receive) -> None:
    """Return when the client went away, or the server stops."""
    while (await receive())["type"] != "http.disconnect":
        continue


async def _send(send: Send, method: str, reply: Reply, headers: Mapping[str, str]) -> None:
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    if reply.stream is None:
        body = reply.encoded()
        if "content-length" not in {name.lower() for name in headers} and reply.status not in (204, 304):
            pairs.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    async for chunk in reply.stream:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
