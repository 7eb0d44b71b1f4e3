"""Security group rules: a tenant's words become checked values, and nothing else goes on.

A rule that cannot be understood raises BadInput and is left out, alone. A `Match` is written as nft text for
the kernel, and can judge an existing flow: what a new connection may do is what an old one may go on doing.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from holdfast.base.errors import BadInput
from holdfast.domain.desired import Rule
from holdfast.domain.security_group import ANY, PROTOCOLS, WITH_PORTS
from holdfast.host.network.plan.names import digest

ICMP, ICMP6, TCP = PROTOCOLS["icmp"], PROTOCOLS["ipv6-icmp"], PROTOCOLS["tcp"]
PORTED = frozenset(PROTOCOLS[name] for name in WITH_PORTS)


@dataclass(frozen=True, slots=True)
class Match:
    """One rule with every value checked. `protocol` is 0 to 255 or ANY; a port range or an ICMP type and code."""

    ingress: bool
    version: int  # 4 or 6
    protocol: int
    low: int
    high: int
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    group: str


def read_rule(rule: Rule) -> Match:
    """Check every field; raises BadInput."""
    if rule.direction not in ("ingress", "egress"):
        raise BadInput("a rule's direction is ingress or egress")
    version = {"IPv4": 4, "IPv6": 6}.get(rule.ethertype)
    if version is None:
        raise BadInput("a rule's ethertype is IPv4 or IPv6")
    protocol = _protocol(rule.protocol, version)
    low, high = _range(protocol, rule.port_min, rule.port_max)
    network = _network(rule.remote_cidr, version)
    return Match(rule.direction == "ingress", version, protocol, low, high, network, rule.remote_group)


def match_text(match: Match) -> str:
    """The condition as nft text; made of integers, addresses and the name of a set."""
    words = [f"meta nfproto ipv{match.version}"]
    family, side = ("ip", "ip6")[match.version == 6], ("daddr", "saddr")[match.ingress]
    if match.protocol != ANY:
        words.append(f"meta l4proto {match.protocol}")
    if match.protocol in PORTED and match.low != ANY:
        words.append(f"th dport {match.low}-{match.high}" if match.low != match.high else f"th dport {match.low}")
    if match.protocol in (ICMP, ICMP6):
        words.extend(_icmp_words(match))
    if match.network is not None and match.network.prefixlen:
        words.append(f"{family} {side} {match.network}")
    if match.group:
        words.append(f"{family} {side} @{group_set(match.group, match.version)}")
    return " ".join(words)


def group_set(group: str, version: int) -> str:
    """The name of the set that holds a group's member addresses."""
    return f"g{version}_{digest(group)}"


def _icmp_words(match: Match) -> list[str]:
    name = "icmp" if match.protocol == ICMP else "icmpv6"
    words = [f"{name} type {match.low}"] if match.low != ANY else []
    return [*words, f"{name} code {match.high}"] if match.high != ANY else words


def _protocol(text: str, version: int) -> int:
    if text in ("", "any"):
        return ANY
    number = PROTOCOLS.get(text, ANY)
    if number == ANY and text.isascii() and text.isdigit() and int(text[:4]) <= 255 and len(text) <= 3:
        number = int(text)
    if number == ANY:
        raise BadInput("a rule's protocol is not known")
    if version == 6 and number == ICMP:
        number = ICMP6  # Neutron takes icmp with IPv6 for what was meant
    if version == 4 and number == ICMP6:
        raise BadInput("ICMPv6 does not go over IPv4")
    return number


def _range(protocol: int, low: object, high: object) -> tuple[int, int]:
    """Port range or ICMP type and code; ANY where nothing is said."""
    if type(low) is not int or type(high) is not int:
        raise BadInput("a rule's ports are numbers")
    if low == ANY and high == ANY:
        return ANY, ANY
    if protocol in (ICMP, ICMP6):
        if not (0 <= low <= 255 and -1 <= high <= 255):
            raise BadInput("an ICMP type or code is out of range")
        return low, high
    if protocol not in PORTED:
        raise BadInput("a port range needs a protocol that has ports")
    low, high = (high if low == ANY else low), (low if high == ANY else high)
    if not 0 <= low <= high <= 65535:
        raise BadInput("a port range is out of order or out of range")
    return low, high


def _network(text: str, version: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if not text:
        return None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as err:
        raise BadInput("a rule's remote range is not a network") from err
    if network.version != version:
        raise BadInput("a rule's remote range is of the other IP version")
    return network
