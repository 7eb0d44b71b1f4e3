"""The network of a host: rules that change, an agent that starts, and what its rules cost a packet.

Guests are namespaces behind links that have the names of their taps: packets cross the real bridge and the real
rules, and no emulated processor is measured. Beside them two such guests on a bridge made by hand, in the same run.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cloud import Failed
from bench.load import Figures
from holdfast.base.ids import derived_id
from holdfast.domain import desired as d
from holdfast.host.network import namespace
from holdfast.host.network.apply import HostNetwork

SPACE = "0e5a2f0c-0000-4000-8000-000000000000"
PREFIX, EXTERNAL = "bnw", "203.0.113"
ROUNDS, SECONDS, PINGS, BLOCK = 5, 1.0, 2000, 1 << 18
FLOWS = 20_000
OPEN = tuple(d.Rule(way, kind, "", -1, -1, "", "") for way in ("ingress", "egress") for kind in ("IPv4", "IPv6"))


def ident(name: str) -> str:
    return derived_id(SPACE, name)


async def network(ports: int) -> Figures:
    """Milliseconds of a rule's change with `ports` ports, seconds of a start with 2.5 times as many, and ratios."""
    return await asyncio.to_thread(_network, ports)


def _network(ports: int) -> Figures:
    figures: Figures = {"ports": ports}
    with tempfile.TemporaryDirectory() as folder:
        for networks in (1, 20):
            figures |= {
                f"{name}_{networks}_networks": value for name, value in _rules(Path(folder), ports, networks).items()
            }
        figures |= _start(Path(folder), ports * 5 // 2, 50)
        figures |= _packets(Path(folder))
    return figures


def desired(ports: int, networks: int, rules: tuple[d.Rule, ...] = OPEN, floating: bool = False) -> d.DesiredHost:
    """So many ports on so many networks, all in one group; the first network behind a router."""
    made = []
    for number in range(networks):
        base, subnet = f"10.{number}", ident(f"subnet-{number}")
        here = tuple(
            d.Port(
                id=ident(f"port-{number}-{n}"),
                instance_id=ident(f"instance-{number}-{n}"),
                mac=f"fa:16:{number:02x}:00:{n >> 8:02x}:{n & 255:02x}",
                addresses=(d.PortAddress(f"{base}.{1 + n // 200}.{n % 200 + 10}", subnet, ""),),
                hostname=f"n{number}-{n}",
                security_groups=(ident("group"),),
                filtered=True,
                allowed_pairs=(),
                admin_up=True,
            )
            for n in range(ports // networks)
        )
        told = d.Subnet(subnet, f"{base}.0.0/16", f"{base}.0.1", True, f"{base}.0.2", (), ())
        made.append(
            d.Network(id=ident(f"network-{number}"), vni=number + 7, mtu=1450, subnets=(told,), ports=here, remote=())
        )
    members = tuple(address.address for network in made for port in network.ports for address in port.addresses)
    return d.DesiredHost(
        version=1,
        host_id=ident("host"),
        machines=(),
        networks=tuple(made),
        routers=(_router(),) if floating else (),
        externals=(d.External(ident("external"), f"{EXTERNAL}.0/24", f"{EXTERNAL}.1", False),) if floating else (),
        security_groups=(d.SecurityGroup(id=ident("group"), rules=rules, members=members),),
    )


def _router() -> d.Router:
    return d.Router(
        id=ident("router"),
        interfaces=(d.RouterInterface(ident("network-0"), "fa:16:3e:ff:00:01", "10.0.0.1", "10.0.0.0/16"),),
        external_network_id=ident("external"),
        external_address=f"{EXTERNAL}.10",
        external_mac="fa:16:3e:ff:00:02",
        snat=True,
        floating=(d.Floating(ident("floating"), f"{EXTERNAL}.101", "10.0.1.11", ident("network-0")),),
        routes=(),
    )


@contextmanager
def owned(folder: Path) -> Iterator[HostNetwork]:
    """A host's network, and nothing of it afterwards."""
    made = HostNetwork(PREFIX, folder / "state")
    try:
        yield made
    finally:
        if left := made.destroy():
            raise Failed(f"the network left {left}")


def apply(made: HostNetwork, wanted: d.DesiredHost) -> float:
    """Seconds until it is as wanted."""
    began_s = time.perf_counter()
    if problems := made.apply(wanted).problems:
        raise Failed(f"the network has problems: {problems}")
    return time.perf_counter() - began_s


def _rules(folder: Path, ports: int, networks: int) -> Figures:
    """One rule more and one less, in a group that every port is in, beside FLOWS tracked flows that stay allowed.

    In force: nothing new passes, or everything; cut: nor does what was let in before.
    """
    more = (*OPEN, d.Rule("ingress", "IPv4", "tcp", 4321, 4321, "", ""))
    times: dict[str, list[float]] = {"added": [], "removed": [], "cut": []}
    transactions = []
    with owned(folder) as made:
        apply(made, desired(ports, networks))
        spaces = [name for name in os.listdir("/run/netns") if name.startswith(f"{PREFIX}-n-")]
        _track(spaces[0])
        for _ in range(ROUNDS):
            for rules, name in ((more, "added"), (OPEN, "removed")):
                before = {space: _generation(space) for space in spaces}
                wanted, began_s = desired(ports, networks, rules), time.perf_counter()
                applying = threading.Thread(target=apply, args=(made, wanted))
                applying.start()
                while any(_generation(space) == before[space] for space in spaces):
                    time.sleep(0.001)
                times[name].append(time.perf_counter() - began_s)
                applying.join()
                if name == "removed":
                    times["cut"].append(time.perf_counter() - began_s)
                transactions.append(max(_generation(space) - before[space] for space in spaces))
    figures: Figures = {f"rule_{name}_ms": round(statistics.median(each) * 1000, 1) for name, each in times.items()}
    return {**figures, "rule_transactions": max(transactions)}


def _generation(space: str) -> int:
    return namespace.inside(space, namespace.rules_generation_here)


def _track(space: str) -> None:
    """Many flows that stay allowed."""
    lines = "".join(
        f"-I -p udp -s 10.0.1.10 -d 192.0.2.{n % 250 + 1} --sport {1024 + n} --dport 53 -t 600\n" for n in range(FLOWS)
    )
    namespace.inside(space, lambda: subprocess.run(["conntrack", "-R", "-"], input=lines.encode(), capture_output=True))


def _start(folder: Path, ports: int, networks: int) -> Figures:
    """An agent is replaced while two guests exchange a datagram each millisecond."""
    wanted = desired(ports, networks)
    with owned(folder) as made:
        first = apply(made, wanted)
        with guests(made, wanted) as (one, two):
            flow = Flow(one, two, wanted.networks[0].ports[1].addresses[0].address)
            made.close()
            again = HostNetwork(PREFIX, folder / "state")
            again_s = apply(again, wanted)
            again.close()
            sent, heard = flow.end()
    return {
        "start_ports": ports,
        "start_from_nothing_s": round(first, 2),
        "start_again_s": round(again_s, 2),
        "start_again_sent": sent,
        "start_again_lost": sent - heard,
    }


class Flow:
    """A datagram each millisecond from one namespace to another, until `end`."""

    def __init__(self, source: str, target: str, address: str) -> None:
        self._inlet = namespace.inside(target, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._inlet.bind((address, 9))
        self._inlet.settimeout(1)
        self._outlet = namespace.inside(source, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._outlet.connect((address, 9))
        self._stopping = threading.Event()
        self._sent = self._heard = 0
        self._threads = [threading.Thread(target=each) for each in (self._send, self._hear)]
        for thread in self._threads:
            thread.start()

    def end(self) -> tuple[int, int]:
        """How many were sent, and how many came."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._inlet.close()
        self._outlet.close()
        return self._sent, self._heard

    def _send(self) -> None:
        while not self._stopping.wait(0.001):
            self._outlet.send(b"x")
            self._sent += 1

    def _hear(self) -> None:
        while True:
            try:
                self._inlet.recv(16)
            except TimeoutError:
                return
            self._heard += 1


@contextmanager
def guests(made: HostNetwork, wanted: d.DesiredHost) -> Iterator[tuple[str, str]]:
    """The first two ports of the first network, as namespaces."""
    names = (f"{PREFIX}g1", f"{PREFIX}g2")
    try:
        for name, port in zip(names, wanted.networks[0].ports, strict=False):
            card = made.card(port.id)
            _plug(name, port.mac, card.tap, card.namespace, port.addresses[0].address)
            made.attach(card)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@contextmanager
def by_hand() -> Iterator[tuple[str, str]]:
    """Two such namespaces on a bridge without any rule."""
    bridge, names = f"{PREFIX}h", (f"{PREFIX}h1", f"{PREFIX}h2")
    try:
        _ip(
            f"netns add {bridge}",
            f"-n {bridge} link add name bridge type bridge",
            f"-n {bridge} link set bridge mtu 1450 up",
        )
        for number, name in enumerate(names):
            _plug(name, f"fa:16:3e:fe:00:0{number}", f"tap{number}", bridge, f"10.0.1.{number + 10}")
            _ip(f"-n {bridge} link set tap{number} mtu 1450 master bridge up")
        yield names
    finally:
        for name in (*names, bridge):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _plug(name: str, mac: str, tap: str, space: str, address: str) -> None:
    _ip(
        f"netns add {name}",
        f"link add name eth0 address {mac} netns {name} type veth peer name {tap} netns {space}",
        f"-n {name} link set eth0 mtu 1450 up",
        f"-n {name} addr add {address}/16 dev eth0",
        f"-n {name} route add default via 10.0.0.1",
    )


def _ip(*lines: str) -> None:
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True)


def _packets(folder: Path) -> Figures:
    """Throughput and round trip between guests, direct and by a floating address, as parts of those by hand."""
    wanted = desired(2, 1, floating=True)
    with owned(folder) as made, by_hand() as hand:
        apply(made, wanted)
        with guests(made, wanted) as ours:
            apply(made, wanted)
            paths = {
                "hand": (*hand, "10.0.1.11"),
                "fixed": (*ours, "10.0.1.11"),
                "floating": (*ours, f"{EXTERNAL}.101"),
            }
            rates: dict[str, list[float]] = {name: [] for name in paths}
            trips: dict[str, list[float]] = {name: [] for name in paths}
            for _ in range(ROUNDS):  # in turn, so that what slows the machine slows all of them
                for name, path in paths.items():
                    rate, trip = _measured(*path)
                    rates[name].append(rate)
                    trips[name].append(trip)
    rate, trip = ({name: statistics.median(found) for name, found in each.items()} for each in (rates, trips))
    figures: Figures = {"hand_mb_per_s": round(rate["hand"] / 1e6), "hand_round_trip_us": round(trip["hand"] * 1e6, 1)}
    for name in ("fixed", "floating"):
        figures[f"{name}_throughput_by_hand"] = round(rate[name] / rate["hand"], 2)
        figures[f"{name}_speed_by_hand"] = round(trip["hand"] / trip[name], 2)
    return figures


def _measured(source: str, target: str, address: str) -> tuple[float, float]:
    """Bytes per second of one TCP connection, and the median seconds of its round trips."""
    with namespace.inside(target, lambda: socket.create_server(("", 8000))) as server:
        client = namespace.inside(source, socket.socket)
        client.settimeout(10)
        client.connect((address, 8000))
        served = server.accept()[0]
    with client, served:
        for each in (client, served):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echo = threading.Thread(target=_repeat, args=(PINGS, lambda: served.send(served.recv(64))))
        echo.start()
        trips = []
        for _ in range(PINGS):
            began_s = time.perf_counter()
            client.send(b"x" * 64)
            client.recv(64)
            trips.append(time.perf_counter() - began_s)
        echo.join()
        taken = Taken(served)
        taken.start()
        block, began_s = bytes(BLOCK), time.perf_counter()
        while time.perf_counter() - began_s < SECONDS:
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        taken.join()
        return taken.bytes / (time.perf_counter() - began_s), statistics.median(trips)


def _repeat(count: int, act: Callable[[], object]) -> None:
    for _ in range(count):
        act()


class Taken(threading.Thread):
    """Takes all that comes."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection, self.bytes = connection, 0

    def run(self) -> None:
        buffer = bytearray(BLOCK)
        while got := self._connection.recv_into(buffer):
            self.bytes += got
