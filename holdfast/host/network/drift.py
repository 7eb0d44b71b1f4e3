"""Where the kernel differs from a plan: looked at and told, never mended. For the audit.

Codes are published (docs/operators/audit.md). What `apply` would make good at its next look is told all the same:
whoever asks decides how long it may last.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from holdfast.host.network import nft, tunnel
from holdfast.host.network.dnsmasq import Dnsmasq
from holdfast.host.network.kernel import link_settings, links_of
from holdfast.host.network.plan.layout import HostPlan, Space
from holdfast.host.network.plan.names import Names
from holdfast.host.network.remains import spaces_here


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference."""

    code: str
    object: str
    words: str


def drift(planned: HostPlan, names: Names, dnsmasq: Dnsmasq, running: Set[str]) -> Iterator[Drift]:
    """Every difference; `running` are the instances whose taps must be there."""
    here = set(spaces_here(names))
    wanted = {space.name for space in planned.spaces if space.name}
    for name in sorted(here - wanted):
        yield Drift("namespace-unknown", name, "no network or router of this host has it")
    for space in planned.spaces:
        if space.name and space.name not in here:
            yield Drift("namespace-missing", space.name, f"the {space.kind} {space.owner} should have it")
            continue
        yield from _links(planned, space, names, running)
        yield from _rules(space, names)
        if space.tunnel is not None and tunnel.differs(space.name, space.tunnel):
            yield Drift("tunnel-differs", space.name, "frames for other hosts are not sent as planned")
        if space.dhcp is not None and not dnsmasq.serves(space.name, space.dhcp):
            yield Drift("dhcp-differs", space.name, "no dnsmasq runs there with the planned hosts")


def _links(planned: HostPlan, space: Space, names: Names, running: Set[str]) -> Iterator[Drift]:
    found: dict[str, Any] = {name: link for name, link in links_of(space.name).items() if names.ours(name)}
    ends = {
        link.peer for other in planned.spaces for link in other.links if link.peer and link.peer_space == space.name
    }
    places = [place for place in planned.ports if place.space == space.name]
    plugged = {place.tap for place in places if place.instance_id in running}
    where = f"{space.name or 'the host'}/"
    for name in sorted({link.name for link in space.links} | ends | plugged):
        if name not in found:
            yield Drift("link-missing", where + name, "it is planned")
    for link in space.links:
        if link.name in found and (lines := link_settings(link, found[link.name])):
            yield Drift("link-differs", where + link.name, f"to be as planned it needs: {'; '.join(lines)}")
    known = {link.name for link in space.links} | ends | {place.tap for place in places}
    for name in sorted(found.keys() - known):
        yield Drift("link-unknown", where + name, "nothing here is planned to have it")


def _rules(space: Space, names: Names) -> Iterator[Drift]:
    held = nft.tables_of(space.name, names) if space.tables else {}
    for table in space.tables:
        if not nft.is_whole(held.get((table.family, table.name), []), table):
            where = f"{space.name or 'the host'}/{table.family} {table.name}"
            yield Drift("rules-differ", where, "the table is not there, or not as planned")
