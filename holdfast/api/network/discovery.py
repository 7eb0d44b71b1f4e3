"""What the network service is and can do: versions, extensions, and what is the same for every object.

Invariant: an extension is listed only when all of it works here; clients believe the list.
"""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.network.listing import selected
from holdfast.api.network.zones import zones_of
from holdfast.base.errors import NotFound

EXTENSIONS = {
    "agent": "agent",
    "allowed-address-pairs": "Allowed Address Pairs",
    "availability_zone": "Availability Zone",
    "binding": "Port Binding",
    "empty-string-filtering": "Empty String Filtering Extension",
    "external-net": "Neutron external network",
    "ext-gw-mode": "Neutron L3 Configurable external gateway mode",
    "extraroute": "Neutron Extra Route",
    "extraroute-atomic": "Atomically add/remove extra routes",
    "filter-validation": "Filter parameters validation",
    "fip-port-details": "Floating IP Port Details Extension",
    "ip-substring-filtering": "IP address substring filtering",
    "net-mtu": "Network MTU",
    "net-mtu-writable": "Network MTU (writable)",
    "network-ip-availability": "Network IP Availability",
    "pagination": "Pagination support",
    "port-security": "Port Security",
    "project-id": "project_id field enabled",
    "provider": "Provider Network",
    "quota_details": "Quota details management support",
    "quotas": "Quota management support",
    "revision-if-match": "If-Match constraints based on revision_number",
    "router": "Neutron L3 Router",
    "security-group": "security-group",
    "security-groups-normalized-cidr": "Normalized CIDR field for security group rules",
    "service-type": "Neutron Service Type Management",
    "sorting": "Sorting support",
    "standard-attr-description": "standard-attr-description",
    "standard-attr-revisions": "Resource revision numbers",
    "standard-attr-tag": "Tag support for resources with standard attribute",
    "standard-attr-timestamp": "Resource timestamps",
    "subnet_allocation": "Subnet Allocation",
}
UPDATED = "2026-11-21T00:00:00-00:00"
_NOUNS = (
    "networks",
    "subnets",
    "subnetpools",
    "ports",
    "routers",
    "floatingips",
    "security-groups",
    "security-group-rules",
    "quotas",
    "agents",
    "availability_zones",
    "network-ip-availabilities",
    "service-providers",
    "extensions",
)


def _base(call: Call) -> str:
    return f"{call.services.settings.endpoint}/network"


def versions(call: Call) -> Reply:
    """GET /: needs no store and no token."""
    link = {"rel": "self", "href": f"{_base(call)}/v2.0/"}
    return Reply(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


def resources(call: Call) -> Reply:
    """GET /v2.0/: what there is."""
    found = [
        {"name": noun.rstrip("s"), "collection": noun, "links": [{"rel": "self", "href": f"{_base(call)}/v2.0/{noun}"}]}
        for noun in _NOUNS
    ]
    return Reply(200, {"resources": found})


def _extension(alias: str) -> dict[str, Any]:
    name = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": name, "updated": UPDATED, "links": []}


def extensions_listed(call: Call) -> Reply:
    """GET /v2.0/extensions"""
    return Reply(200, {"extensions": [selected(call, _extension(alias)) for alias in EXTENSIONS]})


def extension_shown(call: Call) -> Reply:
    """GET /v2.0/extensions/ALIAS"""
    alias = call.parameters["alias"]
    if alias not in EXTENSIONS:
        raise NotFound(f"Extension with alias {alias[:64]} does not exist", code="HTTPNotFound")
    return Reply(200, {"extension": _extension(alias)})


def zones_listed(call: Call) -> Reply:
    """GET /v2.0/availability_zones"""
    zones = call.services.store.read(lambda tx: zones_of(tx, call))
    found = [{"name": zone, "resource": kind, "state": "available"} for zone in zones for kind in ("network", "router")]
    return Reply(200, {"availability_zones": found})


def providers_listed(call: Call) -> Reply:
    """GET /v2.0/service-providers: there is nothing to choose between."""
    return Reply(200, {"service_providers": []})
