"""From `DesiredHost` to kernel objects: pure, whole, and forgiving.

Every value that came from a tenant is checked on the way and becomes an address, a number or a checked
name. What cannot be is left out, alone, and listed in `problems`: a bad rule never stops the others, and
never becomes syntax of nft, dnsmasq or ip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from holdfast.base.errors import BadInput
from holdfast.domain.desired import DesiredHost, External
from holdfast.host.network.plan.crossing import tunnels_table
from holdfast.host.network.plan.layout import ALONE, EXTERNAL_MTU, Draft, HostPlan, Link, Problem, Reach, Space
from holdfast.host.network.plan.names import Names, mac_of
from holdfast.host.network.plan.nat import edge_table, uplink_table
from holdfast.host.network.plan.network import group_members, network_space
from holdfast.host.network.plan.router import external_bridge, router_addresses, router_space
from holdfast.host.network.plan.values import address4, network4


def plan(desired: DesiredHost, prefix: str, relayed: bool = False, reach: Reach = ALONE) -> HostPlan:
    """Return what should exist; `relayed`: other names are asked of the host. BadInput for a bad prefix only."""
    draft = Draft(Names(prefix), reach, desired.host_id)
    draft.members.update((group.id, tuple(group_members(group))) for group in desired.security_groups)
    host_space = _uplink_space if reach.uplink else _host_space
    spaces = [host_space(draft, desired.externals)]
    for network in desired.networks:
        try:
            spaces.append(network_space(draft, network, desired, relayed))
        except BadInput as err:
            draft.problem("network", network.id, err)
    externals = {external.network_id: external for external in desired.externals}
    bridges = {link.name for link in spaces[0].links}
    present = {space.owner: space for space in spaces[1:]}
    own = router_addresses(draft, desired.routers)
    for router in desired.routers:
        try:
            spaces.append(router_space(draft, router, present, externals, bridges, own.get(router.id, "")))
        except BadInput as err:
            draft.problem("router", router.id, err)
    if reach.tunnel:
        ends = {end for space in spaces if space.tunnel for _, _, end in space.tunnel.remote}
        guarded = (*spaces[0].tables, tunnels_table(prefix, str(address4(reach.tunnel)), sorted(ends)))
        spaces[0] = replace(spaces[0], tables=guarded)
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
        name = external_bridge(draft, external.network_id)
        links.append(Link(name, "bridge", mac_of(name), EXTERNAL_MTU, (f"{gateway}/{net.prefixlen}",)))
        edges.append((name, str(net), external.masquerade))
        sysctls.append((f"ipv6/conf/{name}/disable_ipv6", "1"))
    tables = (edge_table(draft.names.prefix, edges),) if edges else ()
    return Space("", "host", "", tuple(links), (), tuple(sysctls), tables)


def _uplink_space(draft: Draft, externals: Sequence[External]) -> Space:
    """One bridge for all public networks, with the uplink in it: their gateways are behind it."""
    if not externals:
        return Space("", "host", "", (), (), (), ())
    name = external_bridge(draft, "")
    link = Link(name, "bridge", mac_of(f"{draft.host_id}/{name}"), EXTERNAL_MTU, ())
    # the host itself is not to be reached from there: it answers for none of its own addresses, and takes no packet
    sysctls = ((f"ipv6/conf/{name}/disable_ipv6", "1"), (f"ipv4/conf/{name}/arp_ignore", "8"))
    return Space("", "host", "", (link,), (), sysctls, (uplink_table(draft.names.prefix, name),))


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
