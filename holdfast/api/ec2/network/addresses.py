"""Elastic addresses: taken, led to an instance, led away, given back.

An address that leads somewhere is never led elsewhere unless the caller says AllowReassociation (seed 000:
instances took each other's addresses). An instance's automatic address is not one of these: it is not listed,
and makes way when an elastic one comes.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import Facts, filter_of
from holdfast.api.ec2.instances.found import server_named
from holdfast.api.ec2.lookup import ADDRESS, ASSOCIATION, INSTANCE, INTERFACE, association_uuid, pick
from holdfast.api.ec2.network.interfaces import port_named
from holdfast.api.ec2.tags import no_tags
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, Conflict, NoCapacity, NotFound, NotSupported
from holdfast.control.operations.network.floating_ip import (
    external_network,
    floating_ip_associate,
    floating_ip_disassociate,
    floating_ip_release,
    floating_ip_take,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import FLOATING_IPS, floating_ip_of_fixed, floating_ip_visible
from holdfast.control.store.network.port import ports_fetch, ports_of_instance_ids
from holdfast.control.store.network.query import object_where
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.domain.floating_ip import FloatingIp, FloatingWanted
from holdfast.domain.instance import InstanceState
from holdfast.domain.port import Port

_FILTERS = {
    "allocation-id": "AllocationId",
    "association-id": "AssociationId",
    "domain": "Domain",
    "instance-id": "InstanceId",
    "network-border-group": "NetworkBorderGroup",
    "network-interface-id": "NetworkInterfaceId",
    "network-interface-owner-id": "NetworkInterfaceOwnerId",
    "private-ip-address": "PrivateIpAddress",
    "public-ip": "PublicIp",
}


def address_allocate(call: Call, members: Members) -> Members:
    """AllocateAddress: from the pool of the one external network, or of the one that PublicIpv4Pool names."""
    no_tags(members, "elastic-ip")
    for name in ("CustomerOwnedIpv4Pool", "IpamPoolId"):
        if members.get(name):
            raise NotSupported(f"This cloud does not do what {name} asks for.")
    if members.get("Domain", "vpc") not in ("vpc", "standard"):
        raise BadInput("Domain must be vpc or standard.", code="InvalidParameterValue")
    if members.get("Address"):
        call.authorise("create_floatingip:floating_ip_address")

    def change(tx: Tx) -> FloatingIp:
        outside = external_network(tx)
        if members.get("PublicIpv4Pool", outside.name) not in (outside.name, outside.id, "amazon"):
            raise NotFound("There is no such pool of public addresses.", code="InvalidPublicIpv4PoolID.NotFound")
        try:
            return floating_ip_take(tx, FloatingWanted(call.project_id, outside.id, address=members.get("Address", "")))
        except NoCapacity as err:
            message = "No public address is free; those given back lately are free again after a while."
            raise NoCapacity(message, code="InsufficientAddressCapacity") from err

    taken = call.services.store.write(change)
    return {"PublicIp": taken.address, "AllocationId": ADDRESS.id_of(taken.id), "Domain": "vpc"}


def address_associate(call: Call, members: Members) -> Members:
    """AssociateAddress: with an instance's only interface, or with the one that is named."""

    def change(tx: Tx) -> FloatingIp:
        floating, move = _asked(call, tx, members), members.get("AllowReassociation", False)
        call.authorise("update_floatingip", {"project_id": floating.project_id})
        port = _port_asked(call, tx, members)
        fixed = _fixed_asked(tx, port, members)
        other = floating_ip_of_fixed(tx, port.id, fixed)
        if other is not None and other.id != floating.id:
            _make_way(tx, other, move)
        # The operation refuses this too; here it is said in EC2's words.
        if floating.port_id and (floating.port_id, floating.fixed) != (port.id, fixed) and not move:
            raise _in_use(f"resource {ADDRESS.id_of(floating.id)} is already associated with another interface")
        return floating_ip_associate(tx, floating, port.id, fixed, move=move)

    return {"AssociationId": ASSOCIATION.id_of(association_uuid(call.services.store.write(change)))}


def address_disassociate(call: Call, members: Members) -> Members:
    """DisassociateAddress: an address that leads nowhere has none to end."""

    def change(tx: Tx) -> None:
        rows = [row for row in _all(tx, call.project_id) if row.port_id]
        if members.get("AssociationId"):
            floating = pick(ASSOCIATION, [members["AssociationId"]], rows, association_uuid)[0]
        else:
            floating = _by_address(rows, members, ASSOCIATION.missing)
        call.authorise("update_floatingip", {"project_id": floating.project_id})
        floating_ip_disassociate(tx, floating)

    call.services.store.write(change)
    return {}


def address_release(call: Call, members: Members) -> Members:
    """ReleaseAddress: never one that leads somewhere."""

    def change(tx: Tx) -> None:
        floating = _asked(call, tx, members)
        call.authorise("delete_floatingip", {"project_id": floating.project_id})
        if floating.port_id:
            message = f"Address {floating.address} is in use: disassociate it first."
            raise Conflict(message, code="InvalidIPAddress.InUse")
        floating_ip_release(tx, floating)

    call.services.store.write(change)
    return {}


def addresses_describe(call: Call, members: Members) -> Members:
    """DescribeAddresses."""
    passes = filter_of(members.get("Filters", []), _FILTERS)
    asked, texts = members.get("AllocationIds", []), members.get("PublicIps", [])

    def look(tx: Tx) -> list[Members]:
        rows = _all(tx, call.project_id)
        named = pick(ADDRESS, asked, rows, lambda row: row.id)
        named += [_by_address(rows, {"PublicIp": text}) for text in texts]
        kept = named if asked or texts else rows
        ports = ports_fetch(tx, [row.port_id for row in kept if row.port_id])
        return [_view(row, ports.get(row.port_id)) for row in dict.fromkeys(kept)]

    views = call.services.store.read(look)
    return {"Addresses": [view for view in views if passes(_facts(view))]}


def _all(tx: Tx, project_id: str) -> list[FloatingIp]:
    """The project's elastic addresses, oldest first."""
    rows: list[FloatingIp] = object_where(tx, FLOATING_IPS, floating_ip_visible(project_id))
    return [row for row in rows if not row.auto_for_instance]


def _asked(call: Call, tx: Tx, members: Members) -> FloatingIp:
    rows = _all(tx, call.project_id)
    if members.get("AllocationId"):
        return pick(ADDRESS, [members["AllocationId"]], rows, lambda row: row.id)[0]
    return _by_address(rows, members)


def _by_address(rows: Sequence[FloatingIp], members: Members, missing: str = "InvalidAddress.NotFound") -> FloatingIp:
    text = members.get("PublicIp", "")
    if not text:
        raise BadInput(
            "The request must name the address: AllocationId, AssociationId or PublicIp.", code="MissingParameter"
        )
    found = [row for row in rows if row.address == text]
    if not found:
        raise NotFound(f"Address '{text[:64]}' not found.", code=missing)
    return found[0]


def _port_asked(call: Call, tx: Tx, members: Members) -> Port:
    if members.get("NetworkInterfaceId"):
        return port_named(call, tx, members["NetworkInterfaceId"])
    if not members.get("InstanceId"):
        raise BadInput("The request must name InstanceId or NetworkInterfaceId.", code="MissingParameter")
    row = server_named(call, tx, members["InstanceId"]).instance
    if row.state in (InstanceState.DELETING, InstanceState.DELETED):
        message = f"The instance '{members['InstanceId']}' is not in a valid state for this operation."
        raise Conflict(message, code="IncorrectInstanceState")
    ports = ports_of_instance_ids(tx, [row.id])
    if len(ports) != 1:
        count = "no interface" if not ports else "several interfaces: name one by NetworkInterfaceId"
        raise BadInput(f"The instance '{members['InstanceId']}' has {count}.", code="InvalidInstanceID")
    return ports[0]


def _fixed_asked(tx: Tx, port: Port, members: Members) -> str:
    held = [fixed.address for fixed in addresses_of_ports(tx, [port.id]).get(port.id, []) if ":" not in fixed.address]
    wanted: str = members.get("PrivateIpAddress", "")
    if not held or (wanted and wanted not in held):
        message = f"The network interface has no private address {wanted[:64]}".strip()
        raise BadInput(message, code="InvalidParameterValue")
    return wanted or held[0]


def _make_way(tx: Tx, other: FloatingIp, move: bool) -> None:
    """Free a private address of the public one that it has."""
    if other.auto_for_instance:
        floating_ip_release(tx, other)
    elif move:
        floating_ip_disassociate(tx, other)
    else:
        raise _in_use("the private address has another public address already")


def _in_use(words: str) -> Conflict:
    return Conflict(
        f"{words[0].upper()}{words[1:]}. Say AllowReassociation to move it.", code="Resource.AlreadyAssociated"
    )


def _view(row: FloatingIp, port: Port | None) -> Members:
    view: Members = {
        "PublicIp": row.address,
        "AllocationId": ADDRESS.id_of(row.id),
        "Domain": "vpc",
        "Tags": [],
        "InstanceId": None,
        "NetworkBorderGroup": None,
    }
    if port is None:
        return view
    return {
        **view,
        "AssociationId": ASSOCIATION.id_of(association_uuid(row)),
        "InstanceId": INSTANCE.id_of(port.instance_id) if port.instance_id else None,
        "NetworkInterfaceId": INTERFACE.id_of(port.id),
        "NetworkInterfaceOwnerId": port.project_id,
        "PrivateIpAddress": row.fixed,
    }


def _facts(view: Members) -> Facts:
    return {name: [view[member]] if view.get(member) else [] for name, member in _FILTERS.items()}


ACTIONS = {
    "AllocateAddress": Action("create_floatingip", address_allocate),
    "AssociateAddress": Action("update_floatingip", address_associate),
    "DisassociateAddress": Action("update_floatingip", address_disassociate),
    "ReleaseAddress": Action("delete_floatingip", address_release),
    "DescribeAddresses": Action("get_floatingip", addresses_describe),
}
