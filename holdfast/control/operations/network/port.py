"""Ports: made with a MAC and addresses of their own, changed, and let go. EC2 and compute come through here too.

Invariant: a port, its MAC and its addresses are written in one transaction or not at all; what cannot be had
raises and leaves nothing. Whatever lets a port go lets its addresses and floating addresses go with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.errors import BadInput, Conflict, NoCapacity
from holdfast.base.limits import ADDRESS_PAIRS, MAC_ATTEMPTS
from holdfast.control.operations.network.hosts import hosts_reaching
from holdfast.control.operations.network.port_addresses import addresses_change, addresses_give
from holdfast.control.operations.network.security_group import security_group_default
from holdfast.control.store.database import Tx
from holdfast.control.store.host import hosts_are_several
from holdfast.control.store.instance import instance_touch
from holdfast.control.store.network.floating_ip import FLOATING_IPS, floating_ips_of_ports
from holdfast.control.store.network.network import network_fetch
from holdfast.control.store.network.port import (
    PORTS,
    group_has_ports,
    groups_of_ports,
    mac_taken,
    network_has_ports,
    port_fetch,
    port_groups_set,
    ports_of_device,
)
from holdfast.control.store.network.query import object_count, object_delete, object_insert, object_update
from holdfast.control.store.network.router import router_fetch
from holdfast.control.store.network.security_group import hosts_letting_in, security_groups_fetch
from holdfast.control.store.network.subnet_address import addresses_release
from holdfast.control.store.quota import quota_require
from holdfast.control.store.revision import revision_network
from holdfast.domain import address as addresses
from holdfast.domain.floating_ip import FloatingIp
from holdfast.domain.network import Network, missing
from holdfast.domain.port import (
    AUTOMATIC,
    COMPUTE,
    FLOATING_IP,
    OWN,
    RESERVED,
    VNIC_TYPES,
    FixedWanted,
    Port,
    PortWanted,
)

log = logs.get(__name__)


def port_create(tx: Tx, wanted: PortWanted) -> Port:
    """Make a port with everything it needs, or raise and leave nothing.

    NotFound: the network, a group or a subnet is not there for this project; Conflict: the MAC or an exact
    address is taken; NoCapacity (409 in Neutron): no address is free; QuotaExceeded.
    """
    network = network_usable(tx, wanted)
    if wanted.project_id:
        quota_require(tx, wanted.project_id, "port", object_count(tx, PORTS, wanted.project_id))
    protected = network.port_security if wanted.port_security is None else wanted.port_security
    groups = _groups(tx, wanted, protected)
    pairs = pairs_check(wanted.allowed_pairs, protected)
    port_id = ids.new_id()
    port = Port(
        id=port_id,
        project_id=wanted.project_id,
        network_id=network.id,
        name=wanted.name,
        description=wanted.description,
        admin_state_up=wanted.admin_state_up,
        mac=_mac(tx, network.id, port_id, wanted.mac),
        device_id=wanted.instance_id or wanted.device_id,
        device_owner=wanted.device_owner or (COMPUTE if wanted.instance_id else ""),
        instance_id=wanted.instance_id,
        auto_for_instance=wanted.auto_for_instance,
        host_id=wanted.host_id,
        up=wanted.device_owner.startswith(RESERVED),  # what the network service plugs works at once
        vnic_type=vnic_check(wanted.vnic_type),
        profile=wanted.profile,
        port_security=protected,
        allowed_pairs=pairs,
        dns_name=addresses.host_name_parse(wanted.dns_name),
        created_us=tx.now_us,
        updated_us=tx.now_us,
        revision=1,
    )
    object_insert(tx, PORTS, port)
    addresses_give(tx, port, wanted.fixed)
    if groups:
        port_groups_set(tx, port_id, groups)
    if port.host_id:
        port_moved(tx, port)
    return port


def network_usable(tx: Tx, wanted: PortWanted) -> Network:
    """The network of a port that is asked for; NotFound unless it is the project's own or shared with it."""
    network = network_fetch(tx, wanted.network_id)
    if network is None or not (wanted.trusted or network.shared or network.project_id == wanted.project_id):
        raise missing("Network", wanted.network_id)
    return network


def port_update(
    tx: Tx,
    port: Port,
    changes: Mapping[str, Any],
    fixed: Sequence[FixedWanted] | None = None,
    security_groups: Sequence[str] | None = None,
) -> Port:
    """Write the changes; None leaves addresses or groups as they are."""
    written = dict(changes)
    if "mac" in changes:
        written["mac"] = _mac(tx, port.network_id, port.id, changes["mac"], own=port.mac)
    if port.instance_id and {"device_id", "device_owner", "mac"} & set(changes):
        raise Conflict(f"Port {port.id} is bound to an instance, which owns it.", code="PortBound")
    protected = bool(changes.get("port_security", port.port_security))
    if "allowed_pairs" in changes or not protected:
        written["allowed_pairs"] = pairs_check(changes.get("allowed_pairs", port.allowed_pairs), protected)
    if "dns_name" in changes:
        written["dns_name"] = addresses.host_name_parse(changes["dns_name"])
    before = groups_of_ports(tx, [port.id]).get(port.id, [])
    groups = before if security_groups is None else list(security_groups)
    if groups and not protected:
        message = "Port security must be enabled in order to have allowed address pairs or security groups on a port."
        raise Conflict(message, code="PortSecurityAndIPRequiredForSecurityGroups")
    if security_groups is not None:
        groups_check(tx, port.project_id, groups)
        port_groups_set(tx, port.id, groups)
    if fixed is not None:
        addresses_change(tx, port, fixed)
        if port.device_owner.startswith(RESERVED):
            revision_network(tx)
        elif port.host_id:
            revision_network(tx, _hosts_beside(tx, port))
    object_update(tx, PORTS, port.id, written)
    _groups_changed(tx, port, before, groups)
    port_changed(tx, port.instance_id)
    return port_refetch(tx, port)


def port_delete(tx: Tx, port: Port) -> None:
    """Let a port and all that it holds go; Conflict for one that serves a router or a floating address."""
    if port.device_owner in (*OWN, *AUTOMATIC):
        reason = f"has device owner {port.device_owner}"
        raise Conflict(
            f"Port {port.id} cannot be deleted directly via the port API: {reason}.", code="ServicePortInUse"
        )
    ports_forget(tx, [port])
    port_changed(tx, port.instance_id)


def ports_forget(tx: Tx, ports: Sequence[Port]) -> None:
    """Remove ports with their addresses; floating addresses that lead to them are released or disassociated."""
    if not ports:
        return
    port_ids = [port.id for port in ports]
    floating_ips_let_go(tx, port_ids)
    for port in ports:
        port_moved(tx, port)
        addresses_release(tx, [port.id])
        object_delete(tx, PORTS, port.id)


def floating_ips_let_go(tx: Tx, port_ids: Sequence[str], staying: bool = False) -> None:
    """Release the floating addresses that were made for a server; disassociate the others unless the ports stay."""
    for floating in floating_ips_of_ports(tx, port_ids):
        if floating.auto_for_instance:
            floating_ip_forget(tx, floating)
        elif not staying:
            floating_ip_free(tx, floating)


def floating_ip_forget(tx: Tx, floating: FloatingIp) -> None:
    """Give the address back to its pool."""
    ports = ports_of_device(tx, floating.id, FLOATING_IP)
    addresses_release(tx, [port.id for port in ports])
    for port in ports:
        object_delete(tx, PORTS, port.id)
    object_delete(tx, FLOATING_IPS, floating.id)
    floating_ip_moved(tx, floating.port_id)
    log.info("floating_ip_released", address=floating.address, port=floating.port_id, project=floating.project_id)


def floating_ip_free(tx: Tx, floating: FloatingIp) -> None:
    """Take the address off its port; it stays the project's."""
    values = {"port_id": "", "fixed": "", "router_id": "", "up": False, "reason": "", "auto_for_instance": False}
    object_update(tx, FLOATING_IPS, floating.id, values)
    floating_ip_moved(tx, floating.port_id)
    log.info("floating_ip_disassociated", address=floating.address, port=floating.port_id)


def floating_ips_unseen(tx: Tx, found: Sequence[FloatingIp]) -> None:
    """Say that these paths are not what was seen to work: they are DOWN until a host sees them again."""
    for floating in found:
        if floating.up:
            object_update(tx, FLOATING_IPS, floating.id, {"up": False, "reason": ""})


def port_changed(tx: Tx, instance_id: str) -> None:
    """Say that a plugged port is not what it was, so that the host of its machine fetches it again."""
    if instance_id:
        instance_touch(tx, instance_id)


def port_moved(tx: Tx, port: Port) -> None:
    """Say that a port came to its host, or is about to leave it, to the hosts that it changes anything for.

    To its own where it is the only one of its network or of a group there, or has a public address; to every other
    that reaches its network, and so has to know where it is; and to those where a rule lets members of its groups in.
    """
    groups = groups_of_ports(tx, [port.id]).get(port.id, [])
    concerned = set(hosts_letting_in(tx, groups))
    if port.host_id:
        only = not network_has_ports(tx, port.network_id, port.host_id, port.id)
        if only or floating_ips_of_ports(tx, [port.id]) or _only_one_in(tx, port, groups):
            concerned.add(port.host_id)
        concerned |= _hosts_beside(tx, port)
    revision_network(tx, concerned)


def _hosts_beside(tx: Tx, port: Port) -> set[str]:
    """The other hosts that send frames to a port: none while there is one host."""
    return hosts_reaching(tx, port.network_id) - {port.host_id} if hosts_are_several(tx) else set()


def _groups_changed(tx: Tx, port: Port, before: Sequence[str], after: Sequence[str]) -> None:
    """Say that a port is in other groups, or has other addresses, where that changes what a host must know."""
    concerned = set(hosts_letting_in(tx, [*before, *after]))
    if port.host_id and _only_one_in(tx, port, sorted(set(before) ^ set(after))):
        concerned.add(port.host_id)
    revision_network(tx, concerned)


def _only_one_in(tx: Tx, port: Port, group_ids: Sequence[str]) -> bool:
    """Whether one of the groups has no other port on this port's host, which knows its rules by this port alone."""
    return any(not group_has_ports(tx, group_id, port.host_id, port.id) for group_id in group_ids)


def floating_ip_moved(tx: Tx, port_id: str) -> None:
    """Say that a public address came to a port or left it: the port's host translates it, and no other."""
    port = port_fetch(tx, port_id) if port_id else None
    if port is not None:
        revision_network(tx, [port.host_id])


def port_refetch(tx: Tx, port: Port) -> Port:
    """The port as it is stored now."""
    return port_fetch(tx, port.id) or port


def groups_check(tx: Tx, project_id: str, group_ids: Sequence[str]) -> None:
    """NotFound unless each is a group of the project."""
    known = {group.id for group in security_groups_fetch(tx, group_ids) if group.project_id == project_id}
    for group_id in group_ids:
        if group_id not in known:
            raise missing("SecurityGroup", group_id)


def pairs_check(pairs: Sequence[tuple[str, str]], protected: bool) -> list[tuple[str, str]]:
    """Return canonical pairs, each once; Conflict without port security, where they would mean nothing."""
    if pairs and not protected:
        message = "Port Security must be enabled in order to have allowed address pairs on a port."
        raise Conflict(message, code="AddressPairAndPortSecurityRequired")
    if len(pairs) > ADDRESS_PAIRS:
        message = f"The number of allowed address pair exceeds the maximum {ADDRESS_PAIRS}."
        raise BadInput(message, code="AllowedAddressPairExhausted")
    found = [(addresses.mac_parse(mac) if mac else "", addresses.pair_parse(text)) for mac, text in pairs]
    if len(set(found)) != len(found):
        raise BadInput("Request contains duplicate address pair.", code="DuplicateAddressPairInRequest")
    return found


def vnic_check(kind: str) -> str:
    """BadInput for cards that need hardware that no host here offers."""
    if kind not in VNIC_TYPES:
        raise addresses.invalid("binding:vnic_type", f"'{kind[:64]}' is not in {list(VNIC_TYPES)}.")
    return kind


def device_check(tx: Tx, project_id: str, device_id: str, device_owner: str) -> None:
    """Conflict when a tenant names another tenant's router; owners of the network service are for it alone."""
    if device_owner.startswith(RESERVED):
        raise BadInput(f"device_owner {device_owner[:64]} is for the network service.", code="InvalidInput")
    found = router_fetch(tx, device_id) if ids.is_id(device_id) else None
    if found is not None and found.project_id != project_id:
        message = f"The following device_id {device_id} is not owned by your tenant or matches another tenants router."
        raise Conflict(message, code="DeviceIDNotOwnedByTenant")


def _groups(tx: Tx, wanted: PortWanted, protected: bool) -> list[str]:
    """The groups of a new port: the default one unless others are named."""
    own = wanted.device_owner.startswith(RESERVED)
    if wanted.security_groups is None:
        return [security_group_default(tx, wanted.project_id).id] if protected and wanted.project_id and not own else []
    if wanted.security_groups and not protected:
        message = "Port security must be enabled in order to have allowed address pairs or security groups on a port."
        raise Conflict(message, code="PortSecurityAndIPRequiredForSecurityGroups")
    groups_check(tx, wanted.project_id, wanted.security_groups)
    return list(wanted.security_groups)


def _mac(tx: Tx, network_id: str, port_id: str, wanted: str, own: str = "") -> str:
    if wanted:
        mac = addresses.mac_parse(wanted)
        if mac != own and mac_taken(tx, network_id, mac):
            message = f"Unable to complete operation for network {network_id}. The mac address {mac} is in use."
            raise Conflict(message, code="MacAddressInUse")
        return mac
    for attempt in range(MAC_ATTEMPTS):
        mac = addresses.mac_of(port_id, attempt)
        if not mac_taken(tx, network_id, mac):
            return mac
    raise NoCapacity(f"Unable to generate unique mac on network {network_id}.", code="MacAddressGenerationFailure")
