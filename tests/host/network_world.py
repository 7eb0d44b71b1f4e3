"""A host's network with network namespaces that play guests: each holds the other end of a veth whose near
end has the name of the port's tap, so real packets cross the real rules.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from holdfast.base.ids import derived_id
from holdfast.domain import desired as d
from holdfast.host.network.apply import HostNetwork
from holdfast.host.network.plan.names import Names
from tests.conftest import HeldClock

_SPACE = "6f2a4c3e-0000-4000-8000-000000000000"
_counter = itertools.count()


def ident(name: str) -> str:
    return derived_id(_SPACE, name)


def sh(*argv: str, check: bool = True, stdin: str = "", timeout_s: float = 20) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout_s)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def rule(direction: str = "ingress", protocol: str = "", low: int = -1, high: int = -1, **more: str) -> d.Rule:
    return d.Rule(
        direction=direction,
        ethertype=more.get("ethertype", "IPv4"),
        protocol=protocol,
        port_min=low,
        port_max=high,
        remote_cidr=more.get("cidr", ""),
        remote_group=more.get("group", ""),
    )


EGRESS = (rule("egress"), rule("egress", ethertype="IPv6"))
OPEN = (*EGRESS, rule(), rule(ethertype="IPv6"))


def mac(number: int) -> str:
    return f"fa:16:3e:00:00:{number:02x}"


def port(name: str, number: int, address: str, **more: object) -> d.Port:
    settings: dict[str, object] = {
        "id": ident(f"port-{name}"),
        "instance_id": ident(f"instance-{name}"),
        "mac": mac(number),
        "addresses": (d.PortAddress(address, ident("subnet"), ""),),
        "hostname": name,
        "security_groups": (ident("open"),),
        "filtered": True,
        "allowed_pairs": (),
        "admin_up": True,
    }
    return d.Port(**{**settings, **more})  # type: ignore[arg-type]


def subnet(cidr: str = "10.0.0.0/24", **more: object) -> d.Subnet:
    base = cidr.rpartition(".")[0]
    settings: dict[str, object] = {
        "id": ident("subnet"),
        "cidr": cidr,
        "gateway": f"{base}.1",
        "dhcp": True,
        "dhcp_address": f"{base}.2",
        "nameservers": (),
        "routes": (),
    }
    return d.Subnet(**{**settings, **more})  # type: ignore[arg-type]


def network(name: str, *ports: d.Port, subnets: tuple[d.Subnet, ...] = ()) -> d.Network:
    return d.Network(
        id=ident(f"network-{name}"), vni=7, mtu=1450, subnets=subnets or (subnet(),), ports=ports, remote=()
    )


def group(name: str, *rules: d.Rule, members: tuple[str, ...] = ()) -> d.SecurityGroup:
    return d.SecurityGroup(id=ident(name), rules=rules, members=members)


def router(net: str, number: int = 0xF0, *floats: d.Floating, **more: object) -> d.Router:
    settings: dict[str, object] = {
        "id": ident(f"router-{net}"),
        "interfaces": (d.RouterInterface(ident(f"network-{net}"), mac(number), "10.0.0.1", "10.0.0.0/24"),),
        "external_network_id": ident("external"),
        "external_address": f"203.0.113.{number - 0xF0 + 10}",
        "external_mac": f"fa:16:3e:ee:00:{number:02x}",
        "snat": True,
        "floating": floats,
        "routes": (),
    }
    return d.Router(**{**settings, **more})  # type: ignore[arg-type]


def floating(address: str, fixed: str, net: str) -> d.Floating:
    return d.Floating(id=ident(address), address=address, fixed=fixed, network_id=ident(f"network-{net}"))


EXTERNAL = d.External(ident("external"), "203.0.113.0/24", "203.0.113.1", True)


def host(*networks: d.Network, **more: object) -> d.DesiredHost:
    settings: dict[str, object] = {
        "version": 1,
        "host_id": ident("host"),
        "machines": (),
        "networks": networks,
        "routers": (),
        "externals": (),
        "security_groups": (group("open", *OPEN),),
    }
    return d.DesiredHost(**{**settings, **more})  # type: ignore[arg-type]


def machine(name: str, **more: object) -> d.Machine:
    facts: dict[str, object] = {
        "instance_id": ident(f"instance-{name}"),
        "ec2_instance_id": "i-0000abcd",
        "ec2_image_id": "ami-00000001",
        "instance_type": "m1.tiny",
        "name": name,
        "hostname": name,
        "project_id": ident("project"),
        "availability_zone": "nova",
        "user_data": "IyEvYmluL3NoCg==",
        "keys": (("me", "ssh-ed25519 AAAA me"),),
        "properties": (("role", "web"),),
        "security_groups": ("default",),
        "created_us": 0,
    }
    return d.Machine(
        instance_id=ident(f"instance-{name}"),
        name=name,
        generation=1,
        present=True,
        power=d.Power.RUNNING,
        boot=0,
        soft=False,
        disk=0,
        vcpus=1,
        memory_mib=64,
        disk_gib=0,
        capture_image_id="",
        image=d.ImageSource("", "", 0, "raw"),
        kernel=None,
        ramdisk=None,
        kernel_arguments="",
        interfaces=(),
        config_drive=False,
        metadata=d.Metadata(**{**facts, **more}),  # type: ignore[arg-type]
    )


class Guest:
    """A namespace that plays a guest on a port."""

    def __init__(self, world: World, port: d.Port, static: bool = True) -> None:
        self.name = f"g{world.prefix}-{port.hostname}"
        self.port = port
        self.address = port.addresses[0].address if port.addresses else ""
        sh("ip", "netns", "add", self.name)
        world.guests.append(self.name)
        self._script = world.folder / "lease"
        self._script.write_text(
            '#!/bin/sh\n[ "$1" = bound ] && echo "ip=$ip;routes=$staticroutes;mtu=$mtu;dns=$dns"\nexit 0\n'
        )
        self._script.chmod(0o755)
        self.plug(world, static)

    def plug(self, world: World, static: bool = True) -> None:
        """Put its card into a host, as a machine does that starts there or comes there alive."""
        card = world.network.card(self.port.id)
        self.tap, self.space = card.tap, card.namespace
        peer = f"peer name {card.tap} netns {card.namespace}"
        link = f"link add name eth0 address {self.port.mac} netns {self.name} type veth {peer}"
        sh("ip", *link.split())
        if static:
            self.configure(f"{self.address}/24")
        else:
            sh("ip", "-n", self.name, "link", "set", "dev", "eth0", "up")
        world.network.attach(card)
        shown = ("bridge", "link", "show", "dev", card.tap)  # the kernel may take a second to notice the carrier
        assert until(lambda: "state forwarding" in world.inside(card.namespace, *shown))

    def configure(self, *addresses: str) -> None:
        base = addresses[0].rpartition(".")[0] if addresses else ""
        lines = ["link set dev lo up", *(f"addr add {address} dev eth0" for address in addresses)]
        lines += ["link set dev eth0 mtu 1450 up"]
        lines += [f"route add 169.254.169.254/32 via {base}.2"] if addresses else []  # as option 121 tells it
        lines += [f"route add default via {base}.1"] if addresses else []
        sh("ip", "-n", self.name, "-batch", "-", stdin="".join(f"{line}\n" for line in lines))

    def run(self, *argv: str, check: bool = False, stdin: str = "", timeout_s: float = 20) -> str:
        return sh("nsenter", f"--net=/run/netns/{self.name}", *argv, check=check, stdin=stdin, timeout_s=timeout_s)

    def lease(self, *options: str) -> dict[str, str]:
        """Ask for a lease once; empty when nobody answers."""
        asked = ["-f", "-q", "-n", "-t", "4", "-T", "1", "-i", "eth0", "-O", "staticroutes", "-O", "mtu", "-O", "dns"]
        text = self.run("busybox", "udhcpc", *asked, "-s", str(self._script), *options, timeout_s=30)
        line = next((line for line in text.splitlines() if line.startswith("ip=")), "")
        return dict(pair.split("=", 1) for pair in line.split(";") if pair)

    def reaches(self, address: str) -> bool:
        """Whether an answer comes in the end: a busy machine may lose the first packets."""
        return until(lambda: self.pings(address))

    def pings(self, address: str, wait_s: float = 1) -> bool:
        argv = ["nsenter", f"--net=/run/netns/{self.name}", "ping", "-n", "-c", "1", "-W", str(wait_s), address]
        return subprocess.run(argv, capture_output=True).returncode == 0


class World:
    """One HostNetwork under a prefix of its own, and everything that a test made around it."""

    def __init__(self, folder: Path) -> None:
        number = (os.getpid() * 31 + next(_counter)) % (36 * 36 * 10)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"  # a number at the end: no word of nftables has one there
        self.prefix = "t" + digits[number // 360] + digits[number // 10 % 36] + digits[number % 10]
        self.names = Names(self.prefix)
        self.folder = folder
        self.guests: list[str] = []
        self.clock = HeldClock()
        self.network = HostNetwork(self.prefix, folder / "state", clock=self.clock)

    def again(self) -> HostNetwork:
        """The agent of this host was killed; this is the next one."""
        self.network.close()
        self.network = HostNetwork(self.prefix, self.folder / "state", clock=self.clock)
        return self.network

    def apply(self, desired: d.DesiredHost, force: bool = False) -> None:
        report = self.network.apply(desired, force)
        assert report.problems == ()

    def guest(self, port: d.Port, static: bool = True) -> Guest:
        return Guest(self, port, static)

    def inside(self, space: str, *argv: str, check: bool = True) -> str:
        return sh("nsenter", f"--net=/run/netns/{space}", *argv, check=check)

    def dump(self) -> str:
        """All that the kernel says of this prefix, without what moves by itself."""
        parts = []
        for space in sorted(p.name for p in Path("/run/netns").iterdir() if p.name.startswith(f"{self.prefix}-")):
            parts += [space, self.inside(space, "nft", "-j", "-a", "list", "ruleset")]
            parts += [self.inside(space, "ip", "-j", "addr"), self.inside(space, "ip", "-j", "route")]
        parts += [sh("nft", "-j", "-a", "list", "table", "ip", f"{self.prefix}-ext")]
        parts += [str(link) for link in json.loads(sh("ip", "-j", "addr")) if self.names.ours(link["ifname"])]
        return "\n".join(parts)

    def shape(self) -> list[object]:
        """What there is, without numbers that differ between two makings of the same."""
        shape: list[object] = []
        for space in sorted(p.name for p in Path("/run/netns").iterdir() if p.name.startswith(f"{self.prefix}-")):
            routes = self.inside(space, "ip", "route").replace(" linkdown", "").split()
            shape += [space, rules(self.inside(space, "nft", "-j", "list", "ruleset")), routes]
            links = json.loads(self.inside(space, "ip", "-j", "addr"))
            for link in sorted(links, key=lambda link: link["ifname"]):
                addresses = [(a["local"], a["prefixlen"]) for a in link["addr_info"]]
                up = "UP" in link["flags"]
                shape.append((link["ifname"], link.get("address"), link["mtu"], link.get("master"), up, addresses))
        return shape

    def end(self) -> None:
        for guest in self.guests:
            sh("ip", "netns", "delete", guest, check=False)
        assert not self.network.destroy()


def rules(listing: str) -> list[str]:
    """Every set and every chain's rules in one form, whatever order the kernel keeps them in."""
    facts: dict[str, list[str]] = {}
    for item in json.loads(listing)["nftables"]:
        ((kind, body),) = item.items()
        body.pop("handle", None)
        key = json.dumps([kind, body.get("family"), body.get("table"), body.get("chain"), body.get("name")])
        elements = sorted(json.dumps(element) for element in body.pop("elem", ()))
        facts.setdefault(key, []).append(json.dumps([body, elements], sort_keys=True))
    return sorted(f"{key} {lines}" for key, lines in facts.items())


@contextmanager
def alone() -> Iterator[None]:
    """The machine's own namespace, with its public network and its firewall, is for one test at a time."""
    with open(Path(tempfile.gettempdir()) / "holdfast-test-network.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> Iterator[World]:
    with alone():
        world = World(tmp_path)
        try:
            yield world
        finally:
            world.end()


def changed(desired: d.DesiredHost, **more: object) -> d.DesiredHost:
    return msgspec.structs.replace(desired, **more)
