"""The rules of a router, and of the host's edge, as tables: pure text from checked values.

A floating address is one element in each of two maps. A packet to it is sent on to the fixed address; what
the fixed address sends out leaves under it; and a guest that reaches a floating address of its own router
from inside (hairpin: its own, or a sibling's) is shown under its own floating address too, or the answer
would not come back through the router.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.host.network.plan.ruleset import Chain, Collection, Table


@dataclass(frozen=True, slots=True)
class Translation:
    """What a router translates; addresses and ranges are checked text."""

    outside: str  # link name; empty: no way out
    external_address: str
    snat: bool
    inside: tuple[str, ...]  # ranges of its interfaces
    floating: tuple[tuple[str, str], ...]  # (floating, fixed)


def router_table(prefix: str, nat: Translation) -> Table:
    """Source and destination translation of one router."""
    collections = (
        _collection("inside", "type ipv4_addr; flags interval;", nat.inside),
        _collection("to_fixed", "type ipv4_addr : ipv4_addr;", (f"{a} : {b}" for a, b in nat.floating), "map"),
        _collection("to_floating", "type ipv4_addr : ipv4_addr;", (f"{b} : {a}" for a, b in nat.floating), "map"),
    )
    return Table("ip", prefix, collections, tuple(_router_chains(nat)) if nat.outside else ())


def _router_chains(nat: Translation) -> Iterable[Chain]:
    out = f'oifname "{nat.outside}"'
    masked = (f"snat to {nat.external_address}",) if nat.external_address else ()
    yield Chain(
        "prerouting",
        ("dnat to ip daddr map @to_fixed",),
        "type nat hook prerouting priority -100; policy accept;",
    )
    hairpin = "ip saddr @inside ct status dnat"
    yield Chain(
        "postrouting",
        (
            f"{out} snat to ip saddr map @to_floating",
            *(f"{out} ip saddr @inside {rule}" for rule in masked if nat.snat),
            f"{hairpin} snat to ip saddr map @to_floating",
            *(f"{hairpin} {rule}" for rule in masked),
        ),
        "type nat hook postrouting priority 100; policy accept;",
    )
    # with translation, nobody outside reaches an inside address but through a floating one
    closed = f'iifname "{nat.outside}" ct state new ct status ! dnat drop'
    yield Chain("forward", (closed,) if nat.snat else (), "type filter hook forward priority 0; policy accept;")


def edge_table(prefix: str, externals: Sequence[tuple[str, str, bool]]) -> Table:
    """The host's own table: (bridge, range, masquerade) of each public network it provides."""
    bridges = [f'"{bridge}"' for bridge, _, _ in externals]
    collections = (
        _collection("bridges", "type ifname;", bridges),
        _collection("ranges", "type ifname . ipv4_addr; flags interval;", (f'"{b}" . {r}' for b, r, _ in externals)),
        _collection("hidden", "type ipv4_addr; flags interval;", {r for _, r, hide in externals if hide}),
    )
    chains = (
        # what no router translated stays here
        Chain(
            "forward",
            ("iifname @bridges iifname . ip saddr != @ranges drop",),
            "type filter hook forward priority -10; policy accept;",
        ),
        Chain(
            "postrouting",
            ("oifname != @bridges ip saddr @hidden masquerade",),
            "type nat hook postrouting priority 100; policy accept;",
        ),
    )
    return Table("ip", f"{prefix}-ext", collections, chains)


def uplink_table(prefix: str, bridge: str) -> Table:
    """The table of a host whose public networks have their gateways elsewhere: what comes from there is for routers."""
    chain = Chain(
        "input",
        ("iifname @bridges drop",),
        "type filter hook input priority -10; policy accept;",
    )
    forward = Chain(
        "forward",
        ("iifname @bridges oifname != @bridges drop", "iifname != @bridges oifname @bridges drop"),
        "type filter hook forward priority -10; policy accept;",
    )
    return Table("ip", f"{prefix}-ext", (_collection("bridges", "type ifname;", (f'"{bridge}"',)),), (chain, forward))


def _collection(name: str, declaration: str, elements: Iterable[str], kind: str = "set") -> Collection:
    return Collection(name, declaration, frozenset(elements), kind)
