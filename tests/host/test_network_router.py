"""Routers, floating addresses and the way out: seen from the host, from inside, and past a firewall's policy."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.limits import NETWORK_LOOK_S
from holdfast.domain.desired import DesiredHost, Floating, RouterInterface
from tests.host.network_frames import connect, listen
from tests.host.network_world import (  # noqa: F401
    EXTERNAL,
    World,
    changed,
    floating,
    host,
    ident,
    network,
    port,
    router,
    sh,
    subnet,
    until,
    world_fixture,
)

pytestmark = pytest.mark.root
A, B = port("a", 1, "10.0.0.11"), port("b", 2, "10.0.0.12")


def routed(*floats: Floating) -> DesiredHost:
    return host(network("one", A, B), routers=(router("one", 0xF0, *floats),), externals=(EXTERNAL,))


def host_pings(address: str) -> bool:
    return "1 received" in sh("ping", "-n", "-c1", "-W1", address, check=False)


def test_a_floating_address_works_from_the_host_from_the_guest_itself_and_from_a_sibling(world: World) -> None:
    floats = (floating("203.0.113.101", "10.0.0.11", "one"), floating("203.0.113.102", "10.0.0.12", "one"))
    desired = routed(*floats)
    world.apply(desired)
    first, second = world.guest(A), world.guest(B)
    report = world.network.apply(desired)
    assert [(item.up, item.reason) for item in report.floating] == [(True, ""), (True, "")]
    assert until(lambda: host_pings("203.0.113.101"))
    assert first.reaches("203.0.113.101"), "its own"
    assert second.reaches("203.0.113.101"), "a sibling's"
    assert first.reaches("203.0.113.1"), "the gateway"
    with listen(first, 80) as web, connect(second, "203.0.113.101", 80):
        connection, peer = web.accept()
        connection.close()
        assert peer[0] == "203.0.113.102", "a sibling comes under its own floating address"


def test_outside_a_guest_is_seen_under_its_floating_address_or_its_routers(world: World) -> None:
    world.apply(routed(floating("203.0.113.101", "10.0.0.11", "one")))
    with socket.create_server(("203.0.113.1", 0)) as server:
        server.settimeout(3)
        for guest, seen in ((world.guest(A), "203.0.113.101"), (world.guest(B), "203.0.113.10")):
            with connect(guest, "203.0.113.1", server.getsockname()[1]):
                connection, peer = server.accept()
                connection.close()
                assert peer[0] == seen


def test_a_guest_without_a_floating_address_reaches_one_under_its_routers(world: World) -> None:
    world.apply(routed(floating("203.0.113.101", "10.0.0.11", "one")))
    first, second = world.guest(A), world.guest(B)
    with listen(first, 80) as web, connect(second, "203.0.113.101", 80):
        connection, peer = web.accept()
        connection.close()
        assert peer[0] == "203.0.113.10"


def test_a_floating_address_is_up_only_when_every_hop_is_seen(world: World) -> None:
    desired = routed(floating("203.0.113.101", "10.0.0.11", "one"), floating("203.0.113.102", "10.0.0.99", "one"))
    reasons = {item.fixed: item.reason for item in world.network.apply(desired).floating}
    assert reasons == {"10.0.0.11": "the port is not plugged", "10.0.0.99": "the fixed address is not on this host"}
    guest = world.guest(A)
    space = world.names.of("r", ident("router-one"))
    leg = world.names.of("e", ident("router-one"))
    assert [item.up for item in world.network.apply(desired).floating] == [True, False]
    guest.run("nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; policy drop; }")
    assert world.network.apply(desired, force=True).floating[0].up, "a guest that drops everything is still reached"
    world.inside(space, "ip", "link", "set", "dev", leg, "arp", "off")
    silent = "the address is not answered on the public network"
    assert world.network.apply(desired, force=True).floating[0].reason == silent
    thief, bridge = f"g{world.prefix}-thief", world.names.of("x", ident("external"))
    sh("ip", "netns", "add", thief)
    world.guests.append(thief)
    sh(
        "ip",
        "link",
        "add",
        "name",
        thief[:15],
        "master",
        bridge,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        thief,
    )
    sh("ip", "link", "set", "dev", thief[:15], "up")
    sh("ip", "-n", thief, "-batch", "-", stdin="addr add 203.0.113.101/24 dev eth0\nlink set dev eth0 up\n")
    assert until(lambda: host_pings("203.0.113.101"))
    assert world.network.apply(desired, force=True).floating[0].reason == silent, "another machine's answer is none"


def test_a_broken_path_of_a_floating_address_is_told_within_a_look_and_mended(world: World) -> None:
    desired = routed(floating("203.0.113.101", "10.0.0.11", "one"))
    world.apply(desired)
    guest = world.guest(A)
    net, rtr = (world.names.of(kind, ident(name)) for kind, name in (("n", "network-one"), ("r", "router-one")))
    leg = world.names.of("e", ident("router-one"))
    restored, silent = "the rules of its path had been taken out, and were put back", "the address is not answered"
    harms = (
        (restored, rtr, "nft", "delete", "element", *floating_element(world, rtr)),
        (restored, rtr, "nft", "flush", "ruleset"),
        (restored, net, "nft", "flush", "ruleset"),
        (silent, rtr, "ip", "link", "set", "dev", leg, "down"),
        (silent, rtr, "ip", "addr", "del", "203.0.113.101/32", "dev", leg),
    )
    with listen(guest, 80):
        for reason, space, *harm in harms:
            assert seen(world, desired) == ""
            socket.create_connection(("203.0.113.101", 80), 3).close()
            world.inside(space, *harm)
            assert seen(world, desired).startswith(reason), harm
        assert seen(world, desired) == ""
        socket.create_connection(("203.0.113.101", 80), 3).close()
    world.inside(rtr, "nft", "add", "table", "inet", "strangers")
    assert seen(world, desired) == "", "what does not concern us breaks nothing"
    assert "strangers" in world.inside(rtr, "nft", "list", "tables")


def seen(world: World, desired: DesiredHost) -> str:
    """Why the one floating address does not carry traffic, at the next look."""
    world.clock.advance_s(NETWORK_LOOK_S)
    (report,) = world.network.apply(desired).floating
    return report.reason


def floating_element(world: World, space: str) -> tuple[str, ...]:
    """The translation of the one floating address inwards, as nft names it."""
    for item in json.loads(world.inside(space, "nft", "-j", "list", "ruleset"))["nftables"]:
        if (found := item.get("map")) and ["203.0.113.101", "10.0.0.11"] in found.get("elem", []):
            return found["family"], found["table"], found["name"], "{ 203.0.113.101 }"
    raise AssertionError("no map translates it")


def test_a_floating_address_that_goes_takes_its_connections_with_it(world: World) -> None:
    world.apply(routed(floating("203.0.113.101", "10.0.0.11", "one")))
    guest = world.guest(A)
    with listen(guest, 80) as web, socket.create_connection(("203.0.113.101", 80), timeout=2) as client:
        server = web.accept()[0]
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        world.apply(routed())
        client.sendall(b"y")
        server.settimeout(0.7)
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.close()
    space = world.names.of("r", ident("router-one"))
    assert "203.0.113.101" not in world.inside(space, "conntrack", "-L")


def test_a_floating_address_moves_to_another_guest_and_its_neighbours_learn_it(world: World) -> None:
    other = network("two", port("c", 3, "10.0.0.11"))
    both = host(
        network("one", A),
        other,
        routers=(router("one", 0xF0, floating("203.0.113.101", "10.0.0.11", "one")), router("two", 0xF1)),
        externals=(EXTERNAL,),
    )
    world.apply(both)
    first, second = world.guest(A), world.guest(other.ports[0])
    assert until(lambda: host_pings("203.0.113.101"))
    moved = (router("one", 0xF0), router("two", 0xF1, floating("203.0.113.101", "10.0.0.11", "two")))
    world.apply(changed(both, routers=moved))
    with listen(second, 80) as web, socket.create_connection(("203.0.113.101", 80), timeout=1):
        web.accept()[0].close()
    assert first.reaches("203.0.113.101"), "through the public network to the other tenant"


def test_overlapping_tenants_do_not_meet(world: World) -> None:
    other = network("two", port("c", 3, "10.0.0.12"))
    world.apply(host(network("one", A), other, routers=(router("one"), router("two", 0xF1)), externals=(EXTERNAL,)))
    first, _ = world.guest(A), world.guest(other.ports[0])
    assert first.reaches("203.0.113.1")
    assert not first.pings("10.0.0.12", wait_s=0.5)


def test_nobody_outside_reaches_a_fixed_address_through_the_routers_public_one(world: World) -> None:
    world.apply(routed())
    guest = world.guest(A)
    bridge = world.names.of("x", ident("external"))
    sh("ip", "route", "add", "10.0.0.11/32", "via", "203.0.113.10", "dev", bridge)
    assert not host_pings("10.0.0.11")
    assert guest.reaches("203.0.113.1")


@pytest.fixture
def firewall(world: World) -> Iterator[str]:
    """Docker's table as it is on a Docker host, with the policy that breaks everybody's forwarding."""
    if "table ip filter" in sh("nft", "list", "tables"):
        pytest.skip("this host has a firewall of its own")
    sh(
        "nft",
        "add table ip filter; add chain ip filter DOCKER-USER;"
        "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; };"
        "add rule ip filter FORWARD jump DOCKER-USER; add rule ip filter DOCKER-USER return comment stranger",
    )
    yield "ip filter"
    sh("nft", "delete", "table", "ip", "filter")


def test_a_forward_policy_of_docker_does_not_stop_the_way_out_and_is_left_as_found(world: World, firewall: str) -> None:
    outside = f"g{world.prefix}-outside"
    sh("ip", "netns", "add", outside)
    world.guests.append(outside)
    link = f"g{world.prefix}"
    sh("ip", "link", "add", "name", link, "type", "veth", "peer", "name", "eth0", "netns", outside)
    sh("ip", "addr", "add", "198.51.100.1/24", "dev", link)
    sh("ip", "link", "set", "dev", link, "up")
    sh("ip", "-n", outside, "-batch", "-", stdin="addr add 198.51.100.9/24 dev eth0\nlink set dev eth0 up\n")

    routers = (router("one", 0xF0, floating("203.0.113.101", "10.0.0.11", "one")), router("two", 0xF1))
    other = network("two", port("c", 3, "10.0.0.11"))
    desired = host(network("one", A), other, routers=routers, externals=(EXTERNAL,))
    world.apply(desired)
    first, second = world.guest(A), world.guest(other.ports[0])
    assert first.reaches("198.51.100.9"), "masqueraded under the host's own address"
    assert second.reaches("203.0.113.101"), "from router to router, bridged in the host's namespace"
    world.apply(desired, force=True)
    assert len(rules_of("DOCKER-USER")) == 3

    assert not world.network.destroy()
    assert [rule.get("comment") for rule in rules_of("DOCKER-USER")] == ["stranger"]
    assert len(rules_of("FORWARD")) == 1


def rules_of(chain: str) -> list[dict[str, str]]:
    listed = json.loads(sh("nft", "-j", "list", "chain", "ip", "filter", chain))["nftables"]
    return [item["rule"] for item in listed if "rule" in item]


def test_one_network_that_cannot_be_made_does_not_stop_a_routers_other_leg(world: World) -> None:
    broken = world.names.of("n", ident("network-two"))
    (Path("/run/netns") / broken).write_text("")  # a name that is no namespace
    two = leg_of("two", "10.0.1.1", "10.0.1.0/24", 0xF3)
    both = changed(router("one"), interfaces=(*router("one").interfaces, two))
    other = network("two", port("c", 3, "10.0.1.12"), subnets=(subnet("10.0.1.0/24"),))
    try:
        report = world.network.apply(host(other, network("one", A), routers=(both,), externals=(EXTERNAL,)))
        assert {problem.kind for problem in report.problems} == {"network", "router"}
        assert world.guest(A).reaches("203.0.113.1")
    finally:
        (Path("/run/netns") / broken).unlink()


def leg_of(net: str, address: str, cidr: str, number: int) -> RouterInterface:
    return RouterInterface(ident(f"network-{net}"), f"fa:16:3e:00:00:{number:02x}", address, cidr)
