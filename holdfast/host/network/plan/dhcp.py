"""What dnsmasq is told, as text: one process per tenant network, static hosts only.

The address of a port is planned by the control plane and nobody else: no lease file is read or written, so
no old lease can win (seed 002), and a client's own identifier is ignored. Every value is an address, a
number or a checked host name before it comes here: a tenant's text never becomes a directive (CVE-2021-40085).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.limits import DHCP_LEASE_S
from holdfast.host.network.plan.firewall import METADATA_ADDRESS

RELAY = ("127.0.0.1", 5335)  # inside the network's namespace: where the agent carries questions on
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Range:
    """An IPv4 subnet that is answered; `routes` are (destination, next hop)."""

    network: ipaddress.IPv4Network
    address: ipaddress.IPv4Address  # ours, in it
    gateway: ipaddress.IPv4Address | None
    nameservers: tuple[ipaddress.IPv4Address, ...]
    routes: tuple[tuple[ipaddress.IPv4Network, ipaddress.IPv4Address], ...]


@dataclass(frozen=True, slots=True)
class Host:
    """A port's address and name; the name is empty or a valid label."""

    mac: str
    address: ipaddress.IPv4Address
    name: str


@dataclass(frozen=True, slots=True)
class Dhcp:
    """All that one network's dnsmasq should know."""

    bridge: str
    mtu: int
    ranges: tuple[Range, ...]
    hosts: tuple[Host, ...]
    relayed: bool  # other names are asked of the host's resolvers


def safe_name(text: str) -> str:
    """The first label of a host name where it is a valid one, else nothing."""
    label = text.partition(".")[0]
    return label if _LABEL.fullmatch(label) else ""


def config_text(dhcp: Dhcp, folder: Path, user: str) -> str:
    """The configuration file. Paths are absolute: dnsmasq changes its directory."""
    lines = [
        f"user={user}",
        f"pid-file={folder}/pid",
        f"log-facility={folder}/log",
        f"interface={dhcp.bridge}",
        "except-interface=lo",
        "bind-interfaces",
        "no-resolv",
        "no-hosts",
        "no-ping",
        "no-negcache",
        "leasefile-ro",
        "dhcp-authoritative",
        "dhcp-no-override",
        "quiet-dhcp",
        f"dhcp-lease-max={max(1000, 2 * len(dhcp.hosts))}",
        f"dhcp-hostsfile={folder}/hosts",
        f"addn-hosts={folder}/names",
        f"dhcp-option=option:mtu,{dhcp.mtu}",
    ]
    for index, subnet in enumerate(dhcp.ranges):
        lines.extend(_range_lines(f"s{index}", subnet))
    if dhcp.relayed:
        lines.append(f"server={RELAY[0]}#{RELAY[1]}")
    return "".join(f"{line}\n" for line in lines if line)


def hosts_text(hosts: Sequence[Host]) -> str:
    """The hosts file: dnsmasq reads it again on SIGHUP."""
    return "".join(
        f"{host.mac},id:*,{host.address}{',' if host.name else ''}{host.name},infinite\n"
        for host in sorted(hosts, key=lambda host: (host.address, host.mac))
    )


def names_text(hosts: Sequence[Host]) -> str:
    """The names file: a guest's name is known before it asked for its address."""
    return "".join(f"{host.address} {host.name}\n" for host in hosts if host.name)


def _range_lines(tag: str, subnet: Range) -> list[str]:
    network = subnet.network
    routes = [(ipaddress.IPv4Network(METADATA_ADDRESS), subnet.address), *subnet.routes]
    if subnet.gateway is not None:
        routes.append((ipaddress.IPv4Network("0.0.0.0/0"), subnet.gateway))
    classless = ",".join(f"{destination},{hop}" for destination, hop in routes)
    servers = ",".join(map(str, subnet.nameservers)) or str(subnet.address)
    return [
        f"dhcp-range=set:{tag},{network.network_address},static,{network.netmask},{DHCP_LEASE_S}",
        f"dhcp-option=tag:{tag},3,{subnet.gateway}" if subnet.gateway is not None else f"dhcp-option=tag:{tag},3",
        f"dhcp-option=tag:{tag},6,{servers}",
        f"dhcp-option=tag:{tag},121,{classless}",
        f"dhcp-option=tag:{tag},249,{classless}",  # the same for Windows
    ]
