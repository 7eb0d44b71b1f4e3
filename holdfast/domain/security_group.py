"""Security groups and rules: what a legal rule is, in the one form that is stored.

Invariant: "any" is the empty text or -1, never NULL, so that a unique constraint sees two equal rules as equal.
"""

from __future__ import annotations

import ipaddress

import msgspec

from holdfast.base.errors import BadInput
from holdfast.domain import address as addresses

ANY = -1
DEFAULT = "default"
V4, V6 = "IPv4", "IPv6"
PROTOCOLS = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
_NAMES = {str(number): name for name, number in PROTOCOLS.items()}
_ALIASES = {"icmpv6": "ipv6-icmp", "any": "", "0": ""}
WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite")


class SecurityGroup(msgspec.Struct, frozen=True):
    """A named set of rules."""

    id: str
    project_id: str
    name: str
    description: str
    is_default: bool  # the one that ports get when nobody names another
    stateful: bool
    created_us: int
    updated_us: int
    revision: int


class SecurityGroupRule(msgspec.Struct, frozen=True):
    """One thing that is let through."""

    id: str
    project_id: str
    group_id: str
    direction: str  # ingress, egress
    ethertype: str  # IPv4, IPv6
    protocol: str  # a name of PROTOCOLS, or a number without one; empty: any
    protocol_shown: str  # as its maker wrote it: who says 17 reads 17
    port_min: int  # ICMP: the type; -1: any
    port_max: int  # ICMP: the code; -1: any
    remote_cidr: str
    remote_group: str
    description: str
    created_us: int
    updated_us: int
    revision: int


class RuleWanted(msgspec.Struct, frozen=True):
    """What a caller asks for."""

    group_id: str
    direction: str
    ethertype: str = V4
    protocol: str = ""
    port_min: int | None = None
    port_max: int | None = None
    remote_cidr: str = ""
    remote_group: str = ""
    description: str = ""


def protocol_parse(text: str, ethertype: str) -> str:
    """Return the stored word of a protocol name or number; BadInput for neither."""
    word = text.strip().lower()
    number = int(word) if word.isdigit() and word.isascii() and len(word) <= 3 else -1
    numbered = 0 <= number <= 255
    word = _NAMES.get(str(number), str(number)) if numbered else word
    word = _ALIASES.get(word, word)
    if word and word not in PROTOCOLS and not numbered:
        message = (
            f"Security group rule protocol {text[:64]} not supported. Only protocol values "
            f"{sorted(PROTOCOLS)} and integer representations [0 to 255] are supported."
        )
        raise BadInput(message, code="SecurityGroupRuleInvalidProtocol")
    if word == "icmp" and ethertype == V6:
        word = "ipv6-icmp"  # as Neutron reads it
    if word.startswith("ipv6-") and ethertype == V4:
        message = f"Invalid ethertype {ethertype} for protocol {word}."
        raise BadInput(message, code="SecurityGroupEthertypeConflictWithProtocol")
    return word


def protocol_filter(text: str) -> str:
    """The stored word that a filter means; an unknown one is its own and finds nothing."""
    word = _NAMES.get(text.strip(), text.strip().lower())
    return _ALIASES.get(word, word)


def _shown(given: str, stored: str) -> str:
    number = given.strip()
    return number if stored and number.isdigit() else stored


def rule_make(wanted: RuleWanted, rule_id: str, project_id: str, now_us: int) -> SecurityGroupRule:
    """Return the rule in its stored form; BadInput, with Neutron's words, for what is none."""
    if wanted.direction not in ("ingress", "egress"):
        raise addresses.invalid("direction", f"'{wanted.direction[:64]}' is not in ['ingress', 'egress'].")
    ethertype = {"ipv4": V4, "ipv6": V6}.get(wanted.ethertype.lower())
    if ethertype is None:
        raise addresses.invalid("ethertype", f"'{wanted.ethertype[:64]}' is not in ['IPv4', 'IPv6'].")
    if wanted.remote_cidr and wanted.remote_group:
        raise BadInput(
            "Only remote_ip_prefix or remote_group_id may be provided.", code="SecurityGroupMultipleRemoteEntites"
        )
    protocol = protocol_parse(wanted.protocol, ethertype)
    low, high = _ports_check(wanted, protocol)
    return SecurityGroupRule(
        id=rule_id,
        project_id=project_id,
        group_id=wanted.group_id,
        direction=wanted.direction,
        ethertype=ethertype,
        protocol=protocol,
        protocol_shown=_shown(wanted.protocol, protocol),
        port_min=low,
        port_max=high,
        remote_cidr=_remote_check(wanted.remote_cidr, ethertype) if wanted.remote_cidr else "",
        remote_group=wanted.remote_group,
        description=wanted.description,
        created_us=now_us,
        updated_us=now_us,
        revision=0,
    )


def _remote_check(text: str, ethertype: str) -> str:
    """A range with or without host bits, or one address: as Neutron takes it, canonical."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as err:
        raise addresses.invalid("remote_ip_prefix", f"'{text[:64]}' is not a valid IP subnet.") from err
    if (found.version == 4) != (ethertype == V4):
        message = f"Conflicting value ethertype {ethertype} for CIDR {text[:64]}."
        raise BadInput(message, code="SecurityGroupRuleParameterConflict")
    return str(found)


def _ports_check(wanted: RuleWanted, protocol: str) -> tuple[int, int]:
    """The two numbers, ANY for none; refused in the words that Neutron's clients know."""
    given = [value for value in (wanted.port_min, wanted.port_max) if value is not None]
    for value in given:
        if not 0 <= value <= 65_535:
            raise BadInput(f"Invalid value for port {value}.", code="SecurityGroupInvalidPortValue")
    low = ANY if wanted.port_min is None else wanted.port_min
    high = ANY if wanted.port_max is None else wanted.port_max
    if not given:
        return ANY, ANY
    if protocol in ("icmp", "ipv6-icmp"):
        _icmp_check(low, high)
        return low, high
    if not protocol:
        raise BadInput(
            "Must also specify protocol if port range is given.", code="SecurityGroupProtocolRequiredWithPorts"
        )
    if protocol not in WITH_PORTS:
        message = f"Port range cannot be specified for protocol {protocol}: only for {', '.join(WITH_PORTS)}, icmp."
        raise BadInput(message, code="SecurityGroupInvalidProtocolForPort")
    if 0 in given:
        raise BadInput("Invalid value for port 0.", code="SecurityGroupInvalidPortValue")
    if len(given) < 2 or low > high:
        message = "For TCP/UDP protocols, port_range_min must be <= port_range_max."
        raise BadInput(message, code="SecurityGroupInvalidPortRange")
    return low, high


def _icmp_check(kind: int, code: int) -> None:
    for field, attribute, value in (("type", "port_range_min", kind), ("code", "port_range_max", code)):
        if value > 255:
            message = f"Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255."
            raise BadInput(message, code="SecurityGroupInvalidIcmpValue")
    if kind == ANY:
        message = f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing."
        raise BadInput(message, code="SecurityGroupMissingIcmpType")
