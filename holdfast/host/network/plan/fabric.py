"""Several compute hosts on one machine, as data: a namespace each, and two wires between them.

    the underlay   hosts reach each other (tunnels) and the control plane on it; nobody else reaches it
    the public     the uplink of every host; the machine is the gateway of the public networks there

The machine is number 0 and hosts count from 1. One range is cut into blocks: the first is the underlay's, and block
N is what the routers of host N are called on the public wire.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.base.errors import BadInput
from holdfast.base.limits import FABRIC_BLOCKS_LOG2
from holdfast.host.network.plan import values
from holdfast.host.network.plan.layout import EXTERNAL_MTU, Link, Reach, Space
from holdfast.host.network.plan.names import mac_of
from holdfast.host.network.plan.nat import edge_table
from holdfast.host.network.plan.ruleset import Chain, Collection, Table

UNDERLAY, UPLINK = "underlay", "uplink"  # what a host's ends of the two wires are called in its namespace


@dataclass(frozen=True, slots=True)
class Seat:
    """One host's place. `prefix` is that of its own kernel objects."""

    number: int
    prefix: str

    @property
    def space(self) -> str:
        return f"{self.prefix}-host"


@dataclass(frozen=True, slots=True)
class Ranges:
    """Every address between hosts of one machine."""

    whole: ipaddress.IPv4Network

    def block(self, number: int) -> ipaddress.IPv4Network:
        size = self.whole.num_addresses >> FABRIC_BLOCKS_LOG2
        first = int(self.whole.network_address) + number * size
        return ipaddress.IPv4Network((first, self.whole.prefixlen + FABRIC_BLOCKS_LOG2))

    def address(self, number: int) -> ipaddress.IPv4Address:
        """On the underlay; 0 is the machine."""
        return self.block(0).network_address + 1 + number

    def routers(self) -> list[ipaddress.IPv4Network]:
        """All blocks but the underlay's."""
        return sorted(self.whole.address_exclude(self.block(0)))


def ranges_of(cidr: str) -> Ranges:
    """Read the range; BadInput for one that is too small."""
    whole = values.network4(cidr)
    if not 8 <= whole.prefixlen <= 20:
        raise BadInput(f"the range between hosts, {cidr}, must have a prefix length from 8 to 20", code="bad_setting")
    return Ranges(whole)


def reach_of(seat: Seat, ranges: Ranges) -> Reach:
    """How that host reaches the others and the outside."""
    return Reach(str(ranges.address(seat.number)), UPLINK, ranges.block(seat.number))


def machine_prefix(prefix: str) -> str:
    """Of the machine's own objects, beside those of its hosts."""
    return f"{prefix}0"


def spaces(prefix: str, seats: Sequence[Seat], ranges: Ranges, publics: Sequence[tuple[str, str]]) -> list[Space]:
    """The machine's part and a namespace for each host; `publics` are (range, gateway)."""
    own = machine_prefix(prefix)
    return [_machine(own, ranges, publics), *(_host(own, seat, ranges) for seat in seats)]


def bridges(prefix: str) -> tuple[str, str]:
    """The underlay's and the public one, in the machine's namespace."""
    own = machine_prefix(prefix)
    return f"{own}-under", f"{own}-public"


def _machine(own: str, ranges: Ranges, publics: Sequence[tuple[str, str]]) -> Space:
    under, public = f"{own}-under", f"{own}-public"
    gateways = [(values.network4(cidr), values.address4(gateway)) for cidr, gateway in publics]
    links = (
        Link(under, "bridge", mac_of(under), EXTERNAL_MTU, (f"{ranges.address(0)}/{ranges.block(0).prefixlen}",)),
        Link(public, "bridge", mac_of(public), EXTERNAL_MTU, tuple(f"{g}/{net.prefixlen}" for net, g in gateways)),
    )
    hidden = [*(net for net, _ in gateways), *ranges.routers()]
    tables = (edge_table(own, [(public, str(net), True) for net in hidden]), _underlay_table(own, under, ranges))
    sysctls = (
        ("ipv4/ip_forward", "1"),
        (f"ipv6/conf/{under}/disable_ipv6", "1"),
        (f"ipv6/conf/{public}/disable_ipv6", "1"),
    )
    return Space("", "host", "", links, (), sysctls, tables)


def _underlay_table(own: str, bridge: str, ranges: Ranges) -> Table:
    """Guests come in by the public wire: from there, or from anywhere else, nothing reaches the underlay."""
    here = Collection("here", "type ifname;", frozenset({f'"{bridge}"', '"lo"'}))
    block = ranges.block(0)
    return Table(
        "ip",
        f"{own}-under",
        (here,),
        (
            Chain(
                "input",
                (f"iifname != @here ip daddr {block} drop",),
                "type filter hook input priority -10; policy accept;",
            ),
            Chain(
                "forward",
                (f'iifname != "{bridge}" oifname "{bridge}" ct state != {{ established, related }} drop',),
                "type filter hook forward priority -10; policy accept;",
            ),
            Chain(
                "postrouting",
                (f'oifname != "{bridge}" ip saddr {block} masquerade',),
                "type nat hook postrouting priority 100; policy accept;",
            ),
        ),
    )


def _host(own: str, seat: Seat, ranges: Ranges) -> Space:
    address, block = ranges.address(seat.number), ranges.block(0)
    ends = [(UNDERLAY, "u", "under", (f"{address}/{block.prefixlen}",)), (UPLINK, "p", "public", ())]
    links = tuple(
        Link(name, "veth", mac_of(f"{own}/{seat.number}/{name}"), EXTERNAL_MTU, addresses, far, "", f"{own}-{bridge}")
        for name, letter, bridge, addresses in ends
        for far in (f"{own}-{letter}{seat.number}",)
    )
    sysctls = tuple((f"ipv6/conf/{which}/disable_ipv6", "1") for which in ("all", "default"))
    return Space(seat.space, "host", "", links, (("default", str(ranges.address(0)), UNDERLAY),), sysctls, ())
