"""The rules of one tenant network: who a port may claim to be, and what may reach it.

Two tables in the network's namespace. `bridge` is stateless and first: a frame whose MAC, ARP sender or IP
source is not the port's own, a VLAN tag, an unknown ethertype, a DHCP server or a router advertisement never
enters the bridge, and a unicast frame never reaches another port than its owner's. `inet` has the security
groups, with connection tracking, in the forward hook that bridge-nf-call-iptables feeds (no kernel we know
lacks it, several lack tracking in the bridge family). Ports are told apart by MAC there, which the first
table has proved. A link that no set names can send nothing at all: a tap is dead until its rules are in.

In a port's chain `return` means allowed by this half, and `accept` in a base chain would end the other half.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.base.limits import ARRIVED_S
from holdfast.host.network.plan import crossing
from holdfast.host.network.plan.crossing import Crossing
from holdfast.host.network.plan.names import digest
from holdfast.host.network.plan.rules import Match, group_set, match_text
from holdfast.host.network.plan.ruleset import Chain, Collection, Table

ARRIVED = "arrived"  # MACs that the kernel forgets by itself; no plan has any
METADATA_ADDRESS = "169.254.169.254"
DISCOVERY = "{ 130, 131, 132, 133, 134, 135, 136, 143 }"  # ICMPv6 neighbour discovery and group membership
Source = tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]


@dataclass(frozen=True, slots=True)
class Guard:
    """A port as the firewall sees it; every value checked."""

    link: str
    mac: str
    sources: tuple[Source, ...]  # (mac, range) that it may send from
    targets: tuple[int, ...]  # its own IPv6 addresses: what it may advertise to neighbours
    filtered: bool
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """What a network's namespace answers itself, and the links that are not guests'."""

    bridge_mac: str
    legs: tuple[str, ...]
    dhcp_addresses: tuple[str, ...]
    crossing: Crossing | None = None  # None: this host has no tunnels


def tables(prefix: str, side: Side, guards: Sequence[Guard], groups: dict[str, tuple[str, ...]]) -> tuple[Table, ...]:
    """The two tables; `groups` are the member addresses of each group that a match names."""
    return (_bridge(prefix, side, guards), _inet(prefix, side, guards, groups))


def _bridge(prefix: str, side: Side, guards: Sequence[Guard]) -> Table:
    filtered = [guard for guard in guards if guard.filtered]
    free = {f'"{guard.link}"' for guard in guards if not guard.filtered} | {f'"{leg}"' for leg in side.legs}
    sources = [(guard.link, mac, net) for guard in filtered for mac, net in _collapsed(guard.sources)]
    macs = {f'"{guard.link}" . {mac}' for guard in filtered for mac in {guard.mac, *(m for m, _ in guard.sources)}}
    collections = (
        _set("free", "type ifname;", free),
        _set("ports", "type ifname;", (f'"{guard.link}"' for guard in filtered)),
        _set("macs", "type ifname . ether_addr;", macs),
        *(
            _set(
                f"from{version}",
                f"type ifname . ether_addr . ipv{version}_addr; flags interval;",
                (f'"{link}" . {mac} . {_element(net)}' for link, mac, net in sources if net.version == version),
            )
            for version in (4, 6)
        ),
    )
    chains = tuple(_bridge_chains(side, filtered))
    if side.crossing:
        here = {guard.mac for guard in guards}
        collections += crossing.sets(side.crossing, side.bridge_mac, here)
        chains += tuple(crossing.chains(side.crossing))
    return Table("bridge", prefix, collections, chains)


def _bridge_chains(side: Side, filtered: Sequence[Guard]) -> Iterable[Chain]:
    to_metadata = f"ip daddr {METADATA_ADDRESS} ether daddr set {side.bridge_mac} meta pkttype set host"
    yield Chain(
        "prerouting",
        (
            "iifname @ports jump port",
            *((crossing.arriving(side.crossing),) if side.crossing else ()),
            "iifname != @ports iifname != @free drop",
            # whatever next hop a guest was given, this network's own namespace answers for metadata
            f"ether type ip {to_metadata}",
        ),
        "type filter hook prerouting priority -300; policy accept;",
    )
    yield from _port_chains(filtered)
    yield Chain(
        "forward",
        (
            *((crossing.leaving(side.crossing),) if side.crossing else ()),
            "oifname @free return",
            "oifname != @ports drop",
            "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 goto flooded",
            "oifname . ether daddr != @macs drop",
        ),
        "type filter hook forward priority -300; policy accept;",
    )
    # a flooded frame has no single receiver whose rules could be asked: only address resolution passes
    yield Chain("flooded", ("ether type arp return", f"icmpv6 type {DISCOVERY} return", "drop"))


def _port_chains(filtered: Sequence[Guard]) -> Iterable[Chain]:
    """What a guest may send: `return` lets it go on."""
    yield Chain(
        "port",
        (
            "iifname . ether saddr != @macs drop",
            "ether type vmap { arp : goto port_arp, ip : goto port_ip4, ip6 : goto port_ip6 }",
            "drop",
        ),
    )
    yield Chain(
        "port_arp",
        (
            "arp htype != 1 drop",
            "arp ptype != 0x0800 drop",
            "iifname . arp saddr ether . arp saddr ip @from4 return",
            "iifname . arp saddr ether @macs arp operation request arp saddr ip 0.0.0.0 return",
            "drop",
        ),
    )
    yield Chain(
        "port_ip4",
        (
            "udp sport 67 drop",
            "iifname . ether saddr . ip saddr @from4 return",
            "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return",
            "drop",
        ),
    )
    yield Chain(
        "port_ip6",
        (
            "udp sport 547 drop",
            "icmpv6 type { 134, 137 } drop",
            "icmpv6 type 136 goto port_advertises",
            "iifname . ether saddr . ip6 saddr @from6 return",
            "ip6 saddr :: icmpv6 type { 131, 132, 133, 135, 143 } return",
            "drop",
        ),
    )
    advertised = (
        f'iifname "{guard.link}" @th,64,128 {number:#034x} return' for guard in filtered for number in guard.targets
    )
    yield Chain("port_advertises", ("iifname . ether saddr . ip6 saddr != @from6 drop", *advertised, "drop"))


def _inet(prefix: str, side: Side, guards: Sequence[Guard], groups: dict[str, tuple[str, ...]]) -> Table:
    filtered = [guard for guard in guards if guard.filtered]
    profiles = {guard.matches: f"p{digest(repr(guard.matches))}" for guard in filtered}
    named = {(match.group, match.version) for matches in profiles for match in matches if match.group}
    collections = [
        _set(group_set(group, version), f"type ipv{version}_addr;", _members(groups.get(group, ()), version))
        for group, version in sorted(named)
    ]
    chains = []
    for matches, name in sorted(profiles.items(), key=lambda item: item[1]):
        chains.append(Chain(f"{name}_in", (*_lines(matches, True), "drop")))
        chains.append(Chain(f"{name}_out", (*_lines(matches, False), "drop")))
    for half in ("in", "out"):
        owners = {mac: guard for guard in filtered for mac, _ in guard.sources}
        owners |= {guard.mac: guard for guard in filtered}  # a port's own MAC is its own, whoever else may use it
        elements = [f"{mac} : jump {profiles[guard.matches]}_{half}" for mac, guard in owners.items()]
        collections.append(_set(half, "type ether_addr : verdict;", elements, "map"))
    collections.append(_set(ARRIVED, f"type ether_addr; flags timeout; timeout {ARRIVED_S}s;", ()))
    if side.crossing:
        more, chain = crossing.untracked(side.crossing)
        collections.extend(more)
        chains.append(chain)
    return Table("inet", prefix, tuple(collections), (*chains, _forward(), _input(side)))


def _forward() -> Chain:
    return Chain(
        "forward",
        (
            "ct state vmap { established : accept, related : accept, invalid : drop }",
            # a flow that was cut does not come back in its middle; one that came with its guest goes on there
            "ct state new tcp flags & (fin | syn | rst | ack) != syn"
            f" ether saddr != @{ARRIVED} ether daddr != @{ARRIVED} drop",
            f"icmpv6 type {DISCOVERY} accept",  # who may send which is checked in the bridge table
            "ether saddr vmap @out",
            "ether daddr vmap @in",
        ),
        "type filter hook forward priority 0; policy accept;",
    )


def _input(side: Side) -> Chain:
    """The namespace answers DHCP, DNS, metadata and ping, and nothing else."""
    own = ", ".join(sorted(side.dhcp_addresses))
    rules = [
        'iifname "lo" accept',
        "ct state vmap { established : accept, related : accept, invalid : drop }",
        "udp sport 68 udp dport 67 accept",
        f"ip daddr {METADATA_ADDRESS} tcp dport 80 accept",
    ]
    if own:
        rules.append(f"ip daddr {{ {own} }} meta l4proto {{ tcp, udp }} th dport 53 accept")
        rules.append(f"ip daddr {{ {own} }} icmp type echo-request accept")
    return Chain("input", (*rules, "drop"), "type filter hook input priority 0; policy accept;")


def _lines(matches: Iterable[Match], ingress: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{match_text(m)} return" for m in matches if m.ingress == ingress))


def _members(addresses: Iterable[str], version: int) -> list[str]:
    return [address for address in addresses if (":" in address) == (version == 6)]


def _collapsed(sources: Iterable[Source]) -> list[Source]:
    """Without overlaps: nft refuses a set of ranges that has any."""
    by_key: dict[tuple[str, int], list[ipaddress.IPv4Network | ipaddress.IPv6Network]] = {}
    for mac, net in sources:
        by_key.setdefault((mac, net.version), []).append(net)
    return [(mac, net) for (mac, _), nets in by_key.items() for net in ipaddress.collapse_addresses(nets)]  # type: ignore[type-var]


def _element(net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def _set(name: str, declaration: str, elements: Iterable[str], kind: str = "set") -> Collection:
    return Collection(name, declaration, frozenset(elements), kind)
