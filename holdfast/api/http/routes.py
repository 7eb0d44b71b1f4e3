"""Routes as data: one table per facade is its table of contents.

    Route("GET", "/v2.1/servers/{server_id}", server_show, rule="os_compute_api:servers:show")

`rule` is the policy that must allow the call before the handler runs; PUBLIC routes need no token (a test
holds the list of them). The same path may appear for several ranges of microversions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.base.errors import HoldfastError

PUBLIC = "@public"  # answered without a token
ANY_TOKEN = "@token"  # any valid token; the handler decides the rest
HOST = "@host"  # the token of the host that the path names
JOINING = "@joining"  # whoever comes through the door for hosts of other machines; the handler decides the rest
NEWEST = 10_000


@dataclass(frozen=True, slots=True)
class Route:
    """One URL and method. `streams`: the handler is async and reads `call.receive` itself.

    Another handler may be async: it must not block. One that is not runs in a thread.
    """

    method: str
    path: str
    handler: Callable[[Call], Any]
    rule: str
    since: int = 0
    until: int = NEWEST
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Facade:
    """One service: where it is mounted and how it speaks of failure and versions."""

    name: str  # compute, image, network, identity, ec2, hosts
    mount: str  # first segment of the path, without slashes
    routes: Sequence[Route]
    fault: Callable[[HoldfastError, str], Reply]  # (error, request id)
    version: Callable[[Call], int] = lambda _: 0  # may raise; called once per request
    version_headers: Callable[[int], dict[str, str]] = lambda _: {}


class Table:
    """A facade's routes, found by walking the segments of a path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root: dict[str, Any] = {}
        for route in routes:
            node = self._root
            for segment in filter(None, route.path.split("/")):
                node = node.setdefault("{}" if segment.startswith("{") else segment, {})
            node.setdefault("", []).append(
                (route, [s.strip("{}") for s in route.path.strip("/").split("/") if s[:1] == "{"])
            )

    def find(self, method: str, path: str, version: int) -> tuple[Route, dict[str, str]] | list[str]:
        """Return the route and its parameters, or the methods that the path has (none: no such path)."""
        matches = self._matches(path.strip("/").split("/"), self._root, [])
        allowed: list[str] = []
        for entries, values in matches:
            for route, names in entries:
                if not route.since <= version <= route.until:
                    continue
                if route.method == method:
                    return route, dict(zip(names, values, strict=True))
                allowed.append(route.method)
        return allowed

    def _matches(self, segments: list[str], node: dict[str, Any], values: list[str]) -> list[tuple[Any, list[str]]]:
        """Every node at the end of the path, literal segments before parameters."""
        if not segments:
            return [(node[""], values)] if "" in node else []
        head, rest = segments[0], segments[1:]
        found: list[tuple[Any, list[str]]] = []
        if head and head in node:
            found += self._matches(rest, node[head], values)
        if head and "{}" in node:
            found += self._matches(rest, node["{}"], [*values, head])
        if not head and not rest and "" in node:
            found.append((node[""], values))
        return found
