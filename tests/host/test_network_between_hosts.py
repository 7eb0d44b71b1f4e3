"""Tenant networks over several hosts: real packets between namespaces that play hosts, over real tunnels."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from holdfast.base.limits import TUNNEL_PORT
from holdfast.domain import desired as d
from holdfast.host.network import namespace
from holdfast.host.network.plan.fabric import reach_of
from holdfast.host.network.plan.host import plan
from tests.host.network_frames import ALL, OUTGOING, arp, connect, ethernet, heard, ipv4, listen, packed, udp, wire
from tests.host.network_hosts import RANGES, Machine, Member, machine_fixture, told  # noqa: F401
from tests.host.network_world import (
    EGRESS,
    OPEN,
    Guest,
    changed,
    group,
    ident,
    network,
    port,
    router,
    rule,
    sh,
    subnet,
    until,
)
from tests.host.network_world import machine as machine_of

pytestmark = pytest.mark.root
A, B = port("a", 1, "10.0.0.11"), port("b", 2, "10.0.0.12")
GROUPS = (group("open", *OPEN),)
COMING = (changed(machine_of("b"), move=d.Move("move", d.MoveRole.RECEIVE, "0" * 64, "none")),)


def applied(machine: Machine, places: dict[str, Member], *networks: d.Network, **more: object) -> None:
    """Every host is told where ports are, and has done it."""
    facts = {"security_groups": GROUPS, **more}
    for host in machine.hosts:
        host.apply(told(host, *networks, places=places, **facts))


def pings_whole(guest: Guest, address: str, size: int) -> bool:
    """Whether a packet of that size gets there and back in one piece."""
    return "1 received" in guest.run("ping", "-n", "-c1", "-W1", "-M", "do", "-s", str(size - 28), address)


def test_guests_on_two_hosts_reach_each_other_with_whole_packets_of_their_mtu(machine: Machine) -> None:
    first, second = machine.hosts
    applied(machine, {"a": first, "b": second}, network("one", A, B))
    a, b = first.guest(A), second.guest(B)
    assert a.reaches(b.address) and b.reaches(a.address)
    assert a.reaches("fe80::f816:3eff:fe00:2%eth0"), "what guests say in IPv6 on their own link crosses too"
    assert pings_whole(a, b.address, 1450) and not pings_whole(a, b.address, 1451)
    with listen(b, 80) as server, connect(a, b.address, 80) as client:
        connection, _ = server.accept()
        with connection:
            client.sendall(b"x" * 200_000)
            received = 0
            while received < 200_000:
                received += len(connection.recv(65_536))


def test_a_third_host_joins_and_every_pair_speaks(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 3)
    try:
        ports = [port(name, number, f"10.0.0.1{number}") for number, name in enumerate("abc", 1)]
        places = dict(zip("abc", machine.hosts, strict=True))
        applied(machine, places, network("one", *ports))
        guests = [host.guest(each) for host, each in zip(machine.hosts, ports, strict=True)]
        for guest in guests:
            assert all(guest.reaches(other.address) for other in guests if other is not guest)
    finally:
        machine.end()


def test_two_tenants_with_the_same_addresses_are_apart_on_every_host(machine: Machine) -> None:
    first, second = machine.hosts
    mine = network("one", A, B)
    theirs = [port("a2", 1, "10.0.0.11"), port("b2", 2, "10.0.0.12")]
    other = changed(network("two", *theirs), vni=8)
    places = {"a": first, "b": second, "a2": first, "b2": second}
    applied(machine, places, mine, other)  # type: ignore[arg-type]
    a, b, b2 = first.guest(A), second.guest(B), second.guest(theirs[1])
    assert a.reaches(b.address)
    with wire(b2) as ear, wire(b) as mine_ear:
        assert a.pings("10.0.0.12")
        assert packed(A.mac) in mine_ear.recv(2000), "the frame came to its own tenant"
        ear.settimeout(0.3)
        with pytest.raises(TimeoutError):
            while packed(A.mac) not in ear.recv(2000):
                pass


def test_a_port_that_moved_is_reached_where_it_is_and_nowhere_else(machine: Machine) -> None:
    first, second = machine.hosts
    one, witness = network("one", A, B), port("w", 3, "10.0.0.13")
    one = network("one", A, B, witness)
    places = {"a": first, "b": second, "w": first}
    applied(machine, places, one)
    a, b, w = first.guest(A), second.guest(B), first.guest(witness)
    assert b.reaches(a.address) and w.reaches(a.address)
    places["a"] = second  # and the old host still has the process: what it sends is nobody's
    applied(machine, places, one)
    with wire(b) as ear:
        a.pings(b.address, 0.3)
        ear.settimeout(0.3)
        with pytest.raises(TimeoutError):
            while packed(A.mac) not in ear.recv(2000)[6:12]:
                pass
    first.unplug(a)
    again = second.guest(A)
    assert again.reaches(b.address) and b.reaches(again.address), "a neighbour by now"
    assert w.reaches(again.address) and again.reaches(w.address), "who stayed finds it over the tunnel"
    space = first.names.of("n", ident("network-one"))
    entries = [line for line in first.inside(space, "bridge", "fdb", "show").splitlines() if A.mac in line]
    assert len(entries) == 2 and all(first.names.of("v", ident("network-one")) in line for line in entries), entries
    for host in machine.hosts:
        assert host.drifts(told(host, one, places=places, security_groups=GROUPS)) == []


@pytest.mark.parametrize("stayed_speaks_first", [True, False])
def test_connections_go_on_when_a_guest_comes_to_another_host_alive(
    machine: Machine, stayed_speaks_first: bool
) -> None:
    first, second = machine.hosts
    one, web = network("one", A, B), rule(protocol="tcp", low=80, high=81)
    places, groups = {"a": first, "b": first}, (group("open", *EGRESS, web),)
    applied(machine, places, one, security_groups=groups)
    a, b = first.guest(A), first.guest(B)
    with listen(b, 80) as server, connect(a, b.address, 80) as client, connect(a, b.address, 80) as idle:
        served, idles = server.accept()[0], server.accept()[0]
        for each in (client, served, idle, idles):
            each.settimeout(5)
        sh("ip", "-n", b.name, "link", "del", "eth0")
        second.apply(told(second, one, places={"a": first, "b": second}, security_groups=groups, machines=COMING))
        places["b"] = second
        applied(machine, places, one, security_groups=groups)
        b.plug(second)  # type: ignore[arg-type]
        pair = (client, served) if stayed_speaks_first else (served, client)
        for one_end, other in (pair, pair[::-1]):
            one_end.sendall(b"it goes on")
            assert other.recv(64) == b"it goes on"
        applied(machine, places, one, security_groups=(group("open", *EGRESS, rule(protocol="udp")),))
        client.settimeout(0.7), idles.settimeout(0.7), idle.settimeout(0.7)
        for one_end, other in ((served, client), (idle, idles), (idles, idle)):
            one_end.sendall(b"revoked")
            with pytest.raises(TimeoutError):
                other.recv(64)
        for each in (served, idles):
            each.close()


def test_what_did_not_come_alive_is_not_taken_up_in_its_middle(machine: Machine) -> None:
    first, second = machine.hosts
    one, places = network("one", A, B), {"a": first, "b": first}
    applied(machine, places, one)
    a, b = first.guest(A), first.guest(B)
    with listen(b, 80) as server, connect(a, b.address, 80) as client:
        served = server.accept()[0]
        sh("ip", "-n", b.name, "link", "del", "eth0")
        places["b"] = second
        applied(machine, places, one)
        b.plug(second)  # type: ignore[arg-type]
        for one_end, other in ((client, served), (served, client)):
            one_end.sendall(b"x")
            other.settimeout(0.7)
            with pytest.raises(TimeoutError):
                other.recv(64)
        served.close()


def test_a_network_that_no_other_host_has_any_more_sends_nothing_anywhere(machine: Machine) -> None:
    first, second = machine.hosts
    applied(machine, {"a": first, "b": second}, network("one", A, B))
    space, link = (first.names.of(kind, ident("network-one")) for kind in "nv")

    def entries() -> str:
        return first.inside(space, "bridge", "fdb", "show", "dev", link) + first.inside(space, "ip", "neighbour")

    assert B.mac in entries() and second.tunnel in entries()
    applied(machine, {"a": first}, network("one", A))
    assert B.mac not in entries() and second.tunnel not in entries() and "10.0.0.12" not in entries()


def tunnelled(host: Member) -> socket.socket:
    """What leaves by, or comes from, the tunnel of the network in the host's namespace."""
    space, link = (host.names.of(kind, ident("network-one")) for kind in "nv")

    def make() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        raw.bind((link, ALL))
        raw.settimeout(5)
        return raw

    return namespace.inside(space, make)


def left_before(ear: socket.socket, last: bytes) -> list[bytes]:
    """Every frame that left by the tunnel until one that holds `last`."""
    frames: list[bytes] = []
    while True:
        frame, address = ear.recvfrom(65_535)
        if address[2] == OUTGOING:
            frames.append(frame)
            if last in frame:
                return frames


def test_gateway_dhcp_and_metadata_are_answered_at_home_and_never_asked_across(machine: Machine) -> None:
    first, second = machine.hosts
    free = changed(A, filtered=False, security_groups=())  # whom no anti-spoofing holds back
    one = network("one", free, B)  # type: ignore[arg-type]
    applied(machine, {"a": first, "b": second}, one, routers=(router("one", external_network_id="", snat=False),))
    a, b = first.guest(free), second.guest(B)  # type: ignore[arg-type]
    assert all(guest.reaches(there) for guest in (a, b) for there in ("10.0.0.1", "10.0.0.2"))
    assert a.lease()["ip"] == "10.0.0.11" and b.lease()["ip"] == "10.0.0.12", "each from its own host"
    everybody, gateway = "ff:ff:ff:ff:ff:ff", "fa:16:3e:00:00:f0"
    marker = ethernet(A.mac, everybody, 0x0806, arp(1, A.mac, "10.0.0.11", "00:00:00:00:00:00", "10.0.0.99"))
    with tunnelled(first) as ear, wire(a) as card:
        for address in ("10.0.0.1", "10.0.0.2", "169.254.169.254", B.addresses[0].address):
            card.send(ethernet(A.mac, everybody, 0x0806, arp(1, A.mac, "10.0.0.11", "00:00:00:00:00:00", address)))
        for address, mac in (("10.0.0.1", gateway), ("10.0.0.1", A.mac), ("10.0.0.2", A.mac)):
            card.send(ethernet(A.mac, everybody, 0x0806, arp(2, mac, address, B.mac, "10.0.0.12")))
            card.send(ethernet(A.mac, B.mac, 0x0806, arp(2, mac, address, B.mac, "10.0.0.12")))
        discover = ipv4("0.0.0.0", "255.255.255.255", 17, udp(68, 67, b"\x01" * 240))
        card.send(ethernet(A.mac, everybody, 0x0800, discover))
        card.send(ethernet(A.mac, "fa:16:3e:00:00:66", 0x0800, ipv4("10.0.0.11", "10.0.0.12", 17, udp(9, 9, b""))))
        for space in (first.names.of("r", ident("router-one")), first.names.of("n", ident("network-one"))):
            first.inside(space, "ping", "-c1", "-W1", "10.0.0.77", check=False)
        card.send(marker)
        crossed = left_before(ear, socket.inet_aton("10.0.0.99"))
    others = [frame for frame in crossed if socket.inet_aton("10.0.0.99") not in frame]
    assert [frame for frame in others if frame[12:14] != b"\x86\xdd"] == [], "but for a guest's own IPv6 discovery"
    with tunnelled(first) as ear:
        assert b.reaches("10.0.0.11"), "what is meant for the guest does cross"
        assert ear.recv(2000)


def test_what_another_host_sends_as_the_gateway_or_as_a_guest_of_this_one_is_not_believed(machine: Machine) -> None:
    """The filter at the far end: a host that is not as it should be takes nobody's gateway from him."""
    first, second = machine.hosts
    legs = {"routers": (router("one", external_network_id="", snat=False),)}
    applied(machine, {"a": first, "b": second}, network("one", A, B), **legs)
    b, space = second.guest(B), first.names.of("n", ident("network-one"))
    assert b.reaches("10.0.0.1")
    first.inside(space, "nft", "flush", "ruleset")
    with tunnelled(first) as out, wire(b) as ear:
        for operation, target in ((2, B.mac), (1, "ff:ff:ff:ff:ff:ff")):
            claim = arp(operation, A.mac, "10.0.0.1", B.mac, "10.0.0.12")
            out.send(ethernet(A.mac, target, 0x0806, claim))
        out.send(ethernet(A.mac, B.mac, 0x0800, ipv4("10.0.0.1", "10.0.0.12", 17, udp(67, 68, b"\2" * 240))))
        twin = arp(1, B.mac, "10.0.0.12", "00:00:00:00:00:00", "10.0.0.99")  # as if the guest were there, too
        out.send(ethernet(B.mac, "ff:ff:ff:ff:ff:ff", 0x0806, twin))
        out.send(ethernet(A.mac, B.mac, 0x0806, arp(2, A.mac, "10.0.0.11", B.mac, "10.0.0.12")))
        frames = heard(ear, socket.inet_aton("10.0.0.11"))
    strange = [frame for frame in frames if frame[6:12] in (packed(A.mac), packed(B.mac))]
    assert strange == frames[-1:]


def test_a_flow_that_is_routed_on_one_host_and_answered_on_another_is_whole(machine: Machine) -> None:
    first, second = machine.hosts
    far = port("far", 7, "10.1.0.11", addresses=(d.PortAddress("10.1.0.11", ident("subnet2"), ""),))
    inner = changed(network("two", far, subnets=(subnet("10.1.0.0/24", id=ident("subnet2")),)), vni=9)
    legs = (
        d.RouterInterface(ident("network-one"), "fa:16:3e:00:00:f0", "10.0.0.1", "10.0.0.0/24"),
        d.RouterInterface(ident("network-two"), "fa:16:3e:00:00:f1", "10.1.0.1", "10.1.0.0/24"),
    )
    routers = (router("one", interfaces=legs, external_network_id="", snat=False),)
    applied(machine, {"a": first, "far": second}, network("one", A), inner, routers=routers)  # type: ignore[arg-type]
    a, there = first.guest(A), second.guest(far)
    assert a.reaches("10.1.0.11") and there.reaches(a.address)
    for server, client in ((there, a), (a, there)):
        with listen(server, 80) as web, connect(client, server.address, 80) as asks:
            answers, peer = web.accept()
            assert peer[0] == client.address
            asks.sendall(b"question")
            assert answers.recv(64) == b"question"
            answers.sendall(b"answer")
            assert asks.recv(64) == b"answer"
            answers.close()


def test_a_rule_for_a_group_lets_its_members_on_other_hosts_in(machine: Machine) -> None:
    first, second = machine.hosts
    b = changed(B, security_groups=(ident("in"),))
    allowed = rule(protocol="tcp", low=80, high=80, group=ident("open"))
    one = network("one", A, b)  # type: ignore[arg-type]

    def rules(*members: str) -> dict[str, object]:
        return {"security_groups": (group("open", *OPEN, members=members), group("in", *EGRESS, allowed))}

    applied(machine, {"a": first, "b": second}, one, **rules())
    client, server = first.guest(A), second.guest(b)  # type: ignore[arg-type]
    with listen(server, 80) as web:
        with pytest.raises(OSError):
            connect(client, server.address, 80, 0.5)
        applied(machine, {"a": first, "b": second}, one, **rules("10.0.0.11"))
        with connect(client, server.address, 80):
            web.accept()[0].close()


def test_a_new_agent_finds_everything_in_place_and_an_old_entry_is_removed(machine: Machine) -> None:
    first, second = machine.hosts
    places, one = {"a": first, "b": second}, network("one", A, B)
    applied(machine, places, one)
    space, link = (first.names.of(kind, ident("network-one")) for kind in "nv")

    def tables() -> list[str]:
        shown = first.inside(space, "bridge", "fdb", "show", "dev", link)
        return sorted(shown.splitlines()) + sorted(first.inside(space, "ip", "neighbour").splitlines())

    before = tables()
    first.again()
    applied(machine, places, one)
    assert tables() == before
    first.inside(space, "bridge", "fdb", "append", "fa:16:3e:00:00:77", "dev", link, "dst", "192.0.2.9", "self")
    first.inside(space, "bridge", "fdb", "del", B.mac, "dev", link, "master")
    wanted = told(first, one, places=places, security_groups=GROUPS)
    assert first.drifts(wanted) == [f"tunnel-differs {space}"]
    first.apply(wanted, force=True)
    assert tables() == before and first.drifts(wanted) == []


def test_a_host_whose_namespace_vanished_gets_everything_again(machine: Machine) -> None:
    first, second = machine.hosts
    places, one = {"a": first, "b": second}, network("one", A, B)
    applied(machine, places, one)
    a, b = first.guest(A), second.guest(B)
    assert a.reaches(b.address)
    sh("ip", "netns", "delete", second.seat.space)
    assert not machine.fabric.is_there()
    machine.make()
    assert machine.fabric.is_there()
    second.again()
    applied(machine, places, one)
    assert until(lambda: a.pings(b.address)), "the guest stayed in its network, and is reached again"


def test_a_tunnel_hears_hosts_of_its_networks_and_nobody_else(machine: Machine) -> None:
    """A guest behind the address of some machine could speak to a tunnel, and so to every tenant."""
    first, second = machine.hosts
    one = network("one", A, B)
    applied(machine, {"a": first, "b": second}, one)
    b = second.guest(B)

    def frame(said: bytes) -> bytes:
        inner = ethernet(A.mac, B.mac, 0x0800, ipv4("10.0.0.11", b.address, 17, udp(5000, 5000, said)))
        return struct.pack("!II", 0x0800_0000, one.vni << 8) + inner

    def speak(said: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.sendto(frame(said), (second.tunnel, TUNNEL_PORT))

    with wire(b) as ear:
        speak(b"from the machine, which is no host")
        first.here(lambda: speak(b"from the other host"))
        frames = heard(ear, b"from the other host")
    assert not any(b"from the machine" in each for each in frames)
    wanted = told(first, one, places={"a": first, "b": second}, security_groups=GROUPS)
    guards = plan(wanted, first.prefix, reach=reach_of(first.seat, RANGES)).spaces[0].tables
    (table,) = (each for each in guards if each.name == f"{first.prefix}-tun")
    assert table.collections[0].elements == {second.tunnel}
    (sent_on,) = (chain.rules for chain in table.chains if chain.name == "forward")
    assert sent_on == ("ip daddr @ends udp dport 4789 drop",), "a guest that this host hides reaches no tunnel either"
