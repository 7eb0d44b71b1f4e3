"""What a host's network is made of: the plan as data, and the draft that its parts are collected in.

Everything here is already checked: names are ours, addresses are addresses, numbers are in range.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.base.errors import BadInput
from holdfast.host.network.plan.dhcp import Dhcp
from holdfast.host.network.plan.firewall import Guard
from holdfast.host.network.plan.names import Names
from holdfast.host.network.plan.ruleset import Table

EXTERNAL_MTU = 1500  # bytes; the ordinary Ethernet that a host's uplink is


@dataclass(frozen=True, slots=True)
class Problem:
    """An object that is not as asked, and why; `kind` is network, port, rule, router, ..."""

    kind: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How this host reaches the others and the outside. Nothing said: it is alone, and the outside's router itself."""

    tunnel: str = ""  # its own address in the network that the hosts share; empty: it has no tunnels
    uplink: str = ""  # its link to the public networks, whose gateway is elsewhere; empty: this host is the gateway
    routers: ipaddress.IPv4Network | None = None  # its routers' addresses on an uplink that other hosts are on, too


ALONE = Reach()


@dataclass(frozen=True, slots=True)
class Link:
    """A link to be created. A veth's other end is `peer`, on the bridge `peer_master` in `peer_space`.

    A vxlan is a port of the bridge `peer_master` beside it; its tunnel begins at `local` in the host's own namespace.
    """

    name: str
    kind: str  # bridge, veth or vxlan
    mac: str
    mtu: int
    addresses: tuple[str, ...]  # with prefix length
    peer: str = ""
    peer_space: str = ""  # empty: the host's own namespace
    peer_master: str = ""
    vni: int = 0
    local: str = ""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a network's vxlan link leads to: ports on other hosts, as (mac, address, tunnel address of its host)."""

    link: str
    bridge: str
    remote: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Space:
    """One network namespace ('' is the host's own, of which only named objects are ours)."""

    name: str
    kind: str  # host, network or router
    owner: str  # id of the network or router
    links: tuple[Link, ...]
    routes: tuple[tuple[str, str, str], ...]  # (destination, next hop, link)
    sysctls: tuple[tuple[str, str], ...]  # path below /proc/sys/net, value
    tables: tuple[Table, ...]
    dhcp: Dhcp | None = None
    guards: tuple[Guard, ...] = ()  # of the ports of a network
    tunnel: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class PortPlace:
    """Where a port's tap goes. The tap is made by `open_tap` and ends with its QEMU."""

    port_id: str
    instance_id: str
    space: str
    tap: str
    bridge: str
    mtu: int
    mac: str
    admin_up: bool


@dataclass(frozen=True, slots=True)
class FloatingPath:
    """The hops of a floating address: each must be seen before it is reported up."""

    id: str
    address: str
    fixed: str
    external_bridge: str
    router_space: str
    link: str  # the router's outside link
    mac: str  # of that link
    port: PortPlace | None


@dataclass(frozen=True, slots=True)
class HostPlan:
    """All of it. Spaces are in the order in which they can be made: the host, networks, routers."""

    spaces: tuple[Space, ...]
    ports: tuple[PortPlace, ...]
    floating: tuple[FloatingPath, ...]
    sources: tuple[tuple[str, str, str], ...]  # (space, guest address, port id): who asks for metadata
    members: Mapping[str, tuple[str, ...]]  # addresses of each security group
    problems: tuple[Problem, ...]


@dataclass
class Draft:
    """A plan in the making."""

    names: Names
    reach: Reach = ALONE
    host_id: str = ""
    problems: list[Problem] = field(default_factory=list)
    ports: list[PortPlace] = field(default_factory=list)
    floating: list[FloatingPath] = field(default_factory=list)
    sources: list[tuple[str, str, str]] = field(default_factory=list)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def problem(self, kind: str, ident: str, err: BadInput) -> None:
        self.problems.append(Problem(kind, ident, err.message))
