"""Network interfaces: a port with its addresses, public addresses and groups, for whatever shows one.

Five queries for any number of them. EC2 has subnets where Neutron has networks: an interface is in the subnet
of its first IPv4 address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.api.ec2.facade import Members
from holdfast.api.ec2.lookup import ADDRESS, ASSOCIATION, GROUP, INTERFACE, SUBNET, association_uuid, vpc_id
from holdfast.base.ec2_ids import ec2_id
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import floating_ips_of_ports
from holdfast.control.store.network.port import groups_of_ports, ports_of_instance_ids
from holdfast.control.store.network.security_group import security_groups_fetch
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.domain.floating_ip import FloatingIp
from holdfast.domain.port import FixedAddress, Port
from holdfast.domain.security_group import SecurityGroup


@dataclass(frozen=True, slots=True)
class Card:
    """One network interface."""

    port: Port
    v4: tuple[FixedAddress, ...]
    v6: tuple[FixedAddress, ...]
    public: Mapping[str, FloatingIp]  # by the fixed address that it leads to
    groups: tuple[SecurityGroup, ...]
    index: int  # among the interfaces of its instance


def cards_of(tx: Tx, ports: Sequence[Port]) -> list[Card]:
    """The interfaces, in the ports' order; those of one instance are in the order they were plugged."""
    ids = [port.id for port in ports]
    fixed, group_ids = addresses_of_ports(tx, ids), groups_of_ports(tx, ids)
    groups = {g.id: g for g in security_groups_fetch(tx, sorted({g for held in group_ids.values() for g in held}))}
    public: dict[str, dict[str, FloatingIp]] = {}
    for floating in floating_ips_of_ports(tx, ids):
        public.setdefault(floating.port_id, {})[floating.fixed] = floating
    made, counts = [], dict[str, int]()
    for port in ports:
        held = fixed.get(port.id, [])
        index = counts.get(port.instance_id, 0)
        counts[port.instance_id] = index + 1
        made.append(
            Card(
                port,
                tuple(f for f in held if ":" not in f.address),
                tuple(f for f in held if ":" in f.address),
                public.get(port.id, {}),
                tuple(groups[g] for g in group_ids.get(port.id, [])),
                index,
            )
        )
    return made


def cards_of_instances(tx: Tx, instance_ids: Sequence[str]) -> dict[str, list[Card]]:
    """The interfaces of each instance."""
    found: dict[str, list[Card]] = {}
    for card in cards_of(tx, ports_of_instance_ids(tx, instance_ids)):
        found.setdefault(card.port.instance_id, []).append(card)
    return found


def group_views(card: Card) -> list[Members]:
    """`GroupSet` of whatever has groups."""
    return [{"GroupId": GROUP.id_of(group.id), "GroupName": group.name} for group in card.groups]


def subnet_id_of(card: Card) -> str | None:
    return SUBNET.id_of(card.v4[0].subnet_id) if card.v4 else None


def public_of(card: Card) -> FloatingIp | None:
    """The public address of the first private one."""
    return card.public.get(card.v4[0].address) if card.v4 else None


def attachment_id(card: Card) -> str:
    return ec2_id("eni-attach", card.port.id)


def card_view(card: Card, project_id: str) -> Members:
    """What an interface has wherever it is shown."""
    return {
        "NetworkInterfaceId": INTERFACE.id_of(card.port.id),
        "SubnetId": subnet_id_of(card),
        "VpcId": vpc_id(project_id),
        "Description": card.port.description,
        "OwnerId": card.port.project_id,
        "Status": "in-use" if card.port.device_owner else "available",
        "MacAddress": card.port.mac,
        "PrivateIpAddress": card.v4[0].address if card.v4 else None,
        "SourceDestCheck": card.port.port_security,
        "Groups": group_views(card),
        "Ipv6Addresses": [{"Ipv6Address": fixed.address} for fixed in card.v6],
        "InterfaceType": "interface",
    }


def association_view(floating: FloatingIp, *, ids: bool) -> Members:
    """Where a public address leads from; `ids` where the API shows those too. An automatic one has none."""
    view: Members = {"PublicIp": floating.address, "PublicDnsName": "", "IpOwnerId": floating.project_id}
    if ids and not floating.auto_for_instance:
        view["AllocationId"] = ADDRESS.id_of(floating.id)
        view["AssociationId"] = ASSOCIATION.id_of(association_uuid(floating))
    return view


def private_views(card: Card, *, ids: bool) -> list[Members]:
    """Every private address with the public one that leads to it."""
    return [
        {
            "PrivateIpAddress": fixed.address,
            "Primary": place == 0,
            "Association": association_view(card.public[fixed.address], ids=ids)
            if fixed.address in card.public
            else None,
        }
        for place, fixed in enumerate(card.v4)
    ]
