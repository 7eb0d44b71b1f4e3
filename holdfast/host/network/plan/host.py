"""From `DesiredHost` to kernel objects: pure, whole, and forgiving.

Every value that came from a tenant is checked on the way and becomes an address, a number or a checked
name. What cannot be is left out, alone, and listed in `problems`: a bad rule never stops the others, and
never becomes syntax of nft, dnsmasq or ip.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.base.errors import BadInput
from holdfast.domain.desired import DesiredHost, External
from holdfast.host.network.plan.layout import EXTERNAL_MTU, Draft, HostPlan, Link, Problem, Space
from holdfast.host.network.plan.names import Names, mac_of
from holdfast.host.network.plan.nat import edge_table
from holdfast.host.network.plan.network import group_members, network_space
from holdfast.host.network.plan.router import router_space
from holdfast.host.network.plan.values import address4, network4


def plan(desired: DesiredHost, prefix: str, relayed: bool = False) -> HostPlan:
    """Return what should exist; `relayed`: other names are asked of the host. BadInput for a bad prefix only."""
    draft = Draft(Names(prefix))
    draft.members.update((group.id, tuple(group_members(group))) for group in desired.security_groups)
    spaces = [_host_space(draft, desired.externals)]
    for network in desired.networks:
        try:
            spaces.append(network_space(draft, network, desired, relayed))
        except BadInput as err:
            draft.problem("network", network.id, err)
    externals = {external.network_id: external for external in desired.externals}
    bridges = {link.name for link in spaces[0].links}
    present = {space.owner: space for space in spaces[1:]}
    for router in desired.routers:
        try:
            spaces.append(router_space(draft, router, present, externals, bridges))
        except BadInput as err:
            draft.problem("router", router.id, err)
    spaces = _without_clashes(draft, spaces)
    return HostPlan(
        tuple(spaces),
        tuple(draft.ports),
        tuple(draft.floating),
        tuple(draft.sources),
        draft.members,
        tuple(draft.problems),
    )


def _host_space(draft: Draft, externals: Sequence[External]) -> Space:
    """The external bridges: the host answers as the gateway of each public network."""
    links, edges, sysctls = [], [], [("ipv4/ip_forward", "1")] if externals else []
    for external in externals:
        try:
            net, gateway = network4(external.cidr), address4(external.gateway)
            if gateway not in net:
                raise BadInput("a public network's gateway is outside of it")
        except BadInput as err:
            draft.problem("external", external.network_id, err)
            continue
        name = draft.names.of("x", external.network_id)
        links.append(Link(name, "bridge", mac_of(name), EXTERNAL_MTU, (f"{gateway}/{net.prefixlen}",)))
        edges.append((name, str(net), external.masquerade))
        sysctls.append((f"ipv6/conf/{name}/disable_ipv6", "1"))
    tables = (edge_table(draft.names.prefix, edges),) if edges else ()
    return Space("", "host", "", tuple(links), (), tuple(sysctls), tables)


def _without_clashes(draft: Draft, spaces: Sequence[Space]) -> list[Space]:
    """Drop a space whose short name another one has: rare, and never to be mixed up."""
    seen: set[str] = set()
    kept = []
    for space in spaces:
        if space.name in seen:
            draft.problems.append(
                Problem(space.kind, space.owner, "another object on this host has the same short name")
            )
            continue
        seen.add(space.name)
        kept.append(space)
    return kept
