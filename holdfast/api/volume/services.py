"""What there is beside volumes: the hosts that keep them, and zones."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.api.volume.views import BACKEND, instant
from holdfast.control.store.host import hosts_list
from holdfast.domain.host import Host

_ANY_READER = "role:reader"


def services_index(call: Call) -> Reply:
    """GET os-services: one per host."""
    hosts = call.services.store.read(hosts_list)
    asked, binary = call.argument("host").partition("@")[0], call.argument("binary")
    shown = [_service(call, host) for host in hosts if asked in ("", host.name) and binary in ("", "cinder-volume")]
    return Reply(200, {"services": shown})


def _service(call: Call, host: Host) -> dict[str, Any]:
    view: dict[str, Any] = {
        "binary": "cinder-volume",
        "host": f"{host.name}@{BACKEND}",
        "zone": host.zone,
        "status": "enabled" if host.enabled else "disabled",
        "state": "up" if host.is_up(call.services.clock.now_us()) else "down",
        "updated_at": instant(host.reported_us),
        "disabled_reason": host.disabled_reason or None,
        "frozen": False,
        "replication_status": "disabled",
        "active_backend_id": None,
    }
    if call.version >= 7:
        view["cluster"] = None
    if call.version >= 49:
        view["backend_state"] = view["state"]
    return view


def zones_index(call: Call) -> Reply:
    """GET os-availability-zone"""
    hosts = call.services.store.read(hosts_list)
    zones = sorted({host.zone for host in hosts})
    enabled = {host.zone for host in hosts if host.enabled}
    return Reply(
        200, {"availabilityZoneInfo": [{"zoneName": z, "zoneState": {"available": z in enabled}} for z in zones]}
    )


def extensions_index(call: Call) -> Reply:
    """GET extensions: what was an extension once is part of version 3."""
    return Reply(200, {"extensions": []})


def messages_index(call: Call) -> Reply:
    """GET messages: a volume that failed says why itself."""
    return Reply(200, {"messages": []})


ROUTES = (
    Route("GET", "/os-services", services_index, "volume_extension:services:index"),
    Route("GET", "/os-availability-zone", zones_index, "volume:availability_zone_list"),
    Route("GET", "/extensions", extensions_index, "volume:extensions"),
    Route("GET", "/messages", messages_index, "message:get_all", since=3),
)
RULES = {
    "volume_extension:services:index": ADMIN,
    "volume:availability_zone_list": _ANY_READER,
    "volume:extensions": _ANY_READER,
    "message:get_all": _ANY_READER,
}
