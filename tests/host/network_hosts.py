"""Several hosts on one kernel: a namespace each, with the wires that `up --hosts N` makes between them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from holdfast.domain import desired as d
from holdfast.host.network import namespace
from holdfast.host.network.apply import HostNetwork
from holdfast.host.network.fabric import Fabric
from holdfast.host.network.plan.fabric import Ranges, Seat, ranges_of, reach_of
from holdfast.host.network.plan.names import Names
from tests.host.network_world import Guest, alone, changed, ident, sh

# every test process has ranges of its own: the machine's namespace is one for all
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PUBLIC_BASE = f"198.51.{100 + _WORKER}"
PUBLIC, GATEWAY = f"{PUBLIC_BASE}.0/24", f"{PUBLIC_BASE}.1"
PUBLIC_NETWORK = d.External(ident("external"), PUBLIC, GATEWAY, masquerade=True)
RANGES = ranges_of(f"10.{212 + _WORKER}.0.0/16")
T = TypeVar("T")
_counter = itertools.count()


class Member:
    """One host: what tests.host.network_world.World is where a host is alone."""

    def __init__(self, seat: Seat, folder: Path) -> None:
        self.seat, self.prefix, self.names = seat, seat.prefix, Names(seat.prefix)
        self.folder = folder / f"h{seat.number}"
        self.folder.mkdir()
        self.guests: list[str] = []
        self.tunnel = str(RANGES.address(seat.number))
        self.network = self.here(self._agent)

    def _agent(self) -> HostNetwork:
        found = HostNetwork(self.prefix, self.folder / "state", reach=reach_of(self.seat, RANGES))
        found.claim()
        return found

    def here(self, act: Callable[[], T]) -> T:
        """Do something in the host's namespace, as its agent does."""
        return namespace.inside(self.seat.space, act)

    def again(self) -> None:
        """The agent was killed; this is the next one."""
        self.network.close()
        self.network = self.here(self._agent)

    def apply(self, desired: d.DesiredHost, force: bool = False) -> tuple[str, ...]:
        """Returns the floating addresses that are up."""
        report = self.here(lambda: self.network.apply(desired, force))
        assert report.problems == ()
        return tuple(item.id for item in report.floating if item.up)

    def drifts(self, desired: d.DesiredHost) -> list[str]:
        return [f"{f.code} {f.object}" for f in self.here(lambda: self.network.drift(desired, set()))]

    def guest(self, port: d.Port) -> Guest:
        return Guest(self, port)  # type: ignore[arg-type]

    def inside(self, space: str, *argv: str, check: bool = True) -> str:
        return sh("nsenter", f"--net=/run/netns/{space}", *argv, check=check)

    def unplug(self, guest: Guest) -> None:
        """The guest is gone from this host, as its machine would be."""
        sh("ip", "-n", guest.name, "link", "del", "eth0")  # its tap goes at once; with the namespace, some time later
        sh("ip", "netns", "delete", guest.name)
        self.guests.remove(guest.name)


class Machine:
    """A machine with several hosts."""

    def __init__(self, folder: Path, count: int) -> None:
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"
        number = (os.getpid() * 31 + next(_counter)) % 36**2
        self.prefix = "u" + digits[number // 36] + digits[number % 36]
        self.seats = [Seat(number, f"{self.prefix}{number}") for number in range(1, count + 1)]
        self.fabric = Fabric(self.prefix, folder, self.seats, RANGES)
        self.make()
        self.hosts = [Member(seat, folder) for seat in self.seats]

    def make(self) -> None:
        self.fabric.make([(PUBLIC, GATEWAY)])

    def end(self) -> None:
        for host in self.hosts:
            for guest in host.guests:
                sh("ip", "netns", "delete", guest, check=False)
            assert not host.here(host.network.destroy)
        assert self.fabric.remove() == []


def remote(port: d.Port, host: Member) -> tuple[str, str, str]:
    """What other hosts are told of a port."""
    return (port.mac, port.addresses[0].address, host.tunnel)


def spread(network: d.Network, places: dict[str, Member], host: Member) -> d.Network:
    """A network as that host is told of it; `places` says where each of its ports is, by host name."""
    here = tuple(port for port in network.ports if places[port.hostname] is host)
    there = tuple(remote(port, places[port.hostname]) for port in network.ports if places[port.hostname] is not host)
    return changed(network, ports=here, remote=there)  # type: ignore[return-value, arg-type]


def told(host: Member, *networks: d.Network, places: dict[str, Member], **more: object) -> d.DesiredHost:
    """The desired state of one host."""
    settings: dict[str, object] = {
        "version": 1,
        "host_id": ident(f"host-{host.prefix}"),
        "machines": (),
        "networks": tuple(spread(network, places, host) for network in networks),
        "routers": (),
        "externals": (),
        "security_groups": (),
    }
    return d.DesiredHost(**{**settings, **more})  # type: ignore[arg-type]


@pytest.fixture(name="machine")
def machine_fixture(tmp_path: Path) -> Iterator[Machine]:
    """A machine with two hosts."""
    with alone():
        machine = Machine(tmp_path, 2)
        try:
            yield machine
        finally:
            machine.end()


__all__ = ["Machine", "Member", "Ranges", "machine_fixture", "remote", "spread", "told"]
