"""Floating addresses: taken, attached, moved only when the caller knows what it moves, and given back.

Seeds 000 and 001: instances took each other's public addresses. Here taking and attaching is one act in one
transaction; an address that leads somewhere is never led elsewhere unless the caller shows the revision that it
saw; and a fixed address has one floating address, by constraint.
"""

from __future__ import annotations

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.control.operations.network.port import (
    floating_ip_forget,
    floating_ip_free,
    floating_ip_moved,
    port_changed,
    port_create,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import (
    FLOATING_IPS,
    floating_ip_fetch,
    floating_ip_of_fixed,
    floating_ip_of_key,
)
from holdfast.control.store.network.network import NETWORKS, network, network_fetch
from holdfast.control.store.network.port import port_fetch
from holdfast.control.store.network.query import object_count, object_insert, object_update, object_where
from holdfast.control.store.network.router import router_legs, routers_fetch, routers_of_networks
from holdfast.control.store.network.subnet import subnets_of_network
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.control.store.quota import quota_require
from holdfast.domain.floating_ip import FloatingIp, FloatingWanted
from holdfast.domain.network import Network, missing
from holdfast.domain.port import FLOATING_IP, ROUTER_INTERFACE, FixedWanted, Port, PortWanted

log = logs.get(__name__)


def floating_ip_take(tx: Tx, wanted: FloatingWanted) -> FloatingIp:
    """Return an address that is already the caller's: taken from the pool and attached, or nothing happened.

    A repeat with the same `request_key` returns the first one. NoCapacity (409): the pool is empty; Conflict:
    the fixed address has a floating one; NotFound: no such network or port, or no router in between.
    """
    if wanted.request_key:
        earlier = floating_ip_of_key(tx, wanted.project_id, wanted.request_key)
        if earlier is not None:
            return earlier
    outside = external_network(tx, wanted.network_id)
    quota_require(tx, wanted.project_id, "floatingip", object_count(tx, FLOATING_IPS, wanted.project_id))
    floating_id = ids.new_id()
    holder = _address_port(tx, outside, floating_id, wanted)
    address = addresses_of_ports(tx, [holder.id])[holder.id][0].address
    port, fixed, router_id = None, "", ""
    if wanted.port_id:
        port = port_for(tx, wanted.port_id, wanted.project_id, wanted.any_project)
        fixed, router_id = _path(tx, outside.id, port, wanted.fixed)
        _fixed_free_check(tx, floating_id, address, port.id, fixed, outside.id)
    elif wanted.fixed:
        raise BadInput("fixed_ip_address cannot be specified without a port_id", code="BadRequest")
    made = FloatingIp(
        id=floating_id,
        project_id=wanted.project_id,
        description=wanted.description,
        network_id=outside.id,
        address=address,
        port_id=port.id if port else "",
        fixed=fixed,
        router_id=router_id,
        auto_for_instance=wanted.auto_for_instance,
        request_key=wanted.request_key,
        up=False,
        reason="",
        created_us=tx.now_us,
        updated_us=tx.now_us,
        revision=1,
    )
    object_insert(tx, FLOATING_IPS, made)
    if port is not None:
        floating_ip_moved(tx, port.id)
        port_changed(tx, port.instance_id)
    log.info("floating_ip_taken", address=address, port=made.port_id, project=wanted.project_id)
    return made


def floating_ip_associate(
    tx: Tx, floating: FloatingIp, port_id: str, fixed: str = "", *, any_project: bool = False, move: bool = False
) -> FloatingIp:
    """Lead the address to a port. Leading to another one: Conflict, unless `move` is asked for."""
    port = port_for(tx, port_id, floating.project_id, any_project)
    fixed, router_id = _path(tx, floating.network_id, port, fixed)
    if (floating.port_id, floating.fixed) == (port.id, fixed):
        return floating
    if floating.port_id not in ("", port.id) and not move:
        message = (
            f"Cannot associate floating IP {floating.address} ({floating.id}) with port {port.id} using fixed IP "
            f"{fixed}, as that floating IP leads to port {floating.port_id}. Disassociate it first, or send "
            f"'If-Match: revision_number={floating.revision}' to move it."
        )
        raise Conflict(message, code="FloatingIPPortAlreadyAssociated")
    _fixed_free_check(tx, floating.id, floating.address, port.id, fixed, floating.network_id)
    former = port_fetch(tx, floating.port_id) if floating.port_id else None
    values = {"port_id": port.id, "fixed": fixed, "router_id": router_id, "up": False, "reason": ""}
    object_update(tx, FLOATING_IPS, floating.id, values)
    floating_ip_moved(tx, port.id)
    floating_ip_moved(tx, floating.port_id)
    for touched in (port, former):
        port_changed(tx, touched.instance_id if touched else "")
    log.info("floating_ip_associated", address=floating.address, port=port.id, former=floating.port_id)
    return floating_ip_refetch(tx, floating)


def floating_ip_disassociate(tx: Tx, floating: FloatingIp) -> FloatingIp:
    """Take the address off its port; free already: nothing."""
    if not floating.port_id:
        return floating
    port = port_fetch(tx, floating.port_id)
    floating_ip_free(tx, floating)
    port_changed(tx, port.instance_id if port else "")
    return floating_ip_refetch(tx, floating)


def floating_ip_release(tx: Tx, floating: FloatingIp) -> None:
    """Give the address back; it rests before anybody gets it again."""
    port = port_fetch(tx, floating.port_id) if floating.port_id else None
    floating_ip_forget(tx, floating)
    port_changed(tx, port.instance_id if port else "")


def floating_ip_describe(tx: Tx, floating: FloatingIp, description: str) -> FloatingIp:
    """Write another description."""
    object_update(tx, FLOATING_IPS, floating.id, {"description": description})
    return floating_ip_refetch(tx, floating)


def floating_ip_observed(tx: Tx, floating_id: str, fixed: str, up: bool, reason: str = "", host_id: str = "") -> bool:
    """Write down what a host saw of the path; False when the report is about a path that is no longer asked for.

    With `host_id`, a report from a host that the port is not on (any more) is such a report.
    """
    floating = floating_ip_fetch(tx, floating_id)
    if floating is None or not floating.port_id or floating.fixed != fixed:
        return False
    port = port_fetch(tx, floating.port_id)
    if host_id and (port is None or port.host_id != host_id):
        return False
    if (floating.up, floating.reason) != (up, reason):
        object_update(tx, FLOATING_IPS, floating_id, {"up": up, "reason": reason[:255]})
        log.info("floating_ip_path", address=floating.address, up=up, reason=reason)
    return True


def floating_ip_refetch(tx: Tx, floating: FloatingIp) -> FloatingIp:
    """The address as it is stored now."""
    return floating_ip_fetch(tx, floating.id) or floating


def external_network(tx: Tx, network_id: str = "") -> Network:
    """The external network with this id, or the only (or default) one when none is named."""
    if network_id:
        found = network_fetch(tx, network_id)
        if found is None:
            raise missing("Network", network_id)
        if not found.external:
            raise BadInput(f"Network {network_id} is not a valid external network.", code="BadRequest")
        return found
    outside: list[Network] = object_where(tx, NETWORKS, network.c.external)
    chosen = [each for each in outside if each.is_default] or outside
    if len(chosen) != 1:
        raise NotFound("There is not exactly one external network: name one.", code="ExternalNetworkNotFound")
    return chosen[0]


def port_for(tx: Tx, port_id: str, project_id: str, any_project: bool) -> Port:
    """The port that an address should lead to; NotFound unless it is the project's."""
    port = port_fetch(tx, port_id)
    if port is None or not (any_project or port.project_id == project_id):
        raise missing("Port", port_id)
    return port


def _address_port(tx: Tx, outside: Network, floating_id: str, wanted: FloatingWanted) -> Port:
    """The network service's own port, which holds the address in the external network."""
    ranges = [subnet for subnet in subnets_of_network(tx, outside.id) if subnet.ip_version == 4]
    if not ranges:
        message = f"Network {outside.id} does not contain any IPv4 subnet"
        raise BadInput(message, code="BadRequest")
    fixed = [FixedWanted(wanted.subnet_id, wanted.address)] if wanted.subnet_id or wanted.address else None
    return port_create(
        tx,
        PortWanted(
            project_id="",
            network_id=outside.id,
            device_owner=FLOATING_IP,
            device_id=floating_id,
            fixed=fixed,
            port_security=False,
            trusted=True,
        ),
    )


def _path(tx: Tx, network_id: str, port: Port, fixed: str) -> tuple[str, str]:
    """The fixed address of the port that is meant, and the router between it and the external network."""
    held = [f for f in addresses_of_ports(tx, [port.id]).get(port.id, []) if "." in f.address]
    if not held:
        message = f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses"
        raise BadInput(message, code="BadRequest")
    if fixed:
        meant = [f for f in held if f.address == fixed]
        if not meant:
            message = f"Port {port.id} does not have fixed ip {fixed[:64]}"
            raise BadInput(message, code="BadRequest")
    else:
        meant = held
    if len(meant) > 1:
        message = (
            f"Port {port.id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when "
            "assigning a floating IP"
        )
        raise BadInput(message, code="BadRequest")
    candidates = routers_fetch(tx, routers_of_networks(tx, [port.network_id]))
    leading = {router.id for router in candidates if router.external_network_id == network_id}
    legs = [leg for leg in router_legs(tx, list(leading)) if leg.device_owner == ROUTER_INTERFACE]
    fixed_of = addresses_of_ports(tx, [leg.id for leg in legs])
    for leg in legs:
        if any(f.subnet_id == meant[0].subnet_id for f in fixed_of.get(leg.id, [])):
            return meant[0].address, leg.device_id
    message = (
        f"External network {network_id} is not reachable from subnet {meant[0].subnet_id}.  Therefore, cannot "
        f"associate Port {port.id} with a Floating IP."
    )
    raise NotFound(message, code="ExternalGatewayForFloatingIPNotFound")


def _fixed_free_check(tx: Tx, floating_id: str, address: str, port_id: str, fixed: str, network_id: str) -> None:
    other = floating_ip_of_fixed(tx, port_id, fixed)
    if other is not None and other.id != floating_id:
        message = (
            f"Cannot associate floating IP {address} ({floating_id}) with port {port_id} using fixed IP {fixed}, "
            f"as that fixed IP already has a floating IP on external network {network_id}."
        )
        raise Conflict(message, code="FloatingIPPortAlreadyAssociated")
