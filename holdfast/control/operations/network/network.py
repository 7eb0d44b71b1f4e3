"""Networks and subnets: made, changed, deleted; and which network a server gets when nobody names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.base import ids
from holdfast.base.errors import BadInput, Conflict
from holdfast.base.limits import GUEST_MTU
from holdfast.control.operations.network.port import floating_ip_forget, port_changed, port_create, ports_forget
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import FLOATING_IPS, floating_ip
from holdfast.control.store.network.network import NETWORKS, network, network_fetch, vni_free, vni_taken
from holdfast.control.store.network.port import ports_of_network
from holdfast.control.store.network.query import (
    object_count,
    object_delete,
    object_insert,
    object_update,
    object_where,
)
from holdfast.control.store.network.subnet import SUBNETS, subnet_fetch, subnets_of_network
from holdfast.control.store.network.subnet_address import (
    address_release,
    addresses_of_ports,
    holder_of,
    pools_of,
    pools_set,
)
from holdfast.control.store.quota import quota_require
from holdfast.control.store.revision import revision_network
from holdfast.domain import address as addresses
from holdfast.domain import network as rules
from holdfast.domain.address import Pool
from holdfast.domain.floating_ip import FloatingIp
from holdfast.domain.network import Network, NetworkWanted, Subnet, SubnetWanted
from holdfast.domain.port import AUTOMATIC, DHCP, FLOATING_IP, FixedWanted, Port, PortWanted


def network_create(tx: Tx, wanted: NetworkWanted, network_id: str = "") -> Network:
    """Make a network with a tunnel number of its own; Conflict when the one asked for is taken."""
    wanted = rules.network_check(wanted)
    quota_require(tx, wanted.project_id, "network", object_count(tx, NETWORKS, wanted.project_id))
    network_id = network_id or ids.new_id()
    if wanted.vni and vni_taken(tx, wanted.vni):
        message = f"Unable to create the network. The tunnel ID {wanted.vni} is in use."
        raise Conflict(message, code="TunnelIdInUse")
    if wanted.is_default:
        _default_check(tx, network_id)
    made = Network(
        id=network_id,
        project_id=wanted.project_id,
        name=wanted.name,
        description=wanted.description,
        admin_state_up=wanted.admin_state_up,
        shared=wanted.shared,
        external=wanted.external,
        mtu=wanted.mtu,
        port_security=wanted.port_security,
        network_type=wanted.network_type,
        physical_network=wanted.physical_network,
        vni=wanted.vni or vni_free(tx, network_id),
        is_default=wanted.is_default,
        zone_hints=wanted.zone_hints,
        created_us=tx.now_us,
        updated_us=tx.now_us,
        revision=1,
    )
    object_insert(tx, NETWORKS, made)
    return made


def network_update(tx: Tx, found: Network, changes: Mapping[str, Any]) -> Network:
    """Write the changes; Conflict when others would lose what they use."""
    rules.mtu_check(changes.get("mtu", 0))
    if "external" in changes and changes["external"] != found.external:
        _external_change_check(tx, found)
    if found.shared and changes.get("shared") is False:
        strangers = {p.project_id for p in ports_of_network(tx, found.id)} - {found.project_id, ""}
        if strangers:
            message = f"Unable to reconfigure sharing settings for network {found.id}. Multiple tenants are using it."
            raise Conflict(message, code="InvalidSharedSetting")
    if changes.get("is_default"):
        _default_check(tx, found.id)
    written = {**changes, **({"mtu": changes["mtu"] or GUEST_MTU} if "mtu" in changes else {})}
    object_update(tx, NETWORKS, found.id, written)
    revision_network(tx)
    after = network_fetch(tx, found.id) or found
    if (after.mtu, after.admin_state_up) != (found.mtu, found.admin_state_up):
        for instance_id in {port.instance_id for port in ports_of_network(tx, found.id)}:
            port_changed(tx, instance_id)
    return after


def _default_check(tx: Tx, network_id: str) -> None:
    for other in object_where(tx, NETWORKS, network.c.is_default, network.c.id != network_id):
        message = f"A default external network already exists: {other.id}."
        raise Conflict(message, code="DefaultExternalNetworkExists")


def _external_change_check(tx: Tx, found: Network) -> None:
    if [port for port in ports_of_network(tx, found.id) if port.device_owner not in AUTOMATIC]:
        message = f"External network {found.id} cannot be updated to be made non-external or back: it has ports."
        raise Conflict(message, code="ExternalNetworkInUse")


def network_delete(tx: Tx, found: Network) -> None:
    """Delete a network with its subnets and free floating addresses; Conflict while another port is in it."""
    ports = ports_of_network(tx, found.id)
    free = _floating_free(tx, ports)
    using = [port for port in ports if port.device_owner not in AUTOMATIC and port.device_id not in free]
    if using:
        message = f"Unable to complete operation on network {found.id}. There are one or more ports still in use on "
        raise Conflict(message + f"the network, id: {using[0].id}.", code="NetworkInUse")
    for floating in free.values():
        floating_ip_forget(tx, floating)
    ports_forget(tx, [port for port in ports if port.device_id not in free])
    for subnet in subnets_of_network(tx, found.id):
        object_delete(tx, SUBNETS, subnet.id)
    object_delete(tx, NETWORKS, found.id)
    revision_network(tx)


def _floating_free(tx: Tx, ports: Sequence[Port]) -> dict[str, FloatingIp]:
    """The floating addresses that lead nowhere: as in Neutron they go with their network."""
    wanted = [port.device_id for port in ports if port.device_owner == FLOATING_IP]
    found = object_where(tx, FLOATING_IPS, floating_ip.c.id.in_(wanted), floating_ip.c.port_id == "") if wanted else []
    return {each.id: each for each in found}


def default_network_for(tx: Tx, project_id: str) -> Network | None:
    """What a server without networks gets: the project's only one, else the only shared one; None without any."""
    candidates: list[Network] = object_where(
        tx, NETWORKS, (network.c.project_id == project_id) | network.c.shared, network.c.external.is_(False)
    )
    own = [candidate for candidate in candidates if candidate.project_id == project_id]
    found = own or candidates
    if len(found) > 1:
        names = ", ".join(f"{each.name} ({each.id})" for each in found[:5])
        message = f"Multiple possible networks found, use a Network ID to be more specific: {names}"
        raise Conflict(message, code="NetworkAmbiguous")
    return found[0] if found else None


def subnet_create(tx: Tx, wanted: SubnetWanted, subnet_id: str = "") -> Subnet:
    """Make a subnet with its pools, and reserve the address that answers DHCP."""
    made, pools = rules.subnet_make(wanted, subnet_id or ids.new_id(), tx.now_us)
    quota_require(tx, wanted.project_id, "subnet", object_count(tx, SUBNETS, wanted.project_id))
    rules.overlap_check(made.cidr, [other.cidr for other in subnets_of_network(tx, wanted.network_id)])
    object_insert(tx, SUBNETS, made)
    pools_set(tx, made.id, pools)
    dhcp_reserve(tx, made)
    object_update(tx, NETWORKS, made.network_id)
    revision_network(tx)
    return made


def dhcp_reserve(tx: Tx, subnet: Subnet) -> None:
    """Take an address for the host's DHCP, DNS and metadata; a pool without room leaves the subnet without."""
    if not (subnet.dhcp and subnet.ip_version == 4) or _dhcp_ports(tx, subnet):
        return
    if pools_of(tx, [subnet.id]):
        port_create(
            tx,
            PortWanted(
                project_id="",
                network_id=subnet.network_id,
                device_owner=DHCP,
                device_id=f"dhcp-{subnet.id}",
                fixed=[FixedWanted(subnet.id)],
                port_security=False,
                trusted=True,
            ),
        )


def _dhcp_ports(tx: Tx, subnet: Subnet) -> list[Port]:
    return [port for port in ports_of_network(tx, subnet.network_id) if port.device_id == f"dhcp-{subnet.id}"]


def subnet_update(tx: Tx, found: Subnet, changes: Mapping[str, Any], pools: Sequence[Pool] | None = None) -> Subnet:
    """Write the changes; the range itself never changes."""
    within = addresses.range_parse(found.cidr)
    written = dict(changes)
    gateway = found.gateway
    if "gateway" in changes:
        gateway = rules.gateway_check(changes["gateway"], within) if changes["gateway"] else ""
        _gateway_free_check(tx, found, gateway)
        written["gateway"] = gateway
    if "nameservers" in changes:
        written["nameservers"] = rules.nameservers_check(changes["nameservers"])
    if "routes" in changes:
        written["routes"] = rules.routes_check(changes["routes"], found.ip_version)
    new = pools_of(tx, [found.id]).get(found.id, []) if pools is None else addresses.pools_parse(pools, within, gateway)
    rules.gateway_pool_check(gateway, new)
    if pools is not None:
        pools_set(tx, found.id, new)
    if changes.get("dhcp") and found.ip_version == 4 and within.prefixlen > 30:
        reason = "Subnet has a prefix length that is incompatible with DHCP service enabled."
        raise BadInput(f"Invalid input for operation: {reason}", code="InvalidInput")
    object_update(tx, SUBNETS, found.id, written)
    after = subnet_fetch(tx, found.id) or found
    if after.dhcp:
        dhcp_reserve(tx, after)
    else:
        ports_forget(tx, _dhcp_ports(tx, after))
    object_update(tx, NETWORKS, found.network_id)
    revision_network(tx)
    return after


def _gateway_free_check(tx: Tx, found: Subnet, gateway: str) -> None:
    """Conflict when a router holds the gateway that would change: its leg would no longer be where guests look."""
    if gateway == found.gateway:
        return
    holder = holder_of(tx, found.id, found.gateway) if found.gateway else ""
    if holder:
        message = f"Current gateway ip {found.gateway} already in use by port {holder}. Unable to update."
        raise Conflict(message, code="GatewayIpInUse")


def subnet_delete(tx: Tx, found: Subnet) -> None:
    """Delete a subnet; Conflict while a port holds an address of it. What nobody's port held goes with it."""
    ports = {port.id: port for port in ports_of_network(tx, found.network_id)}
    held = [fixed for each in addresses_of_ports(tx, list(ports)).values() for fixed in each]
    inside = [fixed for fixed in held if fixed.subnet_id == found.id]
    using = [f for f in inside if ports[f.port_id].device_owner not in AUTOMATIC and not found.makes_own]
    routed = [f for f in inside if found.makes_own and ports[f.port_id].device_owner.startswith("network:router")]
    if using or routed:
        holder = (using or routed)[0].port_id
        message = f"Unable to complete operation on subnet {found.id}: One or more ports have an IP allocation from "
        raise Conflict(message + f"this subnet, port {holder}.", code="SubnetInUse")
    for fixed in inside:
        address_release(tx, fixed)
    ports_forget(tx, _dhcp_ports(tx, found))
    object_delete(tx, SUBNETS, found.id)
    object_update(tx, NETWORKS, found.network_id)
    revision_network(tx)
