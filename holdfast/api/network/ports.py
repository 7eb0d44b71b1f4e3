"""Ports over HTTP. What a tenant may not choose is in the attribute table and in `_checked`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.api.http.call import Call
from holdfast.api.network.attributes import RESOURCE, Attribute, Text, project_for, read, require, shown_only
from holdfast.api.network.networks import NETWORK
from holdfast.api.network.resource import Document, Resource, found_visible, standard
from holdfast.base.errors import BadInput
from holdfast.control.operations.network import port as acts
from holdfast.control.store.database import Tx
from holdfast.control.store.network.network import network_fetch
from holdfast.control.store.network.port import PORTS, groups_of_ports, port_visible
from holdfast.control.store.network.query import tags_of
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.domain.network import Network
from holdfast.domain.port import RESERVED, ROUTER_INTERFACE, FixedWanted, Port, PortWanted, host_name


class FixedBody(msgspec.Struct, forbid_unknown_fields=True):
    """An address that is asked for."""

    subnet_id: str = ""
    ip_address: str = ""


class PairBody(msgspec.Struct, forbid_unknown_fields=True):
    """An allowed address pair."""

    ip_address: str
    mac_address: str = ""


PORT_ATTRIBUTES = {
    **RESOURCE,
    "network_id": Attribute(Text, "network_id", put=False),
    "admin_state_up": Attribute(bool, "admin_state_up"),
    "mac_address": Attribute(Text, "mac", rule="mac_address"),
    "fixed_ips": Attribute(list[FixedBody] | None, "fixed"),
    "security_groups": Attribute(list[str] | None, "security_groups"),
    "port_security_enabled": Attribute(bool, "port_security", rule="port_security_enabled"),
    "allowed_address_pairs": Attribute(list[PairBody] | None, "allowed_pairs", rule="allowed_address_pairs"),
    "device_id": Attribute(Text, "device_id"),
    "device_owner": Attribute(Text, "device_owner"),
    "dns_name": Attribute(Text, "dns_name"),
    "binding:host_id": Attribute(Text | None, "host_id", rule="binding:host_id"),
    "binding:vnic_type": Attribute(Text | None, "vnic_type"),
    "binding:profile": Attribute(dict[str, Any] | None, "profile", rule="binding:profile"),
    **shown_only("binding:vif_type", "binding:vif_details", "dns_assignment"),
}
_NONE: dict[str, Any] = {
    "host_id": "",
    "vnic_type": "normal",
    "profile": {},
    "allowed_pairs": [],
    "security_groups": [],
}


def ports_render(tx: Tx, call: Call, found: Sequence[Port]) -> list[Document]:
    """As Neutron shows ports; where they are plugged is for administrators and services."""
    port_ids = [each.id for each in found]
    held, groups, tags = addresses_of_ports(tx, port_ids), groups_of_ports(tx, port_ids), tags_of(tx, port_ids)
    bindings = call.may("get_port:binding:host_id")
    return [_port(each, held.get(each.id, []), groups.get(each.id, []), tags, bindings) for each in found]


def _port(each: Port, held: Sequence[Any], groups: list[str], tags: dict[str, list[str]], bindings: bool) -> Document:
    name = host_name(each, [fixed.address for fixed in held])
    shown = standard(each, tags) | {
        "name": each.name,
        "network_id": each.network_id,
        "admin_state_up": each.admin_state_up,
        "status": "ACTIVE" if each.up else "DOWN",
        "mac_address": each.mac,
        "fixed_ips": [{"subnet_id": fixed.subnet_id, "ip_address": fixed.address} for fixed in held],
        "security_groups": groups,
        "port_security_enabled": each.port_security,
        "allowed_address_pairs": [
            {"mac_address": mac or each.mac, "ip_address": there} for mac, there in each.allowed_pairs
        ],
        "device_id": each.device_id,
        "device_owner": each.device_owner,
        "dns_name": each.dns_name,
        "dns_assignment": [{"hostname": name, "ip_address": fixed.address, "fqdn": f"{name}."} for fixed in held],
        "binding:vnic_type": each.vnic_type,
    }
    if bindings:
        own = each.device_owner.startswith(RESERVED)
        shown["binding:host_id"] = each.host_id
        shown["binding:vif_type"] = "tap" if each.host_id or own else "unbound"
        shown["binding:vif_details"] = {"port_filter": each.port_security} if each.host_id else {}
        shown["binding:profile"] = each.profile
    return shown


def network_owner(tx: Tx, found: Port) -> str:
    """Addresses, MACs and filters of a port are the say of its network's project, not of the port's."""
    network = network_fetch(tx, found.network_id)
    return network.project_id if network else ""


PORT = Resource("port", "ports", PORTS, port_visible, PORT_ATTRIBUTES, ports_render, network_owner)


def port_create(tx: Tx, call: Call, body: Document) -> Port:
    """POST /v2.0/ports"""
    network = found_visible(tx, call, NETWORK, str(body.get("network_id") or ""))
    owner = {"project_id": network.project_id}
    fields = _checked(tx, call, read(call, PORT_ATTRIBUTES, body, "create_port", owner), network, "create_port")
    project_id = project_for(call, fields, "create_port")
    _device_check(tx, call, project_id, fields)
    return acts.port_create(tx, PortWanted(project_id, trusted=call.credentials.is_admin, **fields))


def port_update(tx: Tx, call: Call, found: Port, fields: Document) -> Port:
    """PUT /v2.0/ports/ID"""
    network = found_visible(tx, call, NETWORK, found.network_id)
    changes = _checked(tx, call, fields, network, "update_port")
    _device_check(tx, call, found.project_id, changes)
    fixed, groups = changes.pop("fixed", None), changes.pop("security_groups", None)
    if found.device_owner.startswith(RESERVED):
        free = fixed is None or call.credentials.is_admin or _same_subnets(tx, found, fixed)
        leading = {"device_id", "device_owner", "mac", "port_security"} & set(changes)
        if not free or leading or groups:
            raise BadInput(f"Port {found.id} serves the network service and stays as it is.", code="BadRequest")
    return acts.port_update(tx, found, changes, fixed, groups)


def _same_subnets(tx: Tx, found: Port, fixed: Sequence[FixedWanted]) -> bool:
    """Whether a router's leg stays in the subnet that it is in."""
    held = {each.subnet_id for each in addresses_of_ports(tx, [found.id]).get(found.id, [])}
    return found.device_owner == ROUTER_INTERFACE and held == {each.subnet_id for each in fixed} and len(fixed) == 1


def port_delete(tx: Tx, call: Call, found: Port) -> None:
    """DELETE /v2.0/ports/ID"""
    acts.port_delete(tx, found)


def _checked(tx: Tx, call: Call, fields: Document, network: Network, action: str) -> Document:
    """The fields in the shapes that the operations take. On somebody else's network no address is chosen."""
    owner = {"project_id": network.project_id}
    changed = {name: _NONE[name] if value is None and name in _NONE else value for name, value in fields.items()}
    if fields.get("fixed") is not None:
        changed["fixed"] = [FixedWanted(one.subnet_id, one.ip_address) for one in fields["fixed"]]
        if any(one.ip_address for one in fields["fixed"]):
            require(call, f"{action}:fixed_ips:ip_address", owner)
        if any(one.subnet_id for one in fields["fixed"]) and not network.shared:
            require(call, f"{action}:fixed_ips:subnet_id", owner)
    if fields.get("allowed_pairs"):
        changed["allowed_pairs"] = [(pair.mac_address, pair.ip_address) for pair in fields["allowed_pairs"]]
    if fields.get("fixed", 0) is None:
        del changed["fixed"]
    return changed


def _device_check(tx: Tx, call: Call, project_id: str, fields: Document) -> None:
    device_owner = str(fields.get("device_owner", ""))
    if device_owner.startswith(RESERVED):
        require(call, "create_port:device_owner", {"project_id": ""})
    acts.device_check(tx, project_id, str(fields.get("device_id", "")), device_owner)
