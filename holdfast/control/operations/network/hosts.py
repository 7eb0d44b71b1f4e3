"""What a host must know of the network, in a few queries however much there is of it.

`network_state` is every network object a host needs; `machine_interfaces` is what travels with the machines. A host
needs the networks with a port plugged there and, since routers work on every host, those behind their routers.
Only IPv4 goes to the hosts: they do not carry IPv6 yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_addresses
from holdfast.control.store.network.floating_ip import FLOATING_IPS, floating_ip, floating_ips_of_ports
from holdfast.control.store.network.network import NETWORKS, network
from holdfast.control.store.network.port import (
    dhcp_ports_of_networks,
    groups_of_ports,
    hosts_of_networks,
    ports_of_instance_ids,
    ports_of_networks_elsewhere,
    ports_on_host,
)
from holdfast.control.store.network.query import object_where
from holdfast.control.store.network.router import router_legs, routers_fetch, routers_of_networks
from holdfast.control.store.network.security_group import members_of_groups, pairs_of_groups, rules_of_groups
from holdfast.control.store.network.subnet import subnets_fetch, subnets_of_networks
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.control.store.placement.passage import passages_to
from holdfast.control.store.revision import revision_network
from holdfast.domain import desired
from holdfast.domain.address import is_tunnel_end
from holdfast.domain.floating_ip import FloatingIp
from holdfast.domain.network import Network, Subnet
from holdfast.domain.port import ROUTER_GATEWAY, ROUTER_INTERFACE, FixedAddress, Port, host_name
from holdfast.domain.router import Router


def network_state(tx: Tx, host_id: str) -> desired.NetworkState:
    """Every network object that the host needs.

    What an instance on its way here needs is there before it comes; its public addresses come with it.
    """
    plugged = ports_on_host(tx, host_id)
    coming = ports_of_instance_ids(tx, [held.instance_id for held in passages_to(tx, host_id)])
    network_ids, router_ids = _reach(tx, {port.network_id for port in (*plugged, *coming)})
    routers = routers_fetch(tx, sorted(router_ids)) if router_ids else []
    legs = router_legs(tx, sorted(router_ids)) if router_ids else []
    return desired.NetworkState(
        networks=_networks(tx, sorted(network_ids), host_id),
        routers=_routers(tx, routers, legs, plugged),
        externals=_externals(tx, sorted({router.external_network_id for router in routers} - {""})),
        security_groups=_groups(tx, [*plugged, *coming]),
    )


def publics_list(tx: Tx) -> list[tuple[str, str]]:
    """Every public network that has a gateway, as (range, gateway)."""
    outside: list[Network] = object_where(tx, NETWORKS, network.c.external)
    found = _externals(tx, sorted(each.id for each in outside))
    return [(each.cidr, each.gateway) for each in found if each.gateway]


def hosts_reaching(tx: Tx, network_id: str) -> set[str]:
    """The hosts that are told of a network: those with a port of it, or of one that routers join to it."""
    return hosts_of_networks(tx, sorted(_reach(tx, {network_id})[0]))


def tunnel_ends(tx: Tx, host_ids: Iterable[str]) -> dict[str, str]:
    """Where the tunnels of hosts end. One that listens to itself alone has none."""
    return {host_id: end for host_id, end in host_addresses(tx, sorted(set(host_ids))).items() if is_tunnel_end(end)}


def tunnel_end_observed(tx: Tx, host_id: str, address: str) -> None:
    """Say to the hosts that reach its ports that its tunnels end elsewhere by now; before its report is written down.

    The others are told when there is a port that they reach.
    """
    if host_addresses(tx, [host_id]).get(host_id, "") == address:
        return
    plugged = {port.network_id for port in ports_on_host(tx, host_id)}
    if plugged:
        revision_network(tx, {host_id} | hosts_of_networks(tx, sorted(_reach(tx, plugged)[0])))


def machine_interfaces(tx: Tx, instance_ids: Sequence[str]) -> dict[str, tuple[desired.Interface, ...]]:
    """The cards of each instance, in the order they were plugged."""
    ports = ports_of_instance_ids(tx, instance_ids)
    port_ids = [port.id for port in ports]
    held = addresses_of_ports(tx, port_ids)
    groups = groups_of_ports(tx, port_ids)
    public = {(each.port_id, each.fixed): each.address for each in floating_ips_of_ports(tx, port_ids)}
    networks = {each.id: each for each in _by_id(tx, sorted({port.network_id for port in ports}))}
    found: dict[str, list[desired.Interface]] = {instance_id: [] for instance_id in instance_ids}
    for port in ports:
        inside = networks[port.network_id]
        card = _port(port, inside, held.get(port.id, []), groups.get(port.id, []), public)
        found[port.instance_id].append(desired.Interface(inside.id, inside.mtu, card))
    return {instance_id: tuple(cards) for instance_id, cards in found.items()}


def _port(
    port: Port,
    inside: Network,
    held: Sequence[FixedAddress],
    groups: Sequence[str],
    public: Mapping[tuple[str, str], str],
) -> desired.Port:
    carried = [fixed for fixed in held if "." in fixed.address]
    return desired.Port(
        id=port.id,
        instance_id=port.instance_id,
        mac=port.mac,
        addresses=tuple(
            desired.PortAddress(fixed.address, fixed.subnet_id, public.get((port.id, fixed.address), ""))
            for fixed in carried
        ),
        hostname=host_name(port, [fixed.address for fixed in carried]),
        security_groups=tuple(groups),
        filtered=port.port_security,
        allowed_pairs=tuple((mac or port.mac, there) for mac, there in port.allowed_pairs),
        admin_up=port.admin_state_up and inside.admin_state_up,
    )


def _reach(tx: Tx, network_ids: set[str]) -> tuple[set[str], set[str]]:
    """Follow routers to the networks behind them until there is nothing new."""
    found, routers = set(network_ids), set[str]()
    edge = found
    while edge:
        new = set(routers_of_networks(tx, sorted(edge))) - routers
        routers |= new
        legs = router_legs(tx, sorted(new)) if new else []
        edge = {leg.network_id for leg in legs if leg.device_owner == ROUTER_INTERFACE} - found
        found |= edge
    return found, routers


def _by_id(tx: Tx, network_ids: Sequence[str]) -> list[Network]:
    return object_where(tx, NETWORKS, network.c.id.in_(network_ids)) if network_ids else []


def _networks(tx: Tx, network_ids: Sequence[str], host_id: str) -> tuple[desired.Network, ...]:
    subnets = subnets_of_networks(tx, network_ids)
    serving = dhcp_ports_of_networks(tx, network_ids)
    held = addresses_of_ports(tx, [port.id for port in serving])
    answers = {fixed.subnet_id: fixed.address for each in held.values() for fixed in each}
    remote = _remote(tx, network_ids, host_id)
    return tuple(
        desired.Network(
            id=each.id,
            vni=each.vni,
            mtu=each.mtu,
            subnets=tuple(_subnet(s, answers) for s in subnets.get(each.id, []) if s.ip_version == 4),
            ports=(),
            remote=tuple(remote.get(each.id, [])),
        )
        for each in _by_id(tx, network_ids)
    )


def _subnet(subnet: Subnet, answers: Mapping[str, str]) -> desired.Subnet:
    return desired.Subnet(
        id=subnet.id,
        cidr=subnet.cidr,
        gateway=subnet.gateway,
        dhcp=subnet.dhcp and subnet.id in answers,
        dhcp_address=answers.get(subnet.id, ""),
        nameservers=tuple(subnet.nameservers),
        routes=tuple((destination, hop) for destination, hop in subnet.routes),
    )


def _remote(tx: Tx, network_ids: Sequence[str], host_id: str) -> dict[str, list[tuple[str, str, str]]]:
    """(mac, address, tunnel) of the ports on other hosts."""
    others = ports_of_networks_elsewhere(tx, network_ids, host_id)
    tunnels = tunnel_ends(tx, [port.host_id for port in others])
    others = [port for port in others if port.host_id in tunnels]
    held = addresses_of_ports(tx, [port.id for port in others])
    found: dict[str, list[tuple[str, str, str]]] = {}
    for port in others:
        for fixed in held.get(port.id, []):
            if "." in fixed.address:
                found.setdefault(port.network_id, []).append((port.mac, fixed.address, tunnels[port.host_id]))
    return found


def _routers(
    tx: Tx, routers: Sequence[Router], legs: Sequence[Port], plugged: Sequence[Port]
) -> tuple[desired.Router, ...]:
    held = addresses_of_ports(tx, [leg.id for leg in legs])
    ranges = subnets_fetch(tx, [fixed.subnet_id for each in held.values() for fixed in each])
    networks = {port.id: port.network_id for port in plugged}
    public: dict[str, list[FloatingIp]] = {}
    for each in object_where(tx, FLOATING_IPS, floating_ip.c.port_id.in_(networks)) if networks else []:
        public.setdefault(each.router_id, []).append(each)
    legs_of = {router.id: [leg for leg in legs if leg.device_id == router.id] for router in routers}
    return tuple(
        _router(router, legs_of[router.id], held, ranges, public.get(router.id, []), networks)
        for router in routers
        if router.admin_state_up
    )


def _router(
    router: Router,
    legs: Sequence[Port],
    held: Mapping[str, Sequence[FixedAddress]],
    ranges: Mapping[str, Subnet],
    public: Sequence[FloatingIp],
    networks: Mapping[str, str],
) -> desired.Router:
    gateway = next((leg for leg in legs if leg.device_owner == ROUTER_GATEWAY), None)
    outside = held.get(gateway.id, []) if gateway else []
    return desired.Router(
        id=router.id,
        interfaces=tuple(
            desired.RouterInterface(leg.network_id, leg.mac, fixed.address, ranges[fixed.subnet_id].cidr)
            for leg in legs
            if leg.device_owner == ROUTER_INTERFACE
            for fixed in held.get(leg.id, [])
        ),
        external_network_id=router.external_network_id,
        external_address=outside[0].address if outside else "",
        external_mac=gateway.mac if gateway else "",
        snat=router.snat,
        floating=tuple(desired.Floating(each.id, each.address, each.fixed, networks[each.port_id]) for each in public),
        routes=tuple((destination, hop) for destination, hop in router.routes),
    )


def _externals(tx: Tx, network_ids: Sequence[str]) -> tuple[desired.External, ...]:
    found = subnets_of_networks(tx, network_ids)
    return tuple(
        desired.External(network_id, subnet.cidr, subnet.gateway, masquerade=True)
        for network_id in network_ids
        for subnet in found.get(network_id, [])
        if subnet.ip_version == 4
    )


def _groups(tx: Tx, plugged: Sequence[Port]) -> tuple[desired.SecurityGroup, ...]:
    """The groups of the ports that are plugged, and those that a rule of one lets in."""
    used = {group for groups in groups_of_ports(tx, [port.id for port in plugged]).values() for group in groups}
    if not used:
        return ()
    rules = rules_of_groups(tx, sorted(used))
    named = {rule.remote_group for each in rules.values() for rule in each} - {""}
    members = members_of_groups(tx, sorted(named)) if named else {}
    pairs = pairs_of_groups(tx, sorted(named)) if named else {}
    return tuple(
        desired.SecurityGroup(
            id=group_id,
            rules=tuple(
                desired.Rule(
                    direction=rule.direction,
                    ethertype=rule.ethertype,
                    protocol=rule.protocol,
                    port_min=rule.port_min,
                    port_max=rule.port_max,
                    remote_cidr=rule.remote_cidr,
                    remote_group=rule.remote_group,
                )
                for rule in rules.get(group_id, [])
            ),
            members=tuple(sorted({*members.get(group_id, []), *pairs.get(group_id, [])})),
        )
        for group_id in sorted(used | named)
    )
