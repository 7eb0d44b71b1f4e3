"""Floating addresses over HTTP.

A list that is one whole page shows the free addresses in another order each time: clients that take the first free
one they see do not all reach for the same (measured: seeds 000 and 001, with today's SDK). A list in pages keeps its
order, since a marker means nothing otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from holdfast.api.http.call import Call
from holdfast.api.network.attributes import RESOURCE, Attribute, Text, project_for, read, shown_only
from holdfast.api.network.networks import NETWORK
from holdfast.api.network.resource import Document, Resource, found_visible, if_match, standard
from holdfast.base.errors import BadInput
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.operations.network import floating_ip as acts
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import FLOATING_IPS, floating_ip_visible
from holdfast.control.store.network.port import ports_fetch
from holdfast.control.store.network.query import Listing, tags_of
from holdfast.domain.floating_ip import FloatingIp, FloatingWanted, status

FLOATING_IP_ATTRIBUTES = {
    **RESOURCE,
    "floating_network_id": Attribute(Text, "network_id", put=False),
    "floating_ip_address": Attribute(Text | None, "address", put=False, rule="floating_ip_address"),
    "subnet_id": Attribute(Text | None, "subnet_id", put=False),
    "port_id": Attribute(Text | None, "port_id"),
    "fixed_ip_address": Attribute(Text | None, "fixed"),
    **shown_only("router_id", "port_details"),
}
del FLOATING_IP_ATTRIBUTES["name"]


def floating_ips_render(tx: Tx, call: Call, found: Sequence[FloatingIp]) -> list[Document]:
    """As Neutron shows floating addresses."""
    tags = tags_of(tx, [each.id for each in found])
    ports = ports_fetch(tx, [each.port_id for each in found if each.port_id])
    return [
        standard(each, tags)
        | {
            "floating_network_id": each.network_id,
            "floating_ip_address": each.address,
            "fixed_ip_address": each.fixed or None,
            "port_id": each.port_id or None,
            "router_id": each.router_id or None,
            "status": status(each),
            "port_details": _port_details(ports.get(each.port_id)),
        }
        for each in found
    ]


def _port_details(port: Any) -> Document | None:
    if port is None:
        return None
    return {
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac,
        "admin_state_up": port.admin_state_up,
        "status": "ACTIVE" if port.up else "DOWN",
        "device_id": port.device_id,
        "device_owner": port.device_owner,
    }


def rotated(call: Call, listing: Listing, found: list[FloatingIp]) -> list[FloatingIp]:
    """Free addresses in an order of this request's own, in the places where free ones are."""
    if listing.limit or listing.marker or listing.sort or len(found) >= PAGE_ROWS:
        return found
    free = [each for each in found if not each.port_id]
    shuffled = iter(sorted(free, key=lambda each: hashlib.sha256((call.request_id + each.id).encode()).digest()))
    return [each if each.port_id else next(shuffled) for each in found]


FLOATING_IP = Resource(
    noun="floatingip",
    plural="floatingips",
    listable=FLOATING_IPS,
    visible=floating_ip_visible,
    attributes=FLOATING_IP_ATTRIBUTES,
    render=floating_ips_render,
    arrange=rotated,
)


def floating_ip_create(tx: Tx, call: Call, body: Document) -> FloatingIp:
    """POST /v2.0/floatingips: with `port_id`, taken and attached in one act."""
    fields = {
        name: value
        for name, value in read(call, FLOATING_IP_ATTRIBUTES, body, "create_floatingip").items()
        if value is not None
    }
    if not fields.get("network_id"):
        words = "Failed to parse request. Required attribute 'floating_network_id' not specified"
        raise BadInput(words, code="HTTPBadRequest")
    found_visible(tx, call, NETWORK, fields["network_id"])
    project_id = project_for(call, fields, "create_floatingip")
    return acts.floating_ip_take(tx, FloatingWanted(project_id, any_project=call.credentials.is_admin, **fields))


def floating_ip_update(tx: Tx, call: Call, found: FloatingIp, fields: Document) -> FloatingIp:
    """PUT /v2.0/floatingips/ID: what leads elsewhere is moved with `If-Match`, or where the cloud allows it."""
    after = found
    if "description" in fields:
        after = acts.floating_ip_describe(tx, after, fields["description"])
    if fields.get("port_id"):
        moving = if_match(call, found.revision) or call.services.settings.allow_floating_move
        admin = call.credentials.is_admin
        fixed = fields.get("fixed") or ""
        return acts.floating_ip_associate(tx, after, fields["port_id"], fixed, any_project=admin, move=moving)
    if "port_id" in fields:
        return acts.floating_ip_disassociate(tx, after)
    if fields.get("fixed"):
        raise BadInput("fixed_ip_address cannot be specified without a port_id", code="BadRequest")
    return after


def floating_ip_delete(tx: Tx, call: Call, found: FloatingIp) -> None:
    """DELETE /v2.0/floatingips/ID"""
    acts.floating_ip_release(tx, found)
