"""Routers over HTTP: the router itself, its way out, its legs and its routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.network.attributes import RESOURCE, Attribute, document, project_for, read, require, shown_only
from holdfast.api.network.networks import SUBNET, RouteBody
from holdfast.api.network.ports import PORT
from holdfast.api.network.resource import Document, Resource, found_for, found_visible, standard
from holdfast.api.network.zones import hints_check, zones_of
from holdfast.base import ids
from holdfast.base.errors import BadInput
from holdfast.control.operations.network import router as acts
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import tags_of
from holdfast.control.store.network.router import ROUTERS, router_legs, router_visible
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.domain.network import missing
from holdfast.domain.port import ROUTER_GATEWAY, FixedAddress
from holdfast.domain.router import Gateway, Router


class ExternalFixedBody(msgspec.Struct, forbid_unknown_fields=True):
    """An address of the way out."""

    subnet_id: str = ""
    ip_address: str = ""


class GatewayBody(msgspec.Struct, forbid_unknown_fields=True):
    """The way out that is asked for."""

    network_id: str | None = None
    enable_snat: bool | None = None
    external_fixed_ips: list[ExternalFixedBody] | None = None


ROUTER_ATTRIBUTES = {
    **RESOURCE,
    "admin_state_up": Attribute(bool, "admin_state_up"),
    "external_gateway_info": Attribute(GatewayBody | None, "gateway"),
    "routes": Attribute(list[RouteBody] | None, "routes", post=False),
    "availability_zone_hints": Attribute(list[str], "zone_hints", put=False),
    "distributed": Attribute(bool | None, "distributed", rule="distributed"),
    "ha": Attribute(bool | None, "ha", rule="ha"),
    **shown_only("availability_zones"),
}


def routers_render(tx: Tx, call: Call, found: Sequence[Router]) -> list[Document]:
    """As Neutron shows routers."""
    router_ids = [each.id for each in found]
    ways = [leg for leg in router_legs(tx, router_ids) if leg.device_owner == ROUTER_GATEWAY] if found else []
    held, tags = addresses_of_ports(tx, [leg.id for leg in ways]), tags_of(tx, router_ids)
    zones = zones_of(tx, call)
    out = {leg.device_id: held.get(leg.id, []) for leg in ways}
    return [
        standard(each, tags)
        | {
            "name": each.name,
            "admin_state_up": each.admin_state_up,
            "status": "ACTIVE",
            "external_gateway_info": _gateway(each, out.get(each.id, [])),
            "routes": [{"destination": there, "nexthop": by} for there, by in each.routes],
            "availability_zone_hints": each.zone_hints,
            "availability_zones": zones,
            "flavor_id": None,
        }
        for each in found
    ]


def _gateway(router: Router, held: Sequence[FixedAddress]) -> Document | None:
    if not router.external_network_id:
        return None
    fixed = [{"subnet_id": each.subnet_id, "ip_address": each.address} for each in held]
    return {"network_id": router.external_network_id, "enable_snat": router.snat, "external_fixed_ips": fixed}


ROUTER = Resource("router", "routers", ROUTERS, router_visible, ROUTER_ATTRIBUTES, routers_render)


def router_create(tx: Tx, call: Call, body: Document) -> Router:
    """POST /v2.0/routers"""
    fields = _supported(read(call, ROUTER_ATTRIBUTES, body, "create_router"))
    project_id = project_for(call, fields, "create_router")
    hints_check(tx, call, fields.get("zone_hints", []))
    gateway = _gateway_wanted(call, fields.pop("gateway", None), None, "create_router")
    return acts.router_create(tx, project_id, gateway=gateway, **fields)


def router_update(tx: Tx, call: Call, found: Router, fields: Document) -> Router:
    """PUT /v2.0/routers/ID"""
    changes = _supported(fields)
    router = found
    if "gateway" in changes:
        router = acts.router_gateway_set(
            tx, found, _gateway_wanted(call, changes.pop("gateway"), found, "update_router")
        )
    if "routes" in changes:
        changes["routes"] = [(route.destination, route.nexthop) for route in changes["routes"] or []]
    return acts.router_update(tx, router, changes) if changes else router


def router_delete(tx: Tx, call: Call, found: Router) -> None:
    """DELETE /v2.0/routers/ID"""
    acts.router_delete(tx, found)


def _supported(fields: Document) -> Document:
    """Routers here work on every host and need no second one: neither can be chosen."""
    if fields.get("ha"):
        raise BadInput("HA routers are not supported: a router works on every host already.", code="BadRequest")
    return {name: value for name, value in fields.items() if name not in ("ha", "distributed")}


def _gateway_wanted(call: Call, body: GatewayBody | None, before: Router | None, action: str) -> Gateway | None:
    if body is None or not (body.network_id or body.enable_snat is not None or body.external_fixed_ips):
        return None
    network_id = body.network_id or (before.external_network_id if before else "")
    if not network_id:
        raise BadInput("external_gateway_info needs a network_id", code="HTTPBadRequest")
    if body.enable_snat is not None:
        require(call, f"{action}:external_gateway_info:enable_snat")
    fixed = (body.external_fixed_ips or [ExternalFixedBody()])[0]
    if fixed.ip_address:
        require(call, f"{action}:external_gateway_info:external_fixed_ips")
    if len(body.external_fixed_ips or []) > 1:
        raise BadInput("A router of this cloud has one external address.", code="BadRequest")
    same = before is not None and before.external_network_id == network_id
    snat = body.enable_snat if body.enable_snat is not None else (before.snat if before and same else True)
    return Gateway(network_id, snat, fixed.ip_address, fixed.subnet_id)


class InterfaceBody(msgspec.Struct, forbid_unknown_fields=True):
    """A leg, by its subnet or its port."""

    subnet_id: str | None = None
    port_id: str | None = None


def interface_add(call: Call) -> Reply:
    """PUT /v2.0/routers/ID/add_router_interface"""
    body = call.decode(InterfaceBody)

    def change(tx: Tx) -> Reply:
        router = found_for(tx, call, ROUTER, "update")
        if bool(body.subnet_id) == bool(body.port_id):
            words = "Either subnet_id or port_id must be specified, and not both"
            raise BadInput(words, code="BadRequest")
        if body.subnet_id:
            subnet = found_visible(tx, call, SUBNET, body.subnet_id)
            leg = acts.router_interface_add(tx, router, subnet.id)
            return _interface(router, leg.id, leg.network_id, subnet.id)
        port = found_visible(tx, call, PORT, body.port_id or "")
        if port.project_id != router.project_id and not call.credentials.is_admin:
            raise missing("Port", port.id)
        leg = acts.router_interface_add_port(tx, router, port)
        held = addresses_of_ports(tx, [leg.id])[leg.id]
        return _interface(router, leg.id, leg.network_id, held[0].subnet_id)

    return call.services.store.write(change)


def interface_remove(call: Call) -> Reply:
    """PUT /v2.0/routers/ID/remove_router_interface"""
    body = call.decode(InterfaceBody)

    def change(tx: Tx) -> Reply:
        router = found_for(tx, call, ROUTER, "update")
        if not (body.subnet_id or body.port_id):
            raise BadInput("Either subnet_id or port_id must be specified", code="BadRequest")
        if body.subnet_id and not ids.is_id(body.subnet_id):
            raise missing("Subnet", body.subnet_id)
        leg, subnet_id = acts.router_interface_remove(tx, router, body.port_id or "", body.subnet_id or "")
        return _interface(router, leg.id, leg.network_id, subnet_id)

    return call.services.store.write(change)


def _interface(router: Router, port_id: str, network_id: str, subnet_id: str) -> Reply:
    shown: dict[str, Any] = {"id": router.id, "tenant_id": router.project_id, "project_id": router.project_id}
    where = {"port_id": port_id, "network_id": network_id, "subnet_id": subnet_id, "subnet_ids": [subnet_id]}
    return Reply(200, {**shown, **where, "tags": []})


def routes_add(call: Call) -> Reply:
    """PUT /v2.0/routers/ID/add_extraroutes: what is there already stays."""
    return _routes_change(call, adding=True)


def routes_remove(call: Call) -> Reply:
    """PUT /v2.0/routers/ID/remove_extraroutes: what is not there is no error."""
    return _routes_change(call, adding=False)


def _routes_change(call: Call, adding: bool) -> Reply:
    body = document(call, "router")

    def change(tx: Tx) -> Reply:
        router = found_for(tx, call, ROUTER, "update")
        fields = read(call, ROUTER_ATTRIBUTES, body, "update_router", {"project_id": router.project_id})
        given = [(route.destination, route.nexthop) for route in fields.get("routes") or []]
        kept = [(there, by) for there, by in router.routes if adding or (there, by) not in given]
        routes = kept + [pair for pair in given if adding and pair not in kept]
        after = acts.router_update(tx, router, {"routes": routes})
        return Reply(200, {"router": routers_render(tx, call, [after])[0]})

    return call.services.store.write(change)
