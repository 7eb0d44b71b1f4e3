"""Addresses, ranges and MACs: what is a legal one, and what is inside which. Pure arithmetic.

Text is canonical everywhere else (`10.0.0.5`, `fa:16:3e:00:00:01`): whatever a caller writes goes through a
parse function here first, so that two spellings of one address can never both be taken.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from holdfast.base.errors import BadInput

Range = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Pool = tuple[str, str]  # first and last address, both included

MAC_PREFIX = "fa:16:3e"  # Neutron's own
POOL_RECYCLED_MAX = 1 << 24  # addresses; a larger pool is never walked to its end, so nothing is remembered of it
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def invalid(field: str, reason: str) -> BadInput:
    """The error Neutron gives for an attribute that fails its check."""
    return BadInput(f"Invalid input for {field}. Reason: {reason}", code="HTTPBadRequest")


def range_parse(text: str, field: str = "cidr") -> Range:
    """Return the range of a CIDR whose host bits are zero; BadInput otherwise."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as err:
        raise invalid(field, f"'{text[:64]}' is not a valid IP subnet.") from err
    if "/" not in text or str(found) != text.strip().lower():
        raise invalid(field, f"'{text[:64]}' isn't a recognized IP subnet cidr, '{found}' is recommended.")
    return found


def subnet_range_parse(text: str) -> Range:
    """Return a range that guests may live in: not everything, not multicast, loopback or link-local."""
    found = range_parse(text)
    special = found.is_multicast or found.is_loopback or found.is_link_local
    if found.prefixlen == 0 or special or found.network_address.is_unspecified:
        raise invalid("cidr", f"'{found}' is a reserved range and cannot be a subnet.")
    if found.version == 4 and found.overlaps(ipaddress.ip_network("169.254.0.0/16")):
        raise invalid("cidr", f"'{found}' overlaps the metadata address's range.")
    return found


def address_parse(text: str, field: str = "ip_address") -> Address:
    """Return an address; BadInput for anything else (scoped ones too)."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError as err:
        raise invalid(field, f"'{text[:64]}' is not a valid IP address.") from err
    if isinstance(found, IPv6Address) and found.scope_id:
        raise invalid(field, f"'{text[:64]}' is not a valid IP address.")
    return found


def pair_parse(text: str) -> str:
    """Return the canonical address or range of an allowed address pair."""
    if "/" in text:
        return str(range_parse(text, "allowed_address_pairs"))
    return str(address_parse(text, "allowed_address_pairs"))


def is_host(address: Address, within: Range) -> bool:
    """Say whether a guest may have the address: inside, and neither the network's own nor its broadcast."""
    if address.version != within.version or address not in within:
        return False
    if within.prefixlen >= within.max_prefixlen - 1:
        return True  # /31, /32, /127 and /128 have only hosts
    last = within.broadcast_address if within.version == 4 else None
    return address not in (within.network_address, last)


def gateway_default(within: Range) -> str:
    """The address of the gateway when nobody says: the first host; none where there is one address only."""
    if within.prefixlen == within.max_prefixlen:
        return ""
    if within.prefixlen == within.max_prefixlen - 1:
        return str(within.network_address)
    return str(within.network_address + 1)


def pools_default(within: Range, gateway: str) -> list[Pool]:
    """Every host address but the gateway, as one or two pools."""
    whole = within.prefixlen >= within.max_prefixlen - 1
    low = int(within.network_address) + (0 if whole else 1)
    high = int(within.broadcast_address) - (0 if whole or within.version == 6 else 1)
    kind = type(within.network_address)
    spans = [(low, high)]
    if gateway and low <= (gate := int(ipaddress.ip_address(gateway))) <= high:
        spans = [(low, gate - 1), (gate + 1, high)]
    return [(str(kind(first)), str(kind(last))) for first, last in spans if first <= last]


def pools_parse(pools: Iterable[tuple[str, str]], within: Range, gateway: str) -> list[Pool]:
    """Return the pools in order; BadInput unless each is inside the range, apart from the others and the gateway."""
    spans: list[tuple[Address, Address]] = []
    for first_text, last_text in pools:
        first = address_parse(first_text, "allocation_pools")
        last = address_parse(last_text, "allocation_pools")
        wrong = first.version != within.version or last.version != first.version or int(last) < int(first)
        if wrong:
            raise BadInput(f"The allocation pool {first}-{last} is not valid.", code="InvalidAllocationPool")
        if not (is_host(first, within) and is_host(last, within)):
            message = f"The allocation pool {first}-{last} spans beyond the subnet cidr {within}."
            raise BadInput(message, code="OutOfBoundsAllocationPool")
        spans.append((first, last))
    spans.sort(key=lambda span: int(span[0]))
    for (first, last), (second, end) in itertools.pairwise(spans):
        if int(second) <= int(last):
            message = f"Found overlapping allocation pools: {first}-{last} and {second}-{end} for subnet {within}."
            raise BadInput(message, code="OverlappingAllocationPools")
    return [(str(first), str(last)) for first, last in spans]


def pool_size(pool: Pool) -> int:
    """How many addresses a pool has."""
    return int(ipaddress.ip_address(pool[1])) - int(ipaddress.ip_address(pool[0])) + 1


def pool_slice(pool: Pool, offset: int, count: int) -> list[str]:
    """The addresses of a pool from an offset on."""
    first = ipaddress.ip_address(pool[0])
    return [str(first + n) for n in range(offset, min(offset + count, pool_size(pool)))]


def in_pools(address: str, pools: Sequence[Pool]) -> bool:
    """Say whether one of the pools has the address."""
    number = int(ipaddress.ip_address(address))
    return any(int(ipaddress.ip_address(a)) <= number <= int(ipaddress.ip_address(b)) for a, b in pools)


def mac_parse(text: str) -> str:
    """Return the canonical form of a MAC that a card may have; BadInput otherwise."""
    found = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(found) or found == "00:00:00:00:00:00" or int(found[:2], 16) & 1:
        raise invalid("mac_address", f"'{text[:64]}' is not a valid MAC address.")
    return found


def mac_of(port_id: str, attempt: int) -> str:
    """Return the MAC that a port tries at its nth attempt; as random as its id."""
    digest = hashlib.sha256(f"{port_id} {attempt}".encode()).hexdigest()
    return f"{MAC_PREFIX}:{digest[:2]}:{digest[2:4]}:{digest[4:6]}"


def eui64(within: Range, mac: str) -> str:
    """The address that a guest with this MAC makes for itself in an IPv6 range of 64 bits."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    interface = int.from_bytes(bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]]), "big")
    return str(IPv6Address(int(within.network_address) | interface))


def is_tunnel_end(text: str) -> bool:
    """Whether other hosts can send to that address: it is an IPv4 one, and not what a machine calls itself."""
    try:
        address = IPv4Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def host_name_parse(text: str) -> str:
    """Return a name that DHCP and DNS may carry: one label, nothing that a configuration file could trip over."""
    if text and not _HOST_NAME.fullmatch(text.lower()):
        raise invalid("dns_name", f"'{text[:64]}' is not a valid DNS label.")
    return text.lower()
