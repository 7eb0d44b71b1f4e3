"""Nova's availability zones, and the aggregates that this cloud does not have.

A zone is a word that each host joins with; there is no other grouping, so aggregates are an empty list and
whoever wants to make one is told so.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute.services import BINARY
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.base.clock import iso_micros
from holdfast.base.errors import BadInput, NotFound, NotSupported
from holdfast.control.store.host import hosts_list
from holdfast.domain.host import Host

_ZONES: Final = "os_compute_api:os-availability-zone"
_AGGREGATES: Final = "os_compute_api:os-aggregates"


def _zones(call: Call) -> dict[str, list[Host]]:
    """Enabled hosts by zone; a zone whose hosts are all disabled is there, and empty."""
    zones: dict[str, list[Host]] = {}
    for host in call.services.store.read(hosts_list):
        found = zones.setdefault(host.zone, [])
        if host.enabled:
            found.append(host)
    return zones


def _listed(call: Call, detail: bool) -> Reply:
    zones = sorted(_zones(call).items(), key=lambda zone: (not zone[1], zone[0]))  # available ones first
    shown = [
        {
            "zoneName": name,
            "zoneState": {"available": bool(hosts)},
            "hosts": {host.name: {BINARY: _state(call, host)} for host in hosts} if detail and hosts else None,
        }
        for name, hosts in zones
    ]
    return Reply(200, {"availabilityZoneInfo": shown})


def _state(call: Call, host: Host) -> dict[str, Any]:
    return {
        "available": host.is_up(call.services.clock.now_us()),
        "active": host.enabled,
        "updated_at": iso_micros(host.reported_us).rstrip("Z") if host.reported_us else None,
    }


def zones_index(call: Call) -> Reply:
    """GET os-availability-zone."""
    return _listed(call, detail=False)


def zones_detail(call: Call) -> Reply:
    """GET os-availability-zone/detail: with hosts, for administrators."""
    return _listed(call, detail=True)


def aggregates_index(call: Call) -> Reply:
    """GET os-aggregates: there are none."""
    return Reply(200, {"aggregates": []})


def aggregate_create(call: Call) -> Reply:
    """POST os-aggregates."""
    raise NotSupported("This cloud has no host aggregates: a host names its availability zone when it joins.")


def aggregate_absent(call: Call) -> Reply:
    """Anything about one aggregate."""
    asked = call.parameters["aggregate_id"]
    if not asked.isdecimal():
        raise BadInput(f"Invalid input received: id must be an integer, not {asked[:80]}")
    raise NotFound(f"Aggregate {asked} could not be found.")


RULES = {
    f"{_ZONES}:list": "@",
    f"{_ZONES}:detail": ADMIN,
    **{f"{_AGGREGATES}:{verb}": ADMIN for verb in ("index", "show", "create", "update", "delete", "add_host")},
    "compute:aggregates:images": ADMIN,
}
_ONE: Final = "/v2.1/os-aggregates/{aggregate_id}"
ROUTES = (
    Route("GET", "/v2.1/os-availability-zone", zones_index, f"{_ZONES}:list"),
    Route("GET", "/v2.1/os-availability-zone/detail", zones_detail, f"{_ZONES}:detail"),
    Route("GET", "/v2.1/os-aggregates", aggregates_index, f"{_AGGREGATES}:index"),
    Route("POST", "/v2.1/os-aggregates", aggregate_create, f"{_AGGREGATES}:create"),
    Route("GET", _ONE, aggregate_absent, f"{_AGGREGATES}:show"),
    Route("PUT", _ONE, aggregate_absent, f"{_AGGREGATES}:update"),
    Route("DELETE", _ONE, aggregate_absent, f"{_AGGREGATES}:delete"),
    Route("POST", f"{_ONE}/action", aggregate_absent, f"{_AGGREGATES}:add_host"),
    Route("POST", f"{_ONE}/images", aggregate_absent, "compute:aggregates:images", since=81),
)
