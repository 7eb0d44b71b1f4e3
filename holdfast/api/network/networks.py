"""Networks and their subnets over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.api.http.call import Call
from holdfast.api.network.attributes import RESOURCE, Attribute, Text, project_for, read, require, shown_only
from holdfast.api.network.resource import Document, Resource, found_visible, standard
from holdfast.api.network.subnetpools import SUBNETPOOL
from holdfast.api.network.zones import hints_check, zones_of
from holdfast.base.errors import BadInput
from holdfast.control.operations.network import network as acts
from holdfast.control.operations.network import subnetpool as pools
from holdfast.control.operations.network.security_group import security_group_default
from holdfast.control.store.database import Tx
from holdfast.control.store.network.network import network_visible
from holdfast.control.store.network.query import tags_of
from holdfast.control.store.network.subnet import NETWORKS_WITH_SUBNETS, SUBNETS, subnet_visible, subnets_of_networks
from holdfast.control.store.network.subnet_address import pools_of
from holdfast.domain.address import invalid
from holdfast.domain.network import FLAT, Network, NetworkWanted, Subnet, SubnetWanted


class PoolBody(msgspec.Struct, forbid_unknown_fields=True):
    """An allocation pool."""

    start: str
    end: str


class RouteBody(msgspec.Struct, forbid_unknown_fields=True):
    """A route."""

    destination: str
    nexthop: str


NETWORK_ATTRIBUTES = {
    **RESOURCE,
    "admin_state_up": Attribute(bool, "admin_state_up"),
    "shared": Attribute(bool, "shared", rule="shared"),
    "router:external": Attribute(bool, "external", rule="router:external"),
    "mtu": Attribute(int, "mtu"),
    "port_security_enabled": Attribute(bool, "port_security"),
    "is_default": Attribute(bool, "is_default", rule="is_default"),
    "provider:network_type": Attribute(Text | None, "network_type", put=False, rule="provider:network_type"),
    "provider:physical_network": Attribute(
        Text | None, "physical_network", put=False, rule="provider:physical_network"
    ),
    "provider:segmentation_id": Attribute(int | None, "vni", put=False, rule="provider:segmentation_id"),
    "availability_zone_hints": Attribute(list[str], "zone_hints", put=False),
    **shown_only("subnets", "availability_zones", "ipv4_address_scope", "ipv6_address_scope"),
}

SUBNET_ATTRIBUTES = {
    **RESOURCE,
    "network_id": Attribute(Text, "network_id", put=False),
    "cidr": Attribute(Text | None, "cidr", put=False),
    "ip_version": Attribute(int, "ip_version", put=False),
    "gateway_ip": Attribute(Text | None, "gateway"),
    "enable_dhcp": Attribute(bool, "dhcp"),
    "allocation_pools": Attribute(list[PoolBody] | None, "pools"),
    "dns_nameservers": Attribute(list[str] | None, "nameservers"),
    "host_routes": Attribute(list[RouteBody] | None, "routes"),
    "ipv6_address_mode": Attribute(Text | None, "ipv6_address_mode", put=False),
    "ipv6_ra_mode": Attribute(Text | None, "ipv6_ra_mode", put=False),
    "subnetpool_id": Attribute(Text | None, "subnetpool_id", put=False),
    "prefixlen": Attribute(int | None, "prefixlen", put=False),
    "service_types": Attribute(list[str], "service_types"),
}


def networks_render(tx: Tx, call: Call, found: Sequence[Network]) -> list[Document]:
    """As Neutron shows networks; how they are built is for administrators."""
    network_ids = [each.id for each in found]
    subnets, tags = subnets_of_networks(tx, network_ids), tags_of(tx, network_ids)
    zones, shown = zones_of(tx, call), []
    for each in found:
        one = standard(each, tags) | {
            "name": each.name,
            "admin_state_up": each.admin_state_up,
            "status": "ACTIVE",
            "mtu": each.mtu,
            "shared": each.shared,
            "router:external": each.external,
            "is_default": each.is_default,
            "port_security_enabled": each.port_security,
            "subnets": [subnet.id for subnet in subnets.get(each.id, [])],
            "availability_zone_hints": each.zone_hints,
            "availability_zones": zones,
            "ipv4_address_scope": None,
            "ipv6_address_scope": None,
        }
        if call.may("get_network:provider:network_type", {"project_id": each.project_id}):
            flat = each.network_type == FLAT
            one["provider:network_type"] = each.network_type
            one["provider:physical_network"] = each.physical_network or None
            one["provider:segmentation_id"] = None if flat else each.vni
        shown.append(one)
    return shown


def subnets_render(tx: Tx, call: Call, found: Sequence[Subnet]) -> list[Document]:
    """As Neutron shows subnets."""
    subnet_ids = [each.id for each in found]
    ranges, tags = pools_of(tx, subnet_ids), tags_of(tx, subnet_ids)
    return [
        standard(each, tags)
        | {
            "name": each.name,
            "network_id": each.network_id,
            "ip_version": each.ip_version,
            "cidr": each.cidr,
            "gateway_ip": each.gateway or None,
            "enable_dhcp": each.dhcp,
            "allocation_pools": [{"start": first, "end": last} for first, last in ranges.get(each.id, [])],
            "dns_nameservers": each.nameservers,
            "host_routes": [{"destination": there, "nexthop": by} for there, by in each.routes],
            "ipv6_address_mode": each.ipv6_address_mode or None,
            "ipv6_ra_mode": each.ipv6_ra_mode or None,
            "subnetpool_id": each.subnetpool_id or None,
            "service_types": [],
        }
        for each in found
    ]


NETWORK = Resource("network", "networks", NETWORKS_WITH_SUBNETS, network_visible, NETWORK_ATTRIBUTES, networks_render)
SUBNET = Resource("subnet", "subnets", SUBNETS, subnet_visible, SUBNET_ATTRIBUTES, subnets_render)


def network_create(tx: Tx, call: Call, body: Document) -> Network:
    """POST /v2.0/networks"""
    fields = read(call, NETWORK_ATTRIBUTES, body, "create_network")
    project_id = project_for(call, fields, "create_network")
    hints_check(tx, call, fields.get("zone_hints", []))
    security_group_default(tx, project_id)
    given = {name: value for name, value in fields.items() if value is not None}
    return acts.network_create(tx, NetworkWanted(project_id, **given))


def network_update(tx: Tx, call: Call, found: Network, fields: Document) -> Network:
    """PUT /v2.0/networks/ID"""
    return acts.network_update(tx, found, fields)


def network_delete(tx: Tx, call: Call, found: Network) -> None:
    """DELETE /v2.0/networks/ID"""
    acts.network_delete(tx, found)


def subnet_create(tx: Tx, call: Call, body: Document) -> Subnet:
    """POST /v2.0/subnets: with a cidr, or cut from a pool."""
    fields = _subnet_fields(read(call, SUBNET_ATTRIBUTES, body, "create_subnet"))
    network = found_visible(tx, call, NETWORK, fields.get("network_id", ""))
    project_id = project_for(call, fields, "create_subnet")
    require(call, "create_subnet", {"project_id": network.project_id})
    length = fields.pop("prefixlen", None) or 0
    if fields.get("subnetpool_id"):
        pool = found_visible(tx, call, SUBNETPOOL, fields["subnetpool_id"])
        fields["cidr"] = pools.subnetpool_cut(tx, pool, fields.get("cidr", ""), length)
        fields["ip_version"] = pool.ip_version
    elif length or not fields.get("cidr"):
        raise BadInput("A subnet needs a cidr, or a subnetpool_id to be cut from.", code="BadRequest")
    if fields.get("ip_version", 4) not in (4, 6):
        raise invalid("ip_version", f"'{fields['ip_version']}' is not in [4, 6].")
    return acts.subnet_create(tx, SubnetWanted(project_id, **fields))


def _subnet_fields(fields: Document) -> Document:
    """The same, with the shapes that the operations take; absent ones stay absent."""
    if fields.pop("service_types", []):
        raise BadInput("Subnet service types are not supported by this cloud.", code="BadRequest")
    changed = dict(fields)
    if "gateway" in fields:
        changed["gateway"] = fields["gateway"] or ""
    if fields.get("pools") is not None:
        changed["pools"] = [(pool.start, pool.end) for pool in fields["pools"]]
    if "routes" in fields:
        changed["routes"] = [(route.destination, route.nexthop) for route in fields["routes"] or []]
    if "nameservers" in fields:
        changed["nameservers"] = fields["nameservers"] or []
    for name in ("ipv6_address_mode", "ipv6_ra_mode", "subnetpool_id", "cidr"):
        if name in fields:
            changed[name] = fields[name] or ""
    return changed


def subnet_update(tx: Tx, call: Call, found: Subnet, fields: Document) -> Subnet:
    """PUT /v2.0/subnets/ID"""
    changes = _subnet_fields(fields)
    return acts.subnet_update(tx, found, changes, changes.pop("pools", None))


def subnet_delete(tx: Tx, call: Call, found: Subnet) -> None:
    """DELETE /v2.0/subnets/ID"""
    acts.subnet_delete(tx, found)
