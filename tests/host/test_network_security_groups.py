"""Security groups between real sockets: closed, opened, closed again and cut; garbage stops nobody else."""

from __future__ import annotations

import os
import socket
import threading
from functools import partial

import pytest

from holdfast.domain.desired import DesiredHost, Rule
from holdfast.host.network import flows, namespace
from tests.host.network_frames import connect, listen
from tests.host.network_world import (  # noqa: F401
    EGRESS,
    OPEN,
    Guest,
    World,
    changed,
    group,
    host,
    ident,
    network,
    port,
    rule,
    sh,
    until,
    world_fixture,
)

pytestmark = pytest.mark.root

FLOWS, ROUNDS = 12_000, int(os.environ.get("HOLDFAST_ROUNDS", "20"))
SSH, WEB = rule(protocol="tcp", low=22, high=22), rule(protocol="tcp", low=80, high=81)


def two(*rules: Rule, members: tuple[str, ...] = ()) -> DesiredHost:
    a = port("a", 1, "10.0.0.11", security_groups=(ident("out"),))
    b = port("b", 2, "10.0.0.12", security_groups=(ident("in"),))
    groups = (group("out", *OPEN, members=members), group("in", *EGRESS, *rules))
    return host(network("one", a, b), security_groups=groups)


def ports_of(desired: DesiredHost) -> list:
    return list(desired.networks[0].ports)


def test_a_closed_port_opens_with_its_rule_and_closes_again_for_open_connections_too(world: World) -> None:
    world.apply(two(SSH))
    a, b = (world.guest(p) for p in ports_of(two()))
    with listen(b, 22) as ssh, listen(b, 80) as web:
        with pytest.raises(OSError):
            connect(a, b.address, 80, 0.5)
        world.apply(two(SSH, WEB))
        with connect(a, b.address, 80) as client, connect(a, b.address, 22) as kept:
            server, kept_server = web.accept()[0], ssh.accept()[0]
            server.settimeout(0.7)
            kept_server.settimeout(2)
            client.sendall(b"before")
            assert server.recv(64) == b"before"

            world.apply(two(SSH))

            client.sendall(b"after")
            with pytest.raises(TimeoutError):
                server.recv(64)
            server.sendall(b"from the other end")  # nor does the guest's own packet revive it
            client.settimeout(0.7)
            with pytest.raises(TimeoutError):
                client.recv(64)
            kept.sendall(b"still allowed")
            assert kept_server.recv(64) == b"still allowed"
            server.close(), kept_server.close()


def test_among_very_many_flows_the_refused_are_cut_and_no_other(world: World) -> None:
    world.apply(two(SSH, WEB))
    a, b = (world.guest(p) for p in ports_of(two()))
    space = world.names.of("n", ident("network-one"))
    udp = "-I -p udp -s {} -d 192.0.2.{} --sport {} --dport 53 -t 600\n"
    many = "".join(udp.format(b.address, 1 + n % 200, 1000 + n) for n in range(FLOWS))
    web = "".join(
        f"-I -p tcp -s {a.address} -d {b.address} --sport {1000 + n} --dport 80 --state ESTABLISHED -t 600\n"
        for n in range(FLOWS // 10)
    )
    sh("nsenter", f"--net=/run/netns/{space}", "conntrack", "-R", "-", stdin=many + web)
    with listen(b, 22) as ssh, connect(a, b.address, 22) as kept:
        server = ssh.accept()[0]
        server.settimeout(2)
        for step in (lambda: world.apply(two(SSH)), world.again, lambda: world.apply(two(SSH))):
            step()
            kept.sendall(b"still allowed")
            assert server.recv(64) == b"still allowed"
            tracked = world.inside(space, "conntrack", "-L")
            assert tracked.count(" dport=53 [") == FLOWS
            assert " dport=80 " not in tracked
        world.again()
        world.apply(two(WEB))
        kept.sendall(b"a rule that goes while no agent runs")
        server.settimeout(0.7)
        with pytest.raises(TimeoutError):
            server.recv(64)
        server.close()


def test_killed_between_the_new_rules_and_the_cut_the_next_agent_cuts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing after it happens."""

    def dies(*_: object) -> int:
        raise Killed

    world.apply(two(SSH, WEB))
    a, b = (world.guest(p) for p in ports_of(two()))
    with listen(b, 80) as web, connect(a, b.address, 80) as client:
        server = web.accept()[0]
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(flows, "cut_refused", dies)
            world.apply(two(SSH))
        world.again()
        world.apply(two(SSH))
        client.sendall(b"x")
        server.settimeout(0.7)
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.close()


def test_a_port_that_goes_takes_its_flows_and_the_next_with_its_address_finds_none(world: World) -> None:
    desired = two(SSH)
    world.apply(desired)
    a, b = (world.guest(p) for p in ports_of(desired))
    space = world.names.of("n", ident("network-one"))
    with listen(b, 22), connect(a, b.address, 22):
        assert f"dst={b.address} " in world.inside(space, "conntrack", "-L")
        world.apply(changed(desired, networks=(network("one", ports_of(desired)[0]),)))
        assert f"dst={b.address} " not in world.inside(space, "conntrack", "-L")


def test_a_rule_for_a_group_follows_its_members(world: World) -> None:
    allowed = rule(protocol="tcp", low=80, high=80, group=ident("out"))
    world.apply(two(allowed))
    a, b = (world.guest(p) for p in ports_of(two()))
    with listen(b, 80) as web:
        with pytest.raises(OSError):
            connect(a, b.address, 80, 0.5)
        world.apply(two(allowed, members=("10.0.0.11",)))
        with connect(a, b.address, 80) as client:
            server = web.accept()[0]
            server.settimeout(0.7)
            world.apply(two(allowed, members=()))
            client.sendall(b"x")
            with pytest.raises(TimeoutError):
                server.recv(1)
            server.close()


def test_icmp_is_told_apart_by_type_and_udp_by_port(world: World) -> None:
    world.apply(two(rule(protocol="icmp", low=13)))
    a, b = (world.guest(p) for p in ports_of(two()))
    assert not a.pings(b.address, wait_s=0.5)
    world.apply(two(rule(protocol="icmp", low=8, high=0), rule(protocol="17", low=500, high=600)))
    assert a.reaches(b.address)
    inside = namespace.inside(b.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    outside = namespace.inside(b.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender = namespace.inside(a.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with inside, outside, sender:
        inside.bind((b.address, 555))
        outside.bind((b.address, 700))
        inside.settimeout(2)
        outside.settimeout(0.5)
        sender.sendto(b"no", (b.address, 700))
        sender.sendto(b"yes", (b.address, 555))
        assert inside.recv(8) == b"yes"
        with pytest.raises(TimeoutError):
            outside.recv(8)


def test_ipv6_is_closed_until_a_rule_of_ipv6_opens_it(world: World) -> None:
    world.apply(two(rule()))
    a, b = (world.guest(p) for p in ports_of(two()))
    target = "fe80::f816:3eff:fe00:2%eth0"
    assert until(lambda: not any("tentative" in guest.run("ip", "-6", "addr") for guest in (a, b)))
    assert not a.pings(target, wait_s=0.5)
    world.apply(two(rule(protocol="ipv6-icmp", ethertype="IPv6")))
    assert a.reaches(target)


def test_a_port_without_groups_gets_its_address_and_metadata_and_nothing_else(world: World) -> None:
    a, b = port("a", 1, "10.0.0.11", security_groups=()), port("b", 2, "10.0.0.12")
    world.apply(host(network("one", a, b)))
    alone, other = world.guest(a, static=False), world.guest(b)
    assert alone.lease()["ip"] == "10.0.0.11"
    alone.configure("10.0.0.11/24")
    assert not other.pings("10.0.0.11", wait_s=0.5)
    assert not alone.pings("10.0.0.12", wait_s=0.5)


def test_one_garbage_rule_stops_no_other_and_is_named(world: World) -> None:
    garbage = (
        rule(protocol="tcp } ; flush ruleset ; add rule inet x {"),
        rule(protocol="tcp", low=90, high=10),
        rule(protocol="tcp", low=1, high=70_000),
        rule(protocol="-1"),
        rule(protocol="999"),
        rule(cidr="0.0.0.0/0; drop"),
        rule(cidr="2001:db8::/32"),
        rule(cidr="10.0.0.0/33"),
        rule(direction="sideways"),
        rule(ethertype="IPX"),
        rule(protocol="gre", low=5, high=5),
        rule(protocol="icmp", low=300),
    )
    desired = two(*garbage[:6], WEB, *garbage[6:], rule(protocol="tcp", low=82, high=82, group='x" } ; flush ruleset'))
    report = world.network.apply(desired)
    assert {problem.kind for problem in report.problems} == {"rule"}
    assert len(report.problems) == len(garbage)
    a, b = (world.guest(p) for p in ports_of(desired))
    with listen(b, 80) as web, connect(a, b.address, 80):
        web.accept()[0].close()


def test_what_the_namespace_itself_offers_is_four_services(world: World) -> None:
    world.apply(two())
    a, _ = (world.guest(p) for p in ports_of(two()))
    space = world.names.of("n", ident("network-one"))
    with namespace.inside(space, lambda: socket.create_server(("0.0.0.0", 8080))), pytest.raises(OSError):
        connect(a, "10.0.0.2", 8080, 0.5)
    assert a.reaches("10.0.0.2")


class Probe:
    """A datagram each millisecond from one guest to a port of another, until `end`."""

    def __init__(self, source: Guest, target: Guest, port: int) -> None:
        self._inlet = namespace.inside(target.name, partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
        self._inlet.bind((target.address, port))
        self._inlet.settimeout(1)
        self._outlet = namespace.inside(source.name, partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
        self._where = (target.address, port)
        self._stopping = threading.Event()
        self.sent = self.heard = 0
        self._threads = [threading.Thread(target=each) for each in (self._send, self._hear)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._inlet.close(), self._outlet.close()

    def _send(self) -> None:
        while not self._stopping.wait(0.001):
            self._outlet.sendto(b"x", self._where)
            self.sent += 1

    def _hear(self) -> None:
        while True:
            try:
                self._inlet.recv(16)
            except TimeoutError:
                return
            self.heard += 1


def test_no_forbidden_packet_passes_and_allowed_ones_do_while_rules_change_and_agents_restart(world: World) -> None:
    """NET-10: `HOLDFAST_ROUNDS=200` for all of it."""
    allowed, other = rule(protocol="udp", low=9, high=9), rule(protocol="udp", low=20, high=30)
    world.apply(two(allowed))
    a, b = (world.guest(p) for p in ports_of(two()))
    passing, forbidden = Probe(a, b, 9), Probe(a, b, 10)
    try:
        for turn in range(ROUNDS):
            world.apply(two(allowed, *([other] if turn % 2 else [WEB, SSH])))
            if turn % 5 == 4:
                world.again()
                world.apply(two(allowed))
            if turn % 10 == 9:
                world.apply(two(allowed), force=True)
    finally:
        passing.end(), forbidden.end()
    assert forbidden.sent > ROUNDS and forbidden.heard == 0
    assert passing.sent > ROUNDS and passing.heard >= 0.99 * passing.sent
