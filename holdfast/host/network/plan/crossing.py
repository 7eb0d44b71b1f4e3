"""What may cross between two hosts in a tenant network: guests' own frames, and nothing that each host answers itself.

Gateway, DHCP and metadata have the same addresses, and a gateway the same MAC, on every host: they are asked and
answered where the guest is, and a frame that would carry such a question or answer elsewhere is dropped at both
ends. A guest may be routed on one host and answered on another, so one host sees one direction of such a flow:
what a gateway sends on to another host is not tracked there. Its rules are asked where the guest is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.base.limits import TUNNEL_PORT
from holdfast.host.network.plan.ruleset import Chain, Collection, Table

_MANY = "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00"  # broadcast and multicast


@dataclass(frozen=True, slots=True)
class Crossing:
    """A network's tunnel as its rules see it."""

    link: str
    gateways: tuple[str, ...]  # MACs
    answered: tuple[str, ...]  # addresses that every host has for itself
    remote: tuple[str, ...]  # MACs of ports on other hosts


def sets(crossing: Crossing, bridge_mac: str, here: Iterable[str]) -> tuple[Collection, ...]:
    """Of the bridge table; `here` are the MACs of this host's own ports."""
    return (
        _set("here", "type ether_addr;", here),
        _set("elsewhere", "type ether_addr;", crossing.remote),
        _set("own_macs", "type ether_addr;", (*crossing.gateways, bridge_mac)),
        _set("answered", "type ipv4_addr;", crossing.answered),
    )


def arriving(crossing: Crossing) -> str:
    """The rule of the bridge table's prerouting chain."""
    return f'iifname "{crossing.link}" goto arrived'


def leaving(crossing: Crossing) -> str:
    """The rule of the bridge table's forward chain."""
    return f'oifname "{crossing.link}" goto leaving'


def chains(crossing: Crossing) -> Iterable[Chain]:
    """Of the bridge table. `flooded` is its chain for frames to everybody."""
    yield Chain(
        "arrived",
        (
            "ether saddr @here drop",  # a guest that is here speaks from nowhere else
            "ether daddr @own_macs drop",
            "arp saddr ip @answered drop",
            "arp daddr ip @answered drop",
            "ip daddr @answered drop",
            "udp sport 67 drop",
            "udp dport 67 drop",
            "icmpv6 type { 134, 137 } drop",
            "ether type { arp, ip, ip6 } return",
            "drop",
        ),
    )
    yield Chain(
        "leaving",
        (
            "arp saddr ip @answered drop",
            "arp daddr ip @answered drop",
            f"{_MANY} goto flooded",
            "ether daddr != @elsewhere drop",
        ),
    )
    # the namespace itself speaks with this host's guests only
    own = f'oifname "{crossing.link}" drop'
    yield Chain("own", (own,), "type filter hook output priority -300; policy accept;")


def untracked(crossing: Crossing) -> tuple[tuple[Collection, ...], Chain]:
    """Of the inet table: what is routed here on its way to another host."""
    collections = (
        _set("gateways", "type ether_addr;", crossing.gateways),
        _set("elsewhere", "type ether_addr;", crossing.remote),
    )
    rule = "ether saddr @gateways ether daddr @elsewhere notrack"
    return collections, Chain("untracked", (rule,), "type filter hook prerouting priority -300; policy accept;")


def tunnels_table(prefix: str, own: str, ends: Iterable[str]) -> Table:
    """Of the host itself: its tunnels take packets from other hosts' ends and from nobody else, and none is sent on.

    Whoever could speak to a tunnel would write into every tenant's network. A guest behind this host's own address
    could: what it sends to another host leaves as this host's.
    """
    tunnels = f"udp dport {TUNNEL_PORT}"
    return Table(
        "ip",
        f"{prefix}-tun",
        (_set("ends", "type ipv4_addr;", ends),),
        (
            Chain(
                "input",
                (f"ip daddr {own} {tunnels} ip saddr != @ends drop",),
                "type filter hook input priority -10; policy accept;",
            ),
            Chain(
                "forward",
                (f"ip daddr @ends {tunnels} drop",),
                "type filter hook forward priority -10; policy accept;",
            ),
        ),
    )


def _set(name: str, declaration: str, elements: Iterable[str]) -> Collection:
    return Collection(name, declaration, frozenset(elements))
