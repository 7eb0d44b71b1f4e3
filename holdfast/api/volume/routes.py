"""Every URL of the volume service: each below /v3 and, as older clients write it, below /v3/PROJECT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import cinder_fault
from holdfast.api.http.routes import Facade, Route
from holdfast.api.volume import actions, attachments, quotas, services, snapshots, types, versions, volumes
from holdfast.base.errors import BadInput

_PARTS = (volumes, actions, snapshots, attachments, types, quotas, services)
RULES = {name: rule for part in _PARTS for name, rule in part.RULES.items()}


def _of_project(handler: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    """The project in the path must be the token's: it decides nothing."""

    @wraps(handler)
    def checked(call: Call) -> Reply:
        if call.parameters["path_project"] != call.credentials.project_id:
            raise BadInput("Malformed request url")
        return handler(call)

    return checked


def _both(route: Route) -> tuple[Route, Route]:
    whole = replace(route, path="/v3" + route.path)
    return whole, replace(route, path="/v3/{path_project}" + route.path, handler=_of_project(route.handler))


ROUTES = (
    *versions.ROUTES,
    *(found for part in _PARTS for route in part.ROUTES for found in _both(route)),
)
FACADE = Facade(
    name="volume",
    mount="volume",
    routes=ROUTES,
    fault=cinder_fault,
    version=versions.version_of,
    version_headers=versions.version_headers,
)
