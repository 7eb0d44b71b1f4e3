"""One router as a namespace: a leg to each network that is present here, one leg outside, and translation.

A router lives on every host that has ports behind it, so there is no network node to lose. Floating
addresses are addresses of the outside leg: the kernel answers ARP for them, and nothing has to be proxied.
Where several hosts share the outside, no two legs may have a MAC or an address in common: there a leg has a MAC
and an address of its own, from a range that is this host's, instead of those that the router has in the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

from holdfast.base.errors import BadInput
from holdfast.domain.desired import External, Router
from holdfast.host.network.plan import values
from holdfast.host.network.plan.layout import EXTERNAL_MTU, Draft, FloatingPath, Link, Space
from holdfast.host.network.plan.names import mac_of, place_of
from holdfast.host.network.plan.nat import Translation, router_table

SYSCTLS = (
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),  # a hairpin packet leaves by the link it came in on
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/arp_ignore", "1"),  # an address is answered on its own link only
    ("ipv4/conf/all/arp_announce", "2"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
)


def router_space(
    draft: Draft,
    router: Router,
    networks: Mapping[str, Space],
    externals: Mapping[str, External],
    bridges: Set[str],
    own: str = "",
) -> Space:
    """Plan a router; `own` is its address on an uplink. Raises BadInput where nothing of it could work."""
    legs, inside = _legs(draft, router, networks)
    outside = _outside(draft, router, externals, bridges, own)
    floating = tuple(_floating(draft, router, outside, networks)) if outside else ()
    links = [*legs]
    routes: list[tuple[str, str, str]] = []
    if outside is not None:
        external = externals[router.external_network_id]
        addresses = (*outside.addresses, *(f"{address}/32" for address, _ in floating))
        links.append(replace(outside, addresses=addresses))
        if draft.reach.routers:  # no address of the leg is in the public network, whose gateway is yet on this wire
            routes.append((str(values.network4(external.cidr)), "", outside.name))
        routes.append(("default", str(values.address4(external.gateway)), outside.name))
    for destination, hop in router.routes:
        try:
            routes.append((str(values.network4(destination)), str(values.address4(hop)), ""))
        except BadInput as err:
            draft.problem("router", router.id, err)
    nat = Translation(
        outside.name if outside else "",
        outside.addresses[0].partition("/")[0] if outside and outside.addresses else "",
        router.snat,
        tuple(inside),
        floating,
    )
    return Space(
        draft.names.of("r", router.id),
        "router",
        router.id,
        tuple(links),
        tuple(routes),
        SYSCTLS,
        (router_table(draft.names.prefix, nat),),
    )


def _legs(draft: Draft, router: Router, networks: Mapping[str, Space]) -> tuple[list[Link], list[str]]:
    """The links into networks, and every inside range, also of networks that are not here."""
    links, inside = [], {}
    for leg in router.interfaces:
        try:
            net, address, mac = values.network4(leg.cidr), values.address4(leg.address), values.mac(leg.mac)
        except BadInput as err:
            draft.problem("router", router.id, err)
            continue
        inside[str(net)] = net
        if (space := networks.get(leg.network_id)) is None:
            continue
        key = (router.id, leg.network_id, leg.address)
        bridge = space.links[0]
        links.append(
            Link(
                draft.names.of("i", *key),
                "veth",
                mac,
                bridge.mtu,
                (f"{address}/{net.prefixlen}",),
                draft.names.of("j", *key),
                space.name,
                bridge.name,
            )
        )
    ranges = sorted(inside.values())
    return links, [str(net) for i, net in enumerate(ranges) if not any(net.overlaps(other) for other in ranges[:i])]


def external_bridge(draft: Draft, network_id: str) -> str:
    """The bridge of a public network; an uplink has one for all that it leads to."""
    return draft.names.of("x", "uplink" if draft.reach.uplink else network_id)


def router_addresses(draft: Draft, routers: Sequence[Router]) -> dict[str, str]:
    """What each router is called on the uplink: a place in the host's range that its id gives, or the next free one."""
    room = draft.reach.routers
    if room is None:
        return {}
    size, taken, found = room.num_addresses - 2, set[int](), {}
    for router in sorted(routers, key=lambda router: router.id):
        if not router.external_network_id:
            continue
        if len(taken) == size:
            draft.problem("router", router.id, BadInput(f"the range {room} of this host's routers is used up"))
            continue
        place = place_of(router.id, size)
        while place in taken:
            place = (place + 1) % size
        taken.add(place)
        found[router.id] = str(room.network_address + 1 + place)
    return found


def _outside(
    draft: Draft, router: Router, externals: Mapping[str, External], bridges: Set[str], uplink_address: str
) -> Link | None:
    """The leg on the external bridge, with the router's own address there, if it has one."""
    if not router.external_network_id:
        return None
    external = externals.get(router.external_network_id)
    bridge = external_bridge(draft, router.external_network_id)
    if external is None or bridge not in bridges:
        raise BadInput("a router's public network is not provided by this host")
    net = values.network4(external.cidr)
    own = values.address4(router.external_address) if router.external_address else None
    if own is not None and own not in net:
        raise BadInput("a router's public address is outside of its public network")
    addresses = (f"{own}/{net.prefixlen}",) if own is not None else ()
    mac = values.mac(router.external_mac)
    if draft.reach.routers:
        addresses = (f"{uplink_address}/32",) if uplink_address else ()
        mac = mac_of(f"{draft.host_id}/{router.id}")
    return Link(
        draft.names.of("e", router.id),
        "veth",
        mac,
        EXTERNAL_MTU,
        addresses,
        draft.names.of("f", router.id),
        "",
        bridge,
    )


def _floating(draft: Draft, router: Router, outside: Link, networks: Mapping[str, Space]) -> Iterable[tuple[str, str]]:
    """Each (floating, fixed) pair once: a second claim on either address is a problem, not a rule."""
    taken: set[str] = {outside.addresses[0].partition("/")[0]} if outside.addresses else set()
    ports = {(space, address): port for space, address, port in draft.sources}
    places = {place.port_id: place for place in draft.ports}
    for item in router.floating:
        try:
            address, fixed = str(values.address4(item.address)), str(values.address4(item.fixed))
            if address in taken or fixed in taken:
                raise BadInput("a floating or fixed address is used twice")
        except BadInput as err:
            draft.problem("floating", item.id, err)
            continue
        taken |= {address, fixed}
        space = networks.get(item.network_id)
        place = places.get(ports.get((space.name, fixed), "")) if space else None
        draft.floating.append(
            FloatingPath(
                item.id,
                address,
                fixed,
                outside.peer_master,
                draft.names.of("r", router.id),
                outside.name,
                outside.mac,
                place,
            )
        )
        yield address, fixed
