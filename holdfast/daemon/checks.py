"""What must be true of this machine before anything is started: looked at, never changed."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from holdfast.base import config
from holdfast.base.errors import BadInput, Conflict, NoCapacity
from holdfast.base.limits import DISK_FREE_LEAST_GIB, NETWORK_COMMAND_S
from holdfast.base.run import CommandFailed, run
from holdfast.daemon.seats import prefixes, tunnel_of
from holdfast.domain.address import subnet_range_parse
from holdfast.host.network.owner import require
from holdfast.host.network.plan.fabric import Seat, ranges_of
from holdfast.host.network.plan.names import Names

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "ssh": "openssh-client",
}
WORDS = {
    "accelerator": ("auto", "kvm", "tcg"),
    "evacuate": ("auto", "manual"),
    "shed": ("auto", "never"),
    "role": ("all", "control", "host"),
}
GIB = 1 << 30


def machine_check(settings: config.Settings, seats: Sequence[Seat] = ()) -> str:
    """Return what was found, as a line; raises what must be mended first, with the command that does it.

    `seats` are those of several hosts, new ones included.
    """
    _settings_check(settings)
    if settings.role == "control":
        return "a control replica: no guest runs here"
    if settings.hypervisor == "simulated":
        return "simulated hypervisor: no guest will really run"
    if os.geteuid() != 0:
        raise BadInput(
            "real guests need root: network namespaces, bridges and nftables rules are made on this machine. "
            "Run: sudo holdfast up   (or without guests: holdfast up --hypervisor simulated)",
            code="not_root",
        )
    Names(settings.prefix)  # raises: later it would be every start of the agent that does
    if seats and tunnel_of(settings):
        raise BadInput(
            "several hosts on this machine have tunnels of their own, which end here: hosts of other machines can join "
            "a cloud that has one host on each",
            code="bad_setting",
        )
    for prefix in prefixes(settings, seats):
        require(prefix, Path(settings.state).resolve())
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise BadInput(f"programs are missing. Run: apt-get install {' '.join(missing)}", code="tools_missing")
    for prefix in prefixes(settings, seats):
        prefix_check(prefix)
    if settings.role != "host":  # the public networks of a machine that joined are its cloud's
        _addresses_check(settings, seats)
    _uplink_check(settings, seats)
    if not Path("/dev/net/tun").exists():
        raise BadInput("/dev/net/tun is missing. Run: modprobe tun", code="tun_missing")
    state = Path(settings.state)
    there = next(path for path in (state, *state.parents) if path.exists())
    free_gib = shutil.disk_usage(there).free // GIB
    if free_gib < DISK_FREE_LEAST_GIB:
        raise NoCapacity(
            f"{settings.state} has {free_gib} GiB free and needs {DISK_FREE_LEAST_GIB}; "
            "free some, or choose another place with: holdfast --state DIR up",
            code="disk_full",
        )
    return f"root, {len(TOOLS)} programs, {free_gib} GiB free"


def _settings_check(settings: config.Settings) -> None:
    """Raise BadInput for words that mean nothing, and for a store that cannot be reached from here."""
    for name, words in WORDS.items():
        if (said := getattr(settings, name)) not in words:
            allowed = f"{', '.join(words[:-1])} or {words[-1]}"
            raise BadInput(f"{name} is {said!r}, and must be {allowed}", code="bad_setting")
    for cidr in (settings.private_cidr, settings.public_cidr):
        subnet_range_parse(cidr)
    if settings.store.startswith("postgresql") and find_spec("psycopg") is None:
        raise BadInput(
            "the store is in PostgreSQL and its driver is not installed. Run: pip install 'psycopg[binary]'",
            code="driver_missing",
        )
    _joining_check(settings)
    if settings.role == "control" and not settings.store.startswith("postgresql"):
        raise BadInput(
            "a control replica shares its store with others, in PostgreSQL. "
            "Name it: HOLDFAST_STORE=postgresql://USER@HOST/NAME holdfast up --control-only",
            code="bad_setting",
        )


def _joining_check(settings: config.Settings) -> None:
    """Raise BadInput where hosts of other machines could not be reached, or not reach us."""
    if (settings.role == "host") != bool(settings.control):
        raise BadInput(
            "role is host, and control says where its cloud is, on a machine that joined one, and only there"
        )
    for name, address in (("hosts_listen", settings.hosts_listen), ("tunnel", tunnel_of(settings))):
        try:
            ipaddress.ip_address(address or "0.0.0.0")
        except ValueError as err:
            raise BadInput(f"{name} must be an address of this machine, not {address!r}", code="bad_setting") from err
    real = settings.role == "all" and settings.hypervisor != "simulated"
    if real and settings.hosts_listen and not tunnel_of(settings):
        raise BadInput(
            "guests here and on other machines reach each other over one address of this machine: name it, with "
            "holdfast up --hosts-listen ADDRESS, or in the setting tunnel",
            code="bad_setting",
        )
    if ":" in tunnel_of(settings):
        raise BadInput(
            "tunnels between hosts are IPv4: name this machine's address for them in the setting tunnel",
            code="bad_setting",
        )
    if settings.hosts_listen and (settings.hosts_listen, settings.hosts_port) == (settings.listen, settings.port):
        raise BadInput(
            "hosts of other machines need a port of their own: holdfast up --hosts-port N", code="bad_setting"
        )


def prefix_check(prefix: str) -> None:
    """Raise BadInput for a prefix that is a word of nftables' language (type, map, tcp): no table can be called so."""
    try:
        run(["nft", "-c", "-f", "-"], timeout_s=NETWORK_COMMAND_S, stdin=f"add table bridge {prefix}\n".encode())
    except CommandFailed as err:
        raise BadInput(
            f"the prefix {prefix!r} cannot be used: nftables has a meaning of its own for it; "
            "choose another with: holdfast up --prefix WORD",
            code="bad_setting",
        ) from err


def _addresses_check(settings: config.Settings, seats: Sequence[Seat]) -> None:
    """Raise Conflict when a range of ours is in use on this machine already: packets would go astray."""
    ranges = [("public network", subnet_range_parse(settings.public_cidr), "--public-cidr")]
    if seats:
        ranges.append(("range between hosts", ranges_of(settings.underlay_cidr).whole, "--underlay-cidr"))
    if seats and ranges[0][1].overlaps(ranges[1][1]):
        raise BadInput(
            f"the {ranges[0][0]} {ranges[0][1]} overlaps the {ranges[1][0]} {ranges[1][1]}; "
            "choose another with: holdfast up --underlay-cidr CIDR",
            code="bad_setting",
        )
    ours = [Names(prefix) for prefix in {settings.prefix, *prefixes(settings, seats)}]
    listed = json.loads(run(["ip", "-j", "-4", "addr", "show"], timeout_s=NETWORK_COMMAND_S))
    for link in listed:
        for address in link.get("addr_info", ()):
            here = ipaddress.ip_network(f"{address['local']}/{address['prefixlen']}", strict=False)
            for what, wanted, flag in ranges:
                if here.overlaps(wanted) and not any(names.ours(link["ifname"]) for names in ours):
                    raise Conflict(
                        f"the {what} {wanted} overlaps {here} on {link['ifname']}; "
                        f"choose another with: holdfast up {flag} CIDR",
                        code="network_taken",
                    )


def _uplink_check(settings: config.Settings, seats: Sequence[Seat]) -> None:
    """Raise unless the uplink is there and its routers have a range; several hosts have one of their own."""
    if not settings.uplink:
        return
    if seats:
        raise BadInput(
            "several hosts on one machine have the machine as their gateway: the setting uplink is for a machine "
            "with one host",
            code="bad_setting",
        )
    try:
        ipaddress.IPv4Network(settings.uplink_routers or "0.0.0.0/0")
    except ValueError as err:
        raise BadInput(
            f"uplink_routers must be an IPv4 range of this host alone, not {settings.uplink_routers!r}",
            code="bad_setting",
        ) from err
    if settings.uplink not in {name for _, name in socket.if_nameindex()}:
        raise BadInput(f"the uplink {settings.uplink} is not a link of this machine", code="bad_setting")


def port_check(settings: config.Settings) -> None:
    """Raise Conflict when the API's port is somebody else's."""
    family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.listen, settings.port))
        except OSError as err:
            raise Conflict(
                f"port {settings.port} on {settings.listen} is taken by another program; "
                f"choose another with: holdfast up --port {settings.port + 1}",
                code="port_taken",
            ) from err
