"""The public side of several hosts: one router of the public networks, and a part of each tenant's router on each.

The machine is that router here; what it shows is what a site's own router would be asked to do.
"""

from __future__ import annotations

import ipaddress
import json
import socket

import pytest

from holdfast.domain import desired as d
from holdfast.host.network.plan.host import plan
from holdfast.host.network.plan.layout import Reach
from tests.host.network_frames import connect, listen
from tests.host.network_hosts import (  # noqa: F401
    GATEWAY,
    PUBLIC_BASE,
    PUBLIC_NETWORK,
    RANGES,
    Machine,
    Member,
    machine_fixture,
    told,
)
from tests.host.network_world import (
    EXTERNAL,
    OPEN,
    floating,
    group,
    host,
    ident,
    network,
    port,
    router,
    sh,
    until,
)

A, B = port("a", 1, "10.0.0.11"), port("b", 2, "10.0.0.12")
ONE = network("one", A, B)
FA, FB = (floating(f"{PUBLIC_BASE}.{n + 90}", f"10.0.0.{n}", "one") for n in (11, 12))
FLOATS = {"a": FA, "b": FB}


def routed(member: Member, places: dict[str, Member], *names: str) -> d.DesiredHost:
    """What a host is told: the router with the floating addresses, of those named, whose ports are there."""
    here = [FLOATS[name] for name in names if places.get(name) is member]
    ports = [each for each in (A, B) if each.hostname in places]
    facts = {"security_groups": (group("open", *OPEN),), "externals": (PUBLIC_NETWORK,)}
    way = router("one", 0xF0, *here, external_address=f"{PUBLIC_BASE}.10")
    return told(member, network("one", *ports), places=places, routers=(way,), **facts)


def applied(machine: Machine, places: dict[str, Member], *names: str) -> set[str]:
    """Returns the floating addresses that are up."""
    return {up for member in machine.hosts for up in member.apply(routed(member, places, *names))}


def machine_pings(address: str) -> bool:
    return "1 received" in sh("ping", "-n", "-c1", "-W1", address, check=False)


def neighbour(machine: Machine, address: str) -> str:
    """Who answers for an address, as the machine has it."""
    shown = json.loads(sh("ip", "-j", "neighbour", "show", "dev", f"{machine.prefix}0-public", address) or "[]")
    return str(shown[0].get("lladdr", "")) if shown else ""


def leg(member: Member) -> tuple[str, list[str]]:
    """The MAC and the addresses of the router's outside leg on a host."""
    space, link = (member.names.of(kind, ident("router-one")) for kind in "re")
    (found,) = json.loads(member.inside(space, "ip", "-j", "addr", "show", "dev", link))
    return found["address"], [item["local"] for item in found["addr_info"]]


@pytest.mark.root
def test_floating_addresses_work_on_either_host_from_machine_and_guests(machine: Machine) -> None:
    first, second = machine.hosts
    places = {"a": first, "b": second}
    applied(machine, places, "a", "b")
    a, b = first.guest(A), second.guest(B)
    assert applied(machine, places, "a", "b") == {FA.id, FB.id}
    assert until(lambda: machine_pings(FA.address)) and until(lambda: machine_pings(FB.address))
    for guest in (a, b):
        assert all(guest.reaches(there) for there in (FA.address, FB.address, GATEWAY))
    with listen(b, 80) as web, connect(a, FB.address, 80):
        connection, peer = web.accept()
        connection.close()
        assert peer[0] == FA.address, "a guest of another host is seen under its own floating address"


@pytest.mark.root
def test_a_router_has_another_mac_and_address_outside_on_each_host(machine: Machine) -> None:
    first, second = machine.hosts
    applied(machine, {"a": first, "b": second}, "a")
    a, b = first.guest(A), second.guest(B)
    (mac_a, here), (mac_b, there) = leg(first), leg(second)
    assert mac_a != mac_b and not set(here) & set(there)
    assert f"{PUBLIC_BASE}.10" not in here + there, "the address that the router has in the API is on no host"
    with socket.create_server((GATEWAY, 0)) as server:
        server.settimeout(3)
        for guest, seen in ((a, FA.address), (b, there[0])):
            with connect(guest, GATEWAY, server.getsockname()[1]):
                connection, peer = server.accept()
                connection.close()
                assert peer[0] == seen
    assert ipaddress.IPv4Address(there[0]) in RANGES.block(2)


@pytest.mark.root
def test_a_floating_address_that_moved_is_announced_by_its_new_host_and_answered_by_no_other(machine: Machine) -> None:
    first, second = machine.hosts
    applied(machine, {"a": first, "b": second}, "a")
    a = first.guest(A)
    assert until(lambda: machine_pings(FA.address))
    assert neighbour(machine, FA.address) == leg(first)[0]
    places = {"a": second, "b": second}
    first.unplug(a)
    first.apply(routed(first, places, "a"))
    assert FA.address not in leg(first)[1]
    assert not machine_pings(FA.address), "nobody answers for it where it was"
    second.apply(routed(second, places, "a"))
    second.guest(A)
    assert until(lambda: neighbour(machine, FA.address) == leg(second)[0]), "announced, not asked for"
    assert until(lambda: machine_pings(FA.address))


@pytest.mark.root
def test_guests_and_their_routers_reach_neither_the_hosts_nor_the_wire_between_them(machine: Machine) -> None:
    first, second = machine.hosts
    applied(machine, {"a": first, "b": second}, "a", "b")
    guest = first.guest(A)
    assert guest.reaches(GATEWAY)
    for number in (0, 1, 2):
        assert not guest.pings(str(RANGES.address(number)), 0.3), number
    with socket.create_server((str(RANGES.address(0)), 0)) as control:
        with pytest.raises(OSError):
            connect(guest, str(RANGES.address(0)), control.getsockname()[1], 0.5)
        client = first.here(lambda: socket.create_connection(control.getsockname(), 3))
        client.close()
    space = first.names.of("r", ident("router-one"))
    onto_the_wire = ("ip", "route", "add", str(RANGES.address(2)), "dev", first.names.of("e", ident("router-one")))
    first.inside(space, *onto_the_wire)  # as if the host answered for its own address there
    assert not guest.pings(str(RANGES.address(2)), 0.3)


@pytest.mark.root
def test_the_machine_is_as_it_was_when_all_is_removed_and_making_it_twice_is_making_it_once(machine: Machine) -> None:
    def look() -> list[str]:
        commands = (("ip", "-o", "addr"), ("ip", "route"), ("ip", "netns"), ("nft", "list", "ruleset"))
        return [line for command in commands for line in sh(*command).splitlines() if machine.prefix in line]

    def shape() -> list[str]:
        inner = [member.inside(member.seat.space, "ip", "-o", "addr") for member in machine.hosts]
        return [line.partition("valid_lft")[0] for line in "\n".join([*look(), *inner]).splitlines()]

    before = shape()
    machine.make()
    assert shape() == before and look()
    applied(machine, dict(zip("ab", machine.hosts, strict=True)), "a", "b")
    for member in machine.hosts:
        assert not member.here(member.network.destroy)
    assert machine.fabric.remove() == []
    assert look() == [] and not any(machine.prefix in path for path in sh("ls", "/run", "/run/netns").split())
    machine.make()  # what the fixture takes away
    for member in machine.hosts:
        member.again()


@pytest.mark.root
def test_a_missing_uplink_is_named(machine: Machine) -> None:
    first, _ = machine.hosts
    first.inside(first.seat.space, "ip", "link", "del", "uplink")
    report = first.here(lambda: first.network.apply(routed(first, {"a": first})))
    assert [p.reason for p in report.problems if p.kind == "host"] == ["the uplink uplink is not there"]
    machine.make()
    assert first.here(lambda: first.network.apply(routed(first, {"a": first}))).problems == ()


def test_routers_of_a_host_have_different_names_on_the_uplink_until_its_range_is_used_up() -> None:
    routers = [router(f"r{n}", 0xF0, interfaces=()) for n in range(40)]
    reach = Reach("", "eth1", ipaddress.IPv4Network("198.18.1.0/27"))
    planned = plan(host(routers=tuple(routers), externals=(EXTERNAL,)), "hf", reach=reach)
    outside = [link.addresses for space in planned.spaces for link in space.links if link.kind == "veth"]
    given = [addresses[0] for addresses in outside if addresses]
    assert len(set(given)) == len(given) == 30
    assert len([problem for problem in planned.problems if "used up" in problem.reason]) == 10
    again = plan(host(routers=tuple(reversed(routers)), externals=(EXTERNAL,)), "hf", reach=reach)
    assert {s.name: s for s in again.spaces} == {s.name: s for s in planned.spaces}, "whatever their order"


def test_a_host_that_has_the_uplink_to_itself_keeps_the_routers_own_addresses() -> None:
    desired = host(network("one", A), routers=(router("one"),), externals=(EXTERNAL,))
    alone, uplinked = (plan(desired, "hf", reach=reach).spaces[-1] for reach in (Reach(), Reach(uplink="eth1")))
    (one,), (other,) = ([link for link in space.links if not link.peer_space] for space in (alone, uplinked))
    assert (other.mac, other.addresses) == (one.mac, one.addresses) and other.peer_master != one.peer_master
    assert (uplinked.routes, uplinked.tables) == (alone.routes, alone.tables)


def test_an_uplink_brings_neither_gateway_nor_masquerade() -> None:
    planned = plan(host(externals=(EXTERNAL,)), "hf", reach=Reach("", "eth1", RANGES.block(1)))
    (space,) = planned.spaces
    assert [link.addresses for link in space.links] == [()]
    assert "masquerade" not in "".join(table.body for table in space.tables)
