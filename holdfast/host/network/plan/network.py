"""One tenant network as a namespace: its bridge, its firewall, its DHCP answers, its ports' places.

Guests that share a network share this namespace and nothing else: overlapping ranges of other tenants are
other namespaces. On a host that has tunnels a vxlan link is one more port of the bridge.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence, Set

from holdfast.base.errors import BadInput
from holdfast.domain.desired import DesiredHost, Network, Port, RouterInterface, SecurityGroup, Subnet
from holdfast.host.network.plan import values
from holdfast.host.network.plan.crossing import Crossing
from holdfast.host.network.plan.dhcp import Dhcp, Host, Range, safe_name
from holdfast.host.network.plan.firewall import METADATA_ADDRESS, Guard, Side, tables
from holdfast.host.network.plan.layout import Draft, Link, PortPlace, Problem, Space, Tunnel
from holdfast.host.network.plan.names import mac_of
from holdfast.host.network.plan.rules import Match, read_rule

SYSCTLS = (
    ("bridge/bridge-nf-call-iptables", "1"),  # the security groups see bridged packets
    ("bridge/bridge-nf-call-ip6tables", "1"),
    ("bridge/bridge-nf-call-arptables", "0"),
    ("netfilter/nf_conntrack_tcp_loose", "1"),  # which flows are taken up in their middle the rules say
    ("ipv4/ip_forward", "0"),  # a new namespace inherits the host's value
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv6/conf/all/disable_ipv6", "1"),  # of the namespace itself; guests' IPv6 is bridged
    ("ipv6/conf/default/disable_ipv6", "1"),
)


def network_space(draft: Draft, network: Network, desired: DesiredHost, relayed: bool) -> Space:
    """Plan a network; raises BadInput where nothing of it could work."""
    name = draft.names.of("n", network.id)
    bridge = draft.names.of("b", network.id)
    mtu = values.mtu(network.mtu)
    ranges, addresses = _ranges(draft, network.subnets)
    rules = {group.id: group for group in desired.security_groups}
    matches = _group_matches(draft, network, rules)
    guards, hosts = [], []
    for port in network.ports:
        try:
            guard = _guard(port, draft.names.of("t", port.id), matches)
            answered = list(_hosts(port, ranges))
        except BadInput as err:
            draft.problem("port", port.id, err)
            continue
        place = PortPlace(port.id, port.instance_id, name, guard.link, bridge, mtu, guard.mac, port.admin_up)
        draft.ports.append(place)
        draft.sources.extend((name, str(values.address(a.address)), port.id) for a in port.addresses)
        hosts.extend(answered)
        if port.admin_up:
            guards.append(guard)
    inside = [(router, leg) for router in desired.routers for leg in router.interfaces if leg.network_id == network.id]
    legs = tuple(draft.names.of("j", router.id, leg.network_id, leg.address) for router, leg in inside)
    own = tuple(address.partition("/")[0] for address in addresses)
    tunnel = _tunnel(draft, network, bridge, {guard.mac for guard in guards})
    crossing = _crossing(draft, tunnel, [leg for _, leg in inside], own) if tunnel else None
    side = Side(mac_of(bridge), legs, own, crossing)
    links = [Link(bridge, "bridge", side.bridge_mac, mtu, (*addresses, f"{METADATA_ADDRESS}/32"))]
    if tunnel:
        ends = {"peer_master": bridge, "local": draft.reach.tunnel}
        links.append(Link(tunnel.link, "vxlan", mac_of(tunnel.link), mtu, (), vni=network.vni, **ends))
    return Space(
        name,
        "network",
        network.id,
        tuple(links),
        (),
        SYSCTLS,
        tables(draft.names.prefix, side, guards, draft.members),
        Dhcp(bridge, mtu, tuple(ranges.values()), tuple(hosts), relayed) if ranges else None,
        tuple(guards),
        tunnel,
    )


def _tunnel(draft: Draft, network: Network, bridge: str, here: Set[str]) -> Tunnel | None:
    """The way to the network's ports on other hosts; one that is here by now is not elsewhere.

    It is there without any, too: a host without ports of the network sends into it what its router took from another.
    """
    if not draft.reach.tunnel:
        return None
    if not 1 <= network.vni < 1 << 24:
        raise BadInput("a network's tunnel number is out of range")
    remote = []
    for port_mac, address, end in network.remote:
        try:
            found = (values.mac(port_mac), str(values.address4(address)), str(values.address4(end)))
        except BadInput as err:
            draft.problem("remote", f"{network.id}/{port_mac}", err)
            continue
        if found[0] not in here and found[2] != draft.reach.tunnel:
            remote.append(found)
    return Tunnel(draft.names.of("v", network.id), bridge, tuple(sorted(set(remote))))


def _crossing(draft: Draft, tunnel: Tunnel, legs: Sequence[RouterInterface], own: Sequence[str]) -> Crossing:
    """What must not cross: the gateways, and what the namespace itself answers."""
    gateways = []
    for leg in legs:
        try:
            gateways.append((values.mac(leg.mac), str(values.address4(leg.address))))
        except BadInput as err:
            draft.problem("router", leg.address, err)
    return Crossing(
        tunnel.link,
        tuple(mac for mac, _ in gateways),
        (*(address for _, address in gateways), *own, METADATA_ADDRESS),
        tuple(sorted({mac for mac, _, _ in tunnel.remote})),
    )


def _ranges(draft: Draft, subnets: Sequence[Subnet]) -> tuple[dict[str, Range], list[str]]:
    """The subnets that DHCP answers, by id, and the addresses of the namespace itself."""
    ranges: dict[str, Range] = {}
    addresses = []
    for subnet in subnets:
        try:
            net = values.network(subnet.cidr)
            if not isinstance(net, ipaddress.IPv4Network) or not subnet.dhcp_address:
                continue
            own = values.address4(subnet.dhcp_address)
            routes = tuple((values.network4(to), values.address4(hop)) for to, hop in subnet.routes)
            servers = (values.address(server) for server in subnet.nameservers)
            servers4 = tuple(server for server in servers if isinstance(server, ipaddress.IPv4Address))
            gateway = values.address4(subnet.gateway) if subnet.gateway else None
            if own not in net:
                raise BadInput("a subnet's DHCP address is outside of it")
        except BadInput as err:
            draft.problem("subnet", subnet.id, err)
            continue
        addresses.append(f"{own}/{net.prefixlen}")
        if subnet.dhcp:
            ranges[subnet.id] = Range(net, own, gateway, servers4, routes)
    return ranges, addresses


def _group_matches(draft: Draft, network: Network, groups: dict[str, SecurityGroup]) -> dict[str, tuple[Match, ...]]:
    """The checked rules of each group that a port of the network is in."""
    matches: dict[str, tuple[Match, ...]] = {}
    for ident in sorted({group for port in network.ports for group in port.security_groups}):
        group = groups.get(ident)
        if group is None:
            draft.problems.append(Problem("group", ident, "a port is in a security group that is not known here"))
            continue
        good = []
        for index, rule in enumerate(group.rules):
            try:
                good.append(read_rule(rule))
            except BadInput as err:
                draft.problem("rule", f"{ident}/{index}", err)
        matches[ident] = tuple(good)
    return matches


def _guard(port: Port, link: str, matches: dict[str, tuple[Match, ...]]) -> Guard:
    mac = values.mac(port.mac)
    own = [values.address(item.address) for item in port.addresses]
    own.append(values.link_local(mac))
    sources = [(mac, values.network(str(address))) for address in own]
    for pair_mac, cidr in port.allowed_pairs:
        sources.append((values.mac(pair_mac or mac), values.network(cidr)))
    single = (net for _, net in sources if net.version == 6 and net.prefixlen == 128)
    targets = tuple(sorted({int(net.network_address) for net in single}))
    rules = tuple(dict.fromkeys(match for group in sorted(port.security_groups) for match in matches.get(group, ())))
    return Guard(link, mac, tuple(sources), targets, port.filtered, rules)


def _hosts(port: Port, ranges: dict[str, Range]) -> Iterable[Host]:
    for item in port.addresses:
        if item.subnet_id in ranges:
            address = values.address4(item.address)
            if address not in ranges[item.subnet_id].network:
                raise BadInput("a port's address is outside of its subnet")
            yield Host(values.mac(port.mac), address, safe_name(port.hostname))


def group_members(group: SecurityGroup) -> Iterable[str]:
    """The checked addresses of every port in a group, on any host."""
    for text in group.members:
        try:
            yield str(values.address(text))
        except BadInput:
            continue  # a member that has no valid address sends nothing either
