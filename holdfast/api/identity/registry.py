"""/v3/regions, /v3/services and /v3/endpoints: the catalogue as an administrator sees it. Read only.

What is served is decided by what is mounted and by the settings, so there is nothing to create or change.
"""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity import views
from holdfast.api.identity.bodies import filtered
from holdfast.api.identity.catalog import INTERFACES, catalog_services
from holdfast.base.errors import Forbidden, NotFound


def regions_list(call: Call) -> Reply:
    """GET /v3/regions"""
    return views.listed(call, "regions", [_region(call)])


def region_show(call: Call) -> Reply:
    """GET /v3/regions/{region_id}"""
    return Reply(200, {"region": _only([_region(call)], call.parameters["region_id"], "region")})


def services_list(call: Call) -> Reply:
    """GET /v3/services"""
    return views.listed(call, "services", filtered(call, _services(call), ("type", "name")))


def service_show(call: Call) -> Reply:
    """GET /v3/services/{service_id}"""
    return Reply(200, {"service": _only(_services(call), call.parameters["service_id"], "service")})


def endpoints_list(call: Call) -> Reply:
    """GET /v3/endpoints"""
    names = ("interface", "service_id", "region_id", "region")
    return views.listed(call, "endpoints", filtered(call, _endpoints(call), names))


def endpoint_show(call: Call) -> Reply:
    """GET /v3/endpoints/{endpoint_id}"""
    return Reply(200, {"endpoint": _only(_endpoints(call), call.parameters["endpoint_id"], "endpoint")})


def change_refused(call: Call) -> Reply:
    """Every change: 403 with the reason."""
    raise Forbidden("Regions, services and endpoints follow this cloud's settings and cannot be changed here.")


def _region(call: Call) -> dict[str, Any]:
    region = call.services.settings.region
    links = views.self_link(call, f"regions/{region}")
    return {"id": region, "description": "", "parent_region_id": None, "links": links}


def _services(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": service.id,
            "type": service.type,
            "name": service.name,
            "description": service.description,
            "enabled": True,
            "links": views.self_link(call, f"services/{service.id}"),
        }
        for service in catalog_services(call.services)
    ]


def _endpoints(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": service.endpoint_id(interface),
            "interface": interface,
            "region": service.region,
            "region_id": service.region,
            "service_id": service.id,
            "url": service.url,
            "enabled": True,
            "links": views.self_link(call, f"endpoints/{service.endpoint_id(interface)}"),
        }
        for service in catalog_services(call.services)
        for interface in INTERFACES
    ]


def _only(entries: list[dict[str, Any]], wanted: str, kind: str) -> dict[str, Any]:
    for entry in entries:
        if entry["id"] == wanted:
            return entry
    raise NotFound(f"Could not find {kind}: {wanted}.")
