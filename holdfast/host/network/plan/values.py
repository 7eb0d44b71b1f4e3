"""Checked values: text from the control plane becomes an address, a range, a MAC or a number, or BadInput.

The control plane has checked them before; this is the last gate before the kernel, and trusts nobody.
"""

from __future__ import annotations

import ipaddress
import re

from holdfast.base.errors import BadInput

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = ipaddress.IPv4Network | ipaddress.IPv6Network


def mac(text: str) -> str:
    """A unicast MAC in lower case."""
    lower = text.lower()
    if not _MAC.fullmatch(lower) or int(lower[:2], 16) & 1 or lower == "00:00:00:00:00:00":
        raise BadInput("a MAC address is not one of a single card")
    return lower


def address(text: str) -> Address:
    """An address of a single card, of either version; a zone is refused."""
    try:
        value = ipaddress.ip_address(text)
    except ValueError as err:
        raise BadInput("an address is not valid") from err
    if value.is_unspecified or value.is_multicast or value.is_loopback or "%" in str(value):
        raise BadInput("an address is not one of a single card")
    return value


def resolver(text: str) -> Address:
    """An address to send questions to; the host itself is allowed."""
    try:
        return ipaddress.ip_address(text)
    except ValueError as err:
        raise BadInput("a resolver's address is not valid") from err


def address4(text: str) -> ipaddress.IPv4Address:
    value = address(text)
    if not isinstance(value, ipaddress.IPv4Address):
        raise BadInput("an IPv4 address is needed")
    return value


def network(text: str) -> Range:
    """A range; host bits are ignored."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as err:
        raise BadInput("a range of addresses is not valid") from err


def network4(text: str) -> ipaddress.IPv4Network:
    value = network(text)
    if not isinstance(value, ipaddress.IPv4Network):
        raise BadInput("an IPv4 range is needed")
    return value


def mtu(value: object) -> int:
    """A link's MTU in bytes; 576 is the least that IPv4 hosts must take, 9000 what real cards do."""
    if type(value) is not int or not 576 <= value <= 9000:
        raise BadInput("an MTU is out of range")
    return value


def link_local(mac_text: str) -> ipaddress.IPv6Address:
    """The link-local address that belongs to a MAC (RFC 4291, modified EUI-64)."""
    raw = bytes.fromhex(mac_text.replace(":", ""))
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:])
