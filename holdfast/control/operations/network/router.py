"""Routers: their way out, their legs in subnets, and their routes.

Invariant: a leg is taken away only when no floating address and no route needs it, and the row of the router, its
legs and their addresses change in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.base import ids
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.control.operations.network.floating_ip import external_network
from holdfast.control.operations.network.port import floating_ips_unseen, port_create, ports_forget
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import floating_ips_of_router
from holdfast.control.store.network.port import PORTS, ports_of_device
from holdfast.control.store.network.query import object_count, object_delete, object_insert, object_update
from holdfast.control.store.network.router import ROUTERS, router_fetch, router_legs
from holdfast.control.store.network.subnet import subnets_fetch
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.control.store.quota import quota_require
from holdfast.control.store.revision import revision_network
from holdfast.domain import address as addresses
from holdfast.domain.network import missing
from holdfast.domain.port import ROUTER_GATEWAY, ROUTER_INTERFACE, FixedWanted, Port, PortWanted
from holdfast.domain.router import Gateway, Router, router_routes_check


def router_create(
    tx: Tx,
    project_id: str,
    name: str = "",
    description: str = "",
    admin_state_up: bool = True,
    gateway: Gateway | None = None,
    router_id: str = "",
    zone_hints: Sequence[str] = (),
) -> Router:
    """Make a router, with a way out if one is named."""
    quota_require(tx, project_id, "router", object_count(tx, ROUTERS, project_id))
    made = Router(
        id=router_id or ids.new_id(),
        project_id=project_id,
        name=name,
        description=description,
        admin_state_up=admin_state_up,
        external_network_id="",
        snat=True,
        routes=[],
        zone_hints=list(zone_hints),
        created_us=tx.now_us,
        updated_us=tx.now_us,
        revision=1,
    )
    object_insert(tx, ROUTERS, made)
    return router_gateway_set(tx, made, gateway) if gateway else made


def router_update(tx: Tx, router: Router, changes: Mapping[str, Any]) -> Router:
    """Write name, description, admin state or routes."""
    written = dict(changes)
    if "routes" in changes:
        written["routes"] = router_routes_check(changes["routes"], [cidr for _, cidr in _legs(tx, router)])
    object_update(tx, ROUTERS, router.id, written)
    if not written.get("admin_state_up", True):
        floating_ips_unseen(tx, floating_ips_of_router(tx, router.id))
    revision_network(tx)
    return router_refetch(tx, router)


def router_gateway_set(tx: Tx, router: Router, gateway: Gateway | None) -> Router:
    """Give the router a way out, or None to take it away; the same network again keeps its address."""
    legs = ports_of_device(tx, router.id, ROUTER_GATEWAY)
    target = external_network(tx, gateway.network_id).id if gateway else ""
    keeps = bool(legs) and target == router.external_network_id and not (gateway and gateway.address)
    if not keeps:
        if legs and target != router.external_network_id and floating_ips_of_router(tx, router.id):
            message = f"Gateway cannot be updated for router {router.id}, since a gateway to external network "
            message += f"{router.external_network_id} is required by one or more floating IPs."
            raise Conflict(message, code="RouterExternalGatewayInUseByFloatingIp")
        ports_forget(tx, legs)
        if gateway:
            _gateway_port(tx, router, target, gateway)
    snat = gateway.snat if gateway else True
    object_update(tx, ROUTERS, router.id, {"external_network_id": target, "snat": snat})
    revision_network(tx)
    return router_refetch(tx, router)


def _gateway_port(tx: Tx, router: Router, network_id: str, gateway: Gateway) -> Port:
    wanted = [FixedWanted(gateway.subnet_id, gateway.address)] if gateway.address or gateway.subnet_id else None
    leg = port_create(tx, _leg_wanted("", network_id, router.id, ROUTER_GATEWAY, wanted))
    cidrs = [cidr for _, cidr in _legs(tx, router)]
    held = addresses_of_ports(tx, [leg.id]).get(leg.id, [])
    if not held:
        raise BadInput(f"No IPs assigned to the gateway port for router {router.id}: no subnet", code="BadRequest")
    if len(cidrs) > 1:
        outside = subnets_fetch(tx, [fixed.subnet_id for fixed in held])
        inside = [pair for pair in _legs(tx, router) if pair[0] not in outside]
        for subnet in outside.values():
            _overlap_check(subnet.id, subnet.cidr, inside)
    return leg


def router_delete(tx: Tx, router: Router) -> None:
    """Delete a router and its way out; Conflict while it has a leg in a subnet."""
    if ports_of_device(tx, router.id, ROUTER_INTERFACE):
        raise Conflict(f"Router {router.id} still has ports", code="RouterInUse")
    ports_forget(tx, ports_of_device(tx, router.id, ROUTER_GATEWAY))
    object_delete(tx, ROUTERS, router.id)
    revision_network(tx)


def router_interface_add(tx: Tx, router: Router, subnet_id: str) -> Port:
    """Give the router the gateway address of a subnet, on a leg of its own."""
    subnet = subnets_fetch(tx, [subnet_id]).get(subnet_id)
    if subnet is None:
        raise missing("Subnet", subnet_id)
    if not subnet.gateway:
        raise BadInput(f"Subnet for router interface must have a gateway IP: {subnet_id}", code="BadRequest")
    _leg_check(tx, router, subnet_id)
    wanted = [FixedWanted(subnet_id, subnet.gateway)]
    leg = port_create(tx, _leg_wanted(router.project_id, subnet.network_id, router.id, ROUTER_INTERFACE, wanted))
    return _joined(tx, router, leg)


def router_interface_add_port(tx: Tx, router: Router, port: Port) -> Port:
    """Make a free port with an IPv4 address a leg of the router."""
    if port.device_id or port.instance_id:
        message = f"Unable to complete operation on port {port.id} for network {port.network_id}. Port already has an "
        raise Conflict(message + f"attached device {port.device_id}.", code="PortInUse")
    held = addresses_of_ports(tx, [port.id]).get(port.id, [])
    if not held:
        raise BadInput("Router port must have at least one fixed IP", code="BadRequest")
    if len(held) > 1:
        raise BadInput("Cannot have multiple IPv4 subnets on router port", code="BadRequest")
    _leg_check(tx, router, held[0].subnet_id)
    object_update(tx, PORTS, port.id, {"device_id": router.id, "device_owner": ROUTER_INTERFACE, "up": True})
    return _joined(tx, router, port)


def router_interface_remove(tx: Tx, router: Router, port_id: str = "", subnet_id: str = "") -> tuple[Port, str]:
    """Take a leg away, named by its port or its subnet; returns it and its subnet."""
    legs = ports_of_device(tx, router.id, ROUTER_INTERFACE)
    held = addresses_of_ports(tx, [leg.id for leg in legs])
    for leg in legs:
        subnets = [fixed.subnet_id for fixed in held.get(leg.id, [])]
        if (port_id and leg.id != port_id) or (subnet_id and subnet_id not in subnets):
            continue
        _leg_needless_check(tx, router, subnets)
        ports_forget(tx, [leg])
        object_update(tx, ROUTERS, router.id)
        revision_network(tx)
        return leg, subnets[0]
    if port_id and subnet_id and any(leg.id == port_id for leg in legs):
        message = f"Port {port_id} does not have a leg in subnet {subnet_id} on this router."
        raise Conflict(message, code="SubnetMismatchForPort")
    if port_id:
        raise _no_leg(router.id, f"with id {port_id}", "RouterInterfaceNotFound")
    raise _no_leg(router.id, f"on subnet {subnet_id}", "RouterInterfaceNotFoundForSubnet")


def _no_leg(router_id: str, what: str, code: str) -> NotFound:
    return NotFound(f"Router {router_id} does not have an interface {what}", code=code)


def router_refetch(tx: Tx, router: Router) -> Router:
    """The router as it is stored now."""
    return router_fetch(tx, router.id) or router


def _leg_wanted(
    project_id: str, network_id: str, router_id: str, owner: str, fixed: Sequence[FixedWanted] | None
) -> PortWanted:
    return PortWanted(
        project_id=project_id,
        network_id=network_id,
        device_id=router_id,
        device_owner=owner,
        fixed=fixed,
        port_security=False,
        security_groups=[],
        trusted=True,
    )


def _joined(tx: Tx, router: Router, leg: Port) -> Port:
    object_update(tx, ROUTERS, router.id)
    revision_network(tx)
    return leg


def _legs(tx: Tx, router: Router) -> list[tuple[str, str]]:
    """(subnet, cidr) of every leg, the way out included."""
    held = addresses_of_ports(tx, [leg.id for leg in router_legs(tx, [router.id])])
    subnets = subnets_fetch(tx, [fixed.subnet_id for each in held.values() for fixed in each])
    return [(subnet.id, subnet.cidr) for subnet in subnets.values()]


def _leg_check(tx: Tx, router: Router, subnet_id: str) -> None:
    """BadInput unless the subnet can be joined: IPv4, not joined yet, and apart from every other leg's range."""
    subnet = subnets_fetch(tx, [subnet_id])[subnet_id]
    if subnet.ip_version != 4:
        message = f"Subnet {subnet_id} is IPv6, which the routers of this cloud do not carry."
        raise BadInput(message, code="BadRequest")
    legs = _legs(tx, router)
    if any(there == subnet_id for there, _ in legs):
        raise BadInput(f"Router already has a port on subnet {subnet_id}", code="BadRequest")
    _overlap_check(subnet_id, subnet.cidr, legs)


def _overlap_check(subnet_id: str, cidr: str, legs: Sequence[tuple[str, str]]) -> None:
    within = addresses.range_parse(cidr)
    for there, other in legs:
        if addresses.range_parse(other).overlaps(within):
            message = f"Cidr {cidr} of subnet {subnet_id} overlaps with cidr {other} of subnet {there}"
            raise BadInput(message, code="BadRequest")


def _leg_needless_check(tx: Tx, router: Router, subnet_ids: Sequence[str]) -> None:
    public = floating_ips_of_router(tx, router.id)
    held = addresses_of_ports(tx, [floating.port_id for floating in public])
    inside = {(f.port_id, f.address) for each in held.values() for f in each if f.subnet_id in subnet_ids}
    if any((floating.port_id, floating.fixed) in inside for floating in public):
        message = f"Router interface for subnet {subnet_ids[0]} on router {router.id} cannot be deleted, as it is "
        raise Conflict(message + "required by one or more floating IPs.", code="RouterInterfaceInUseByFloatingIP")
    others = [cidr for subnet_id, cidr in _legs(tx, router) if subnet_id not in subnet_ids]
    for _, hop in router.routes:
        if not any(addresses.address_parse(hop) in addresses.range_parse(cidr) for cidr in others):
            message = f"Router interface for subnet {subnet_ids[0]} on router {router.id} cannot be deleted, as it is "
            raise Conflict(message + "required by one or more routes.", code="RouterInterfaceInUseByRoute")
