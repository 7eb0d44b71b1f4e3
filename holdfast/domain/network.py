"""Networks and their subnets: what they are and the rules that need no store.

Invariant: a stored subnet's cidr, gateway, nameservers and routes are canonical text that domain/address made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.base.limits import GUEST_MTU, SUBNET_NAMESERVERS, SUBNET_ROUTES
from holdfast.domain import address as addresses
from holdfast.domain.address import Pool, invalid

VXLAN, FLAT = "vxlan", "flat"
VNI_MAX = 16_777_215  # 24 bits
MTU_MIN = 68  # RFC 791; 1280 with IPv6
V6_MODES = ("", "slaac", "dhcpv6-stateful", "dhcpv6-stateless")


class Network(msgspec.Struct, frozen=True):
    """A layer 2 segment. Every network has a `vni`, an external one too: type is what an administrator called it."""

    id: str
    project_id: str
    name: str
    description: str
    admin_state_up: bool
    shared: bool  # every project may plug into it
    external: bool  # floating addresses and router gateways come from it
    mtu: int
    port_security: bool  # what its ports get
    network_type: str  # vxlan or flat
    physical_network: str  # of a flat one
    vni: int  # unique per cloud
    is_default: bool
    zone_hints: list[str]  # as its maker asked: every network is in every zone
    created_us: int
    updated_us: int
    revision: int


class NetworkWanted(msgspec.Struct, frozen=True):
    """What a caller asks for."""

    project_id: str
    name: str = ""
    description: str = ""
    admin_state_up: bool = True
    shared: bool = False
    external: bool = False
    mtu: int = GUEST_MTU
    port_security: bool = True
    network_type: str = ""
    physical_network: str = ""
    vni: int = 0  # 0: any
    is_default: bool = False
    zone_hints: list[str] = []


class Subnet(msgspec.Struct, frozen=True):
    """A range of a network. Its pools and what is taken are in control/store/network/subnet_address."""

    id: str
    project_id: str
    network_id: str
    name: str
    description: str
    ip_version: int
    cidr: str
    gateway: str  # empty: none
    dhcp: bool
    nameservers: list[str]
    routes: list[tuple[str, str]]  # (destination, next hop)
    ipv6_address_mode: str
    ipv6_ra_mode: str
    subnetpool_id: str  # what it was cut from; empty: nothing
    created_us: int
    updated_us: int
    revision: int

    @property
    def makes_own(self) -> bool:
        """Guests make their address from their MAC."""
        return self.ipv6_address_mode in ("slaac", "dhcpv6-stateless")


class SubnetWanted(msgspec.Struct, frozen=True):
    """What a caller asks for; None where the default is wanted."""

    project_id: str
    network_id: str
    cidr: str
    ip_version: int = 4
    name: str = ""
    description: str = ""
    gateway: str | None = None  # empty: none wanted
    dhcp: bool = True
    nameservers: Sequence[str] = ()
    routes: Sequence[tuple[str, str]] = ()
    pools: Sequence[Pool] | None = None
    ipv6_address_mode: str = ""
    ipv6_ra_mode: str = ""
    subnetpool_id: str = ""


def missing(noun: str, object_id: str) -> NotFound:
    """Neutron's words for what is not there, or not the caller's to see."""
    return NotFound(f"{noun} {object_id[:64]} could not be found.", code=f"{noun}NotFound")


def network_check(wanted: NetworkWanted) -> NetworkWanted:
    """Return it with its type; BadInput for what no network can be."""
    kind = wanted.network_type or (FLAT if wanted.external else VXLAN)
    if kind not in (VXLAN, FLAT):
        raise invalid("provider:network_type", f"'{kind[:64]}' is not one of vxlan, flat.")
    if kind == FLAT and not wanted.external:
        raise invalid("provider:network_type", "a flat network is supported as an external network only.")
    if kind == FLAT and wanted.vni:
        raise invalid("provider:segmentation_id", "a flat network has none.")
    if not 0 <= wanted.vni <= VNI_MAX:
        raise invalid("provider:segmentation_id", f"it is a number from 1 to {VNI_MAX}.")
    if kind == VXLAN and wanted.physical_network:
        raise invalid("provider:physical_network", "a vxlan network has none.")
    mtu_check(wanted.mtu)
    physical = (wanted.physical_network or "public") if kind == FLAT else ""
    return msgspec.structs.replace(wanted, network_type=kind, physical_network=physical, mtu=wanted.mtu or GUEST_MTU)


def mtu_check(mtu: int) -> None:
    """BadInput for a size that the tunnels do not carry; 0 asks for the largest."""
    if mtu != 0 and not MTU_MIN <= mtu <= GUEST_MTU:
        raise BadInput(f"Requested MTU is too big or too small: 68 to {GUEST_MTU} bytes.", code="InvalidInput")


def subnet_make(wanted: SubnetWanted, subnet_id: str, now_us: int) -> tuple[Subnet, list[Pool]]:
    """Return the subnet and its pools; BadInput, with Neutron's words, for what cannot be one."""
    within = addresses.subnet_range_parse(wanted.cidr)
    if within.version != wanted.ip_version:
        raise invalid("cidr", f"'{within}' is not an IPv{wanted.ip_version} range.")
    if wanted.dhcp and within.version == 4 and within.prefixlen > 30:
        reason = "Subnet has a prefix length that is incompatible with DHCP service enabled."
        raise BadInput(f"Invalid input for operation: {reason}", code="InvalidInput")
    _modes_check(wanted, within)
    gateway = addresses.gateway_default(within) if wanted.gateway is None else wanted.gateway
    if wanted.gateway:
        gateway = gateway_check(wanted.gateway, within)
    if wanted.pools is None:
        pools = addresses.pools_default(within, gateway)
    else:
        pools = addresses.pools_parse(wanted.pools, within, gateway)
        gateway_pool_check(gateway, pools)
    subnet = Subnet(
        id=subnet_id,
        project_id=wanted.project_id,
        network_id=wanted.network_id,
        name=wanted.name,
        description=wanted.description,
        ip_version=within.version,
        cidr=str(within),
        gateway=gateway,
        dhcp=wanted.dhcp,
        nameservers=nameservers_check(wanted.nameservers),
        routes=routes_check(wanted.routes, within.version),
        ipv6_address_mode=wanted.ipv6_address_mode,
        ipv6_ra_mode=wanted.ipv6_ra_mode,
        subnetpool_id=wanted.subnetpool_id,
        created_us=now_us,
        updated_us=now_us,
        revision=0,
    )
    return subnet, pools


def _modes_check(wanted: SubnetWanted, within: addresses.Range) -> None:
    modes = (wanted.ipv6_address_mode, wanted.ipv6_ra_mode)
    for field, mode in zip(("ipv6_address_mode", "ipv6_ra_mode"), modes, strict=True):
        if mode not in V6_MODES:
            raise invalid(field, f"'{mode[:64]}' is not in {list(V6_MODES[1:])}.")
    if any(modes) and (within.version == 4 or not wanted.dhcp):
        reason = "ipv6_ra_mode or ipv6_address_mode need an IPv6 subnet with enable_dhcp."
        raise BadInput(f"Invalid input for operation: {reason}", code="InvalidInput")
    if all(modes) and modes[0] != modes[1]:
        reason = f"ipv6_ra_mode set to '{modes[1]}' with ipv6_address_mode set to '{modes[0]}' is not valid."
        raise BadInput(f"Invalid input for operation: {reason}", code="InvalidInput")
    if modes[0] in ("slaac", "dhcpv6-stateless") and within.prefixlen != 64:
        raise BadInput(
            "Invalid input for operation: an IPv6 range for slaac or dhcpv6-stateless has a prefix of 64 bits.",
            code="InvalidInput",
        )


def gateway_check(text: str, within: addresses.Range) -> str:
    """Return the canonical gateway; BadInput unless it is a host address of the range."""
    gateway = addresses.address_parse(text, "gateway_ip")
    if not addresses.is_host(gateway, within):
        raise BadInput("Invalid input for operation: Gateway is not valid on subnet.", code="InvalidInput")
    return str(gateway)


def gateway_pool_check(gateway: str, pools: Sequence[Pool]) -> None:
    """Conflict when a pool would hand out the gateway."""
    for first, last in pools:
        if gateway and addresses.in_pools(gateway, [(first, last)]):
            message = f"Gateway ip {gateway} conflicts with allocation pool {first}-{last}."
            raise Conflict(message, code="GatewayConflictWithAllocationPools")


def nameservers_check(servers: Sequence[str]) -> list[str]:
    """Return canonical name servers, each once."""
    if len(servers) > SUBNET_NAMESERVERS:
        message = f"The number of DNS nameservers exceeds the limit {SUBNET_NAMESERVERS}."
        raise BadInput(message, code="DNSNameServersExhausted")
    found = [str(addresses.address_parse(server, "dns_nameservers")) for server in servers]
    if len(set(found)) != len(found):
        raise invalid("dns_nameservers", "an address is there twice.")
    return found


def routes_check(routes: Sequence[tuple[str, str]], version: int) -> list[tuple[str, str]]:
    """Return canonical (destination, next hop) pairs of one family, each once."""
    if len(routes) > SUBNET_ROUTES:
        raise BadInput(f"The number of host routes exceeds the limit {SUBNET_ROUTES}.", code="HostRoutesExhausted")
    found = []
    for destination, hop in routes:
        there, by = addresses.range_parse(destination, "host_routes"), addresses.address_parse(hop, "host_routes")
        if not there.version == by.version == version:
            raise invalid("host_routes", f"'{there}' by '{by}' is not a route of IPv{version}.")
        found.append((str(there), str(by)))
    if len(set(found)) != len(found):
        raise invalid("host_routes", "a route is there twice.")
    return found


def overlap_check(cidr: str, others: Mapping[str, str] | Sequence[Any]) -> None:
    """BadInput when the range meets one of the other subnets of its network."""
    within = addresses.range_parse(cidr)
    for other in others:
        there = addresses.range_parse(other)
        if there.version == within.version and there.overlaps(within):
            message = f"Requested subnet with cidr: {cidr} overlaps with another subnet of the network: {other}."
            raise BadInput(f"Invalid input for operation: {message}", code="InvalidInput")
