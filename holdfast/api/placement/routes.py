"""Every URL of the placement service. All that would write is refused, to administrators in words: promises are made
by acts, in the transaction that chooses the host, and a second way to make them would be a second truth."""

from __future__ import annotations

from typing import Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import MethodNotAllowed
from holdfast.api.http.policy import SERVICE
from holdfast.api.http.routes import Facade, Route
from holdfast.api.placement import candidates, consumers, providers, versions, words

_PARTS = (providers, consumers, words, candidates)
_ONE: Final = "/resource_providers/{provider_id}"
_WRITES: Final = (  # path, since when, methods
    ("/resource_providers", 0, "POST"),
    (_ONE, 0, "PUT DELETE"),
    (f"{_ONE}/inventories", 0, "PUT POST DELETE"),
    (f"{_ONE}/inventories/{{class_name}}", 0, "PUT DELETE"),
    (f"{_ONE}/aggregates", 1, "PUT"),
    (f"{_ONE}/traits", 6, "PUT DELETE"),
    ("/allocations", 13, "POST"),
    ("/allocations/{consumer_id}", 0, "PUT DELETE"),
    ("/resource_classes", 2, "POST"),
    ("/resource_classes/{class_name}", 2, "PUT DELETE"),
    ("/traits/{trait_name}", 6, "PUT DELETE"),
)
_RULE: Final = "placement:write"


def refuse(call: Call) -> Reply:
    """Whatever would change something."""
    raise MethodNotAllowed(
        f"{call.method} is not allowed: placement is a view here. Hosts say what they have, and allocations are made "
        "by acts only: create, resize, move or delete the server."
    )


RULES = {_RULE: SERVICE, **{name: rule for part in _PARTS for name, rule in part.RULES.items()}}
ROUTES = (
    *versions.ROUTES,
    *(route for part in _PARTS for route in part.ROUTES),
    *(Route(m, path, refuse, _RULE, since=since) for path, since, methods in _WRITES for m in methods.split()),
)
FACADE = Facade(
    name="placement",
    mount="placement",
    routes=ROUTES,
    fault=versions.fault,
    version=versions.version_of,
    version_headers=versions.version_headers,
)
