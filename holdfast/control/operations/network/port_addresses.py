"""The addresses of one port: which subnets they come from, and what changes when others are asked for.

Invariant: whatever cannot be given raises, so that the transaction of the port ends and nothing is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.base.errors import BadInput, NoCapacity
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import floating_ips_of_ports
from holdfast.control.store.network.subnet import subnets_of_network
from holdfast.control.store.network.subnet_address import (
    address_release,
    address_take,
    address_take_exactly,
    addresses_of_ports,
)
from holdfast.domain import address as addresses
from holdfast.domain.network import Subnet
from holdfast.domain.port import RESERVED, FixedAddress, FixedWanted, Port


def addresses_give(tx: Tx, port: Port, wanted: Sequence[FixedWanted] | None) -> list[FixedAddress]:
    """Give a port what it asks for; None: one address of each family that its network has."""
    subnets = subnets_of_network(tx, port.network_id)
    if wanted is None:
        return _give_default(tx, port, subnets)
    return [_give(tx, port, subnets, one, place) for place, one in enumerate(wanted)]


def addresses_change(tx: Tx, port: Port, wanted: Sequence[FixedWanted]) -> None:
    """Make these the port's addresses. What it holds already and asks for again, it keeps."""
    held = addresses_of_ports(tx, [port.id]).get(port.id, [])
    kept: list[FixedAddress] = []
    missing_ones: list[tuple[int, FixedWanted]] = []
    for place, one in enumerate(wanted):
        match = next((h for h in held if h not in kept and _answers(h, one)), None)
        kept += [match] if match else []
        missing_ones += [] if match else [(place, one)]
    leaving = [fixed for fixed in held if fixed not in kept]
    public = {floating.fixed for floating in floating_ips_of_ports(tx, [port.id])}
    for fixed in leaving:
        if fixed.address in public:
            message = f"Address {fixed.address} of port {port.id} is used by a floating IP: disassociate it first."
            raise BadInput(message, code="BadRequest")
        address_release(tx, fixed)
    subnets = subnets_of_network(tx, port.network_id)
    for place, one in missing_ones:
        _give(tx, port, subnets, one, place)


def _answers(held: FixedAddress, wanted: FixedWanted) -> bool:
    same_subnet = not wanted.subnet_id or wanted.subnet_id == held.subnet_id
    return same_subnet and (not wanted.address or str(addresses.address_parse(wanted.address)) == held.address)


def _give_default(tx: Tx, port: Port, subnets: Sequence[Subnet]) -> list[FixedAddress]:
    """One IPv4 address and one that is handed out in IPv6, and an own one in each range where guests make them."""
    found: list[FixedAddress] = []
    for version in (4, 6):
        handing = [subnet for subnet in subnets if subnet.ip_version == version and not subnet.makes_own]
        if handing:
            found.append(_take(tx, port, handing, len(found)))
    for subnet in subnets:
        if subnet.makes_own and not port.device_owner.startswith(RESERVED):
            found.append(_give(tx, port, subnets, FixedWanted(subnet.id), len(found)))
    return found


def _give(tx: Tx, port: Port, subnets: Sequence[Subnet], wanted: FixedWanted, place: int) -> FixedAddress:
    if not wanted.address:
        subnet = next((s for s in subnets if s.id == wanted.subnet_id), None)
        if subnet is None:
            raise _not_here(port.network_id, wanted.subnet_id)
        if not subnet.makes_own or port.device_owner.startswith(RESERVED):
            return _take(tx, port, [subnet], place)
        own = addresses.eui64(addresses.range_parse(subnet.cidr), port.mac)
        return address_take_exactly(tx, subnet.id, own, port.id, place)
    address = addresses.address_parse(wanted.address)
    subnet = _subnet_of(address, subnets, wanted.subnet_id, port.network_id)
    if not addresses.is_host(address, addresses.range_parse(subnet.cidr)):
        message = f"IP address {address} is not a valid IP for the specified subnet."
        raise BadInput(message, code="InvalidIpForSubnet")
    return address_take_exactly(tx, subnet.id, str(address), port.id, place)


def _subnet_of(address: addresses.Address, subnets: Sequence[Subnet], subnet_id: str, network_id: str) -> Subnet:
    if subnet_id:
        named = next((s for s in subnets if s.id == subnet_id), None)
        if named is None:
            raise _not_here(network_id, subnet_id)
        if address not in addresses.range_parse(named.cidr):
            message = f"IP address {address} is not a valid IP for the specified subnet."
            raise BadInput(message, code="InvalidIpForSubnet")
        return named
    found = next((s for s in subnets if address in addresses.range_parse(s.cidr)), None)
    if found is None:
        message = f"IP address {address} is not a valid IP for any of the subnets on the specified network."
        raise BadInput(message, code="InvalidIpForNetwork")
    return found


def _not_here(network_id: str, subnet_id: str) -> BadInput:
    message = f"Failed to create port on network {network_id}, because fixed_ips included invalid subnet {subnet_id}."
    return BadInput(message, code="InvalidInput")


def _take(tx: Tx, port: Port, subnets: Sequence[Subnet], place: int) -> FixedAddress:
    found = address_take(tx, [subnet.id for subnet in subnets], port.id, place)
    if found is None:
        message = f"No more IP addresses available on network {port.network_id}."
        raise NoCapacity(message, code="IpAddressGenerationFailure")
    return found
