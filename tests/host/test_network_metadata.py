"""169.254.169.254: each guest its own document, none another's, in both dialects, many at once, also alone."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from holdfast.base.limits import METADATA_CONNECTIONS_PER_GUEST
from holdfast.host.network import namespace
from tests.host.network_frames import connect
from tests.host.network_world import (  # noqa: F401
    EXTERNAL,
    Guest,
    World,
    changed,
    host,
    machine,
    network,
    port,
    router,
    world_fixture,
)

pytestmark = pytest.mark.root
A, B = port("a", 1, "10.0.0.11"), port("b", 2, "10.0.0.12")


def ask(guest: Guest, path: str, headers: str = "", method: str = "GET") -> tuple[int, bytes]:
    with connect(guest, "169.254.169.254", 80, 10) as call:
        call.settimeout(10)
        call.sendall(f"{method} {path} HTTP/1.1\r\nHost: 169.254.169.254\r\n{headers}\r\n".encode())
        answer = b""
        while data := call.recv(65_536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_both_dialects_tell_a_guest_about_itself(world: World) -> None:
    world.apply(host(network("one", A), machines=(machine("a"),)))
    guest = world.guest(A)
    meta = json.loads(ask(guest, "/openstack/latest/meta_data.json")[1])
    assert (meta["name"], meta["meta"], meta["public_keys"]) == ("a", {"role": "web"}, {"me": "ssh-ed25519 AAAA me"})
    links = json.loads(ask(guest, "/openstack/2018-08-27/network_data.json")[1])["links"]
    assert [(link["ethernet_mac_address"], link["mtu"]) for link in links] == [(A.mac, 1450)]
    assert ask(guest, "/openstack/latest/user_data") == (200, b"#!/bin/sh\n")
    for path, answer in {
        "/latest/meta-data/instance-id": b"i-0000abcd",
        "/2009-04-04/meta-data/public-keys/": b"0=me",
        "/latest/meta-data/public-keys/0/": b"openssh-key",
        "/latest/meta-data/public-keys/0/openssh-key": b"ssh-ed25519 AAAA me",
        "/latest//meta-data/local-ipv4": b"10.0.0.11",
        "/latest/meta-data/placement/availability-zone": b"nova",
        "/latest/user-data": b"#!/bin/sh\n",
        "/latest": b"meta-data/\nuser-data",
    }.items():
        assert ask(guest, path) == (200, answer), path
    for path in ("/latest/nothing", "/openstack/1999-01-01/meta_data.json", "/latest/meta-data/../../etc/passwd"):
        assert ask(guest, path)[0] == 404
    assert ask(guest, "/latest/meta-data/", method="POST")[0] == 405


def test_a_forged_header_changes_nothing_and_an_unknown_guest_learns_nothing(world: World) -> None:
    world.apply(host(network("one", A, B), machines=(machine("a"),)))
    known, unknown = world.guest(A), world.guest(B)
    forged = "X-Forwarded-For: 10.0.0.11\r\nX-Instance-ID: 1\r\nX-Tenant-ID: 1\r\nForwarded: for=10.0.0.11\r\n"
    assert ask(unknown, "/latest/meta-data/instance-id", forged) == (503, b"")
    assert ask(known, "/latest/meta-data/hostname", "X-Forwarded-For: 10.0.0.12\r\n") == (200, b"a")


def test_tenants_with_the_same_addresses_get_their_own_documents(world: World) -> None:
    twin = port("twin", 3, "10.0.0.11")
    machines = (machine("a"), machine("twin"))
    world.apply(host(network("one", A), network("two", twin), machines=machines))
    first, second = world.guest(A), world.guest(twin)
    assert ask(first, "/latest/meta-data/hostname")[1] == b"a"
    assert ask(second, "/latest/meta-data/hostname")[1] == b"twin"


def test_an_address_that_changes_hands_changes_its_document_at_once(world: World) -> None:
    heir = port("heir", 7, "10.0.0.11")
    world.apply(host(network("one", A), machines=(machine("a"),)))
    assert ask(world.guest(A), "/latest/meta-data/hostname")[1] == b"a"
    world.apply(host(network("one", heir), machines=(machine("heir"),)))
    assert ask(world.guest(heir), "/latest/meta-data/hostname")[1] == b"heir"


def test_a_guest_that_only_has_a_default_route_is_answered_too(world: World) -> None:
    world.apply(host(network("one", A), machines=(machine("a"),), routers=(router("one"),), externals=(EXTERNAL,)))
    guest = world.guest(A)
    guest.run("ip", "route", "del", "169.254.169.254/32", check=True)
    assert ask(guest, "/latest/meta-data/hostname") == (200, b"a")


def test_a_new_agent_answers_from_its_copy_before_it_hears_from_anybody(world: World) -> None:
    world.apply(host(network("one", A), machines=(machine("a"),)))
    guest = world.guest(A)
    copy = world.folder / "state" / "metadata.json"
    assert copy.stat().st_mode & 0o077 == 0, "user data is nobody else's"
    world.again().resume()
    assert ask(guest, "/latest/meta-data/hostname") == (200, b"a")
    copy.write_text("{ garbage")
    world.again().resume()
    assert ask(guest, "/latest/meta-data/hostname")[0] == 503, "a guest that is told 404 asks no more"
    world.apply(host(network("one", A), machines=(machine("a"),)))
    assert ask(guest, "/latest/meta-data/hostname") == (200, b"a")


def test_fifty_guests_at_once_are_answered_on_their_single_try(world: World) -> None:
    # one namespace with fifty addresses on a port without security plays fifty guests
    crowd = [port(f"g{n}", n + 10, f"10.0.0.{n + 100}") for n in range(50)]
    gate = port("gate", 9, "10.0.0.99", filtered=False)
    world.apply(host(network("one", gate, *crowd), machines=tuple(machine(f"g{n}") for n in range(50))))
    guest = world.guest(gate, static=False)
    guest.configure(*(f"10.0.0.{n + 100}/24" for n in range(50)))
    took_s: list[float] = []
    wrong: list[object] = []
    start = threading.Barrier(50)

    def boot(number: int) -> None:
        call = namespace.inside(guest.name, socket.socket)
        with call:
            call.settimeout(10)
            call.bind((f"10.0.0.{number + 100}", 0))
            start.wait()
            began = time.monotonic()
            call.connect(("169.254.169.254", 80))
            call.sendall(b"GET /openstack/latest/meta_data.json HTTP/1.0\r\n\r\n")
            answer = b""
            while data := call.recv(65_536):
                answer += data
            took_s.append(time.monotonic() - began)
        if json.loads(answer.partition(b"\r\n\r\n")[2])["name"] != f"g{number}":
            wrong.append(number)

    threads = [threading.Thread(target=boot, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(took_s) == 50
    assert max(took_s) < 2


def is_open(call: socket.socket) -> bool:
    call.setblocking(False)
    try:
        return call.recv(1) != b""
    except BlockingIOError:
        return True


def test_a_guest_that_talks_slowly_or_endlessly_does_not_stop_the_others(world: World) -> None:
    world.apply(host(network("one", A, B), machines=(machine("a"), machine("b"))))
    hostile, honest = world.guest(A), world.guest(B)
    slow = [connect(hostile, "169.254.169.254", 80) for _ in range(40)]
    try:
        assert ask(honest, "/")[0] == 200  # by now all forty have been looked at
        assert sum(is_open(call) for call in slow) == METADATA_CONNECTIONS_PER_GUEST
        began = time.monotonic()
        assert ask(honest, "/latest/meta-data/hostname") == (200, b"b")
        assert time.monotonic() - began < 1
    finally:
        for call in slow:
            call.close()
    with connect(hostile, "169.254.169.254", 80) as endless:
        endless.sendall(b"GET /" + b"x" * 20_000)
        assert endless.recv(64).startswith(b"HTTP/1.1 400")
