"""DHCP and names: the planned address always, whoever asked before; tenants' text never reaches the configuration."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.run import pid_alive
from holdfast.host.network.apply import HostNetwork
from tests.host.network_world import World, changed, host, ident, mac, network, port, subnet, until, world_fixture  # noqa: F401

pytestmark = pytest.mark.root
A, B = port("a", 1, "10.0.0.11"), port("b", 2, "10.0.0.12")


def folder(world: World) -> Path:
    return Path("/run") / f"{world.prefix}-net" / world.names.of("n", ident("network-one"))


def pid(world: World) -> int:
    return int((folder(world) / "pid").read_text())


def test_a_guest_gets_its_planned_address_routes_and_mtu(world: World) -> None:
    world.apply(host(network("one", A)))
    assert world.guest(A, static=False).lease() == {
        "ip": "10.0.0.11",
        "routes": "169.254.169.254/32 10.0.0.2 0.0.0.0/0 10.0.0.1",
        "mtu": "1450",
        "dns": "10.0.0.2",
    }


def test_an_isolated_subnet_offers_no_way_out_and_its_own_routes_and_servers(world: World) -> None:
    lonely = subnet(gateway="", nameservers=("192.0.2.53", "2001:db8::53"), routes=(("10.9.0.0/16", "10.0.0.9"),))
    world.apply(host(network("one", A, subnets=(lonely,))))
    lease = world.guest(A, static=False).lease()
    assert lease["routes"] == "169.254.169.254/32 10.0.0.2 10.9.0.0/16 10.0.0.9"
    assert lease["dns"] == "192.0.2.53"


def test_a_planted_stale_lease_does_not_win(world: World) -> None:
    planted = f"9999999999 {mac(9)} 10.0.0.11 thief *\n9999999999 {mac(1)} 10.0.0.77 a *\n"
    folder(world).mkdir(parents=True)
    places = [folder(world) / "leases", Path("/var/lib/misc/dnsmasq.leases")]
    for place in places:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(planted)
    try:
        world.apply(host(network("one", A)))
        guest = world.guest(A, static=False)
        assert guest.lease()["ip"] == "10.0.0.11"
        assert guest.lease("-r", "10.0.0.77")["ip"] == "10.0.0.11", "nor does the guest's own memory"
    finally:
        for place in places:
            if place.exists() and place.read_text() == planted:
                place.unlink()


def test_an_address_goes_to_its_next_port_at_once(world: World) -> None:
    world.apply(host(network("one", A)))
    assert world.guest(A, static=False).lease()["ip"] == "10.0.0.11"
    heir = port("heir", 7, "10.0.0.11")
    world.apply(host(network("one", heir)))
    assert world.guest(heir, static=False).lease()["ip"] == "10.0.0.11"


def test_a_client_that_changes_its_identifier_keeps_its_address(world: World) -> None:
    world.apply(host(network("one", A)))
    guest = world.guest(A, static=False)
    leases = [guest.lease("-x", f"0x3d:{ident}")["ip"] for ident in ("01020304", "0f0e0d0c")]
    assert leases == ["10.0.0.11", "10.0.0.11"]


def test_a_new_port_is_a_signal_and_a_killed_process_comes_back(world: World) -> None:
    world.apply(host(network("one", A)))
    first = pid(world)
    world.apply(host(network("one", A, B)))
    assert pid(world) == first
    assert world.guest(B, static=False).lease()["ip"] == "10.0.0.12"
    os.kill(first, signal.SIGKILL)
    assert until(lambda: not pid_alive(first, "dnsmasq"))
    world.apply(host(network("one", A, B)))
    assert pid(world) != first
    assert world.guest(A, static=False).lease()["ip"] == "10.0.0.11"


def test_a_host_unknown_to_the_plan_gets_no_address(world: World) -> None:
    free = port("free", 5, "10.0.0.15", filtered=False)
    world.apply(host(network("one", free)))
    guest = world.guest(free, static=False)
    guest.run("ip", "link", "set", "dev", "eth0", "address", mac(0x55))
    assert guest.lease() == {}


HOSTILE = (
    "x\ndhcp-script=/bin/sh",
    "x,10.0.0.99",
    "x=y",
    "-x",
    "x" * 65_536,
    "x y",
    "é",
    "x\x00",
    "",
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_host_name_is_left_out_and_the_address_is_given(world: World, name: str) -> None:
    world.apply(host(network("one", changed(A, hostname=name))))
    assert (folder(world) / "hosts").read_text() == f"{A.mac},id:*,10.0.0.11,infinite\n"
    assert (folder(world) / "names").read_text() == ""


def test_hostile_subnet_values_are_refused_one_by_one(world: World) -> None:
    bad = (
        subnet(id=ident("s1"), nameservers=("8.8.8.8\nserver=6.6.6.6",)),
        subnet(id=ident("s2"), routes=(("10.1.0.0/16,6.6.6.6", "10.0.0.1"),)),
        subnet(id=ident("s3"), gateway="10.0.0.1\n"),
        subnet(id=ident("s4"), dhcp_address="10.9.0.1"),
    )
    report = world.network.apply(host(network("one", A, subnets=(*bad, subnet()))))
    assert [problem.kind for problem in report.problems] == ["subnet"] * 4
    assert "6.6.6.6" not in "".join(file.read_text() for file in folder(world).iterdir())
    assert world.guest(A, static=False).lease()["ip"] == "10.0.0.11"


def question(name: str) -> bytes:
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


@pytest.fixture
def resolver() -> Iterator[tuple[str, int]]:
    """A resolver on the host that answers every question with 192.0.2.7."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            data, asker = server.recvfrom(4096)
            if data == b"end":
                return
            asked = data[12 : data.index(b"\0", 12) + 5]
            found = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + bytes((192, 0, 2, 7))
            server.sendto(data[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + asked + found, asker)

    thread = threading.Thread(target=answer)
    thread.start()
    yield server.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
        ender.sendto(b"end", server.getsockname())
    thread.join()
    server.close()


def test_names_are_answered_from_the_plan_and_others_by_the_hosts_resolver(
    world: World, resolver: tuple[str, int]
) -> None:
    world.network.close()
    world.network = HostNetwork(world.prefix, world.folder / "state", resolvers=(resolver,))
    world.apply(host(network("one", A, B)))
    guest = world.guest(A)
    from holdfast.host.network import namespace

    asking = namespace.inside(guest.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with asking:
        asking.settimeout(4)
        for name, address in (("b", "10.0.0.12"), ("example.org", "192.0.2.7")):
            asking.sendto(question(name), ("10.0.0.2", 53))
            assert socket.inet_aton(address) in asking.recv(4096), name
