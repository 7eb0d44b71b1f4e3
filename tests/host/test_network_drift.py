"""The audit's eye on the network: nothing to say when all is as planned, and the object's name when it is not."""

from __future__ import annotations

import os
import signal

import pytest

from holdfast.domain.desired import DesiredHost
from tests.host.network_world import EXTERNAL, World, floating, host, ident, network, port, router, sh, until
from tests.host.network_world import world_fixture as world_fixture

pytestmark = pytest.mark.root
A = port("a", 1, "10.0.0.11")


def whole() -> DesiredHost:
    one_float = floating("203.0.113.101", "10.0.0.11", "one")
    return host(network("one", A), routers=(router("one", 0xF0, one_float),), externals=(EXTERNAL,))


def drifts(world: World, running: bool = False) -> list[tuple[str, str]]:
    found = world.network.drift(whole(), {A.instance_id} if running else set())
    return sorted((drift.code, drift.object) for drift in found)


def test_what_was_just_applied_has_no_drift_and_looking_changes_nothing(world: World) -> None:
    world.apply(whole())
    before = world.dump()
    assert drifts(world) == []
    assert world.dump() == before


def test_an_empty_host_misses_everything_and_is_told_so(world: World) -> None:
    assert {code for code, _ in drifts(world)} == {"namespace-missing", "link-missing", "rules-differ"}


def test_each_harm_is_named_with_its_object(world: World) -> None:
    net, rtr = (world.names.of(kind, ident(name)) for kind, name in (("n", "network-one"), ("r", "router-one")))
    bridge, outside = world.names.of("b", ident("network-one")), world.names.of("e", ident("router-one"))
    stray = f"{world.prefix}-t-stray"
    harms = {
        ("rules-differ", f"{net}/inet {world.prefix}"): (net, "nft", "delete", "table", "inet", world.prefix),
        ("rules-differ", f"{net}/bridge {world.prefix}"): (
            *(net, "nft", "flush", "set", "bridge", world.prefix),
            "ports",
        ),
        ("link-differs", f"{net}/{bridge}"): (net, "ip", "addr", "flush", "dev", bridge),
        ("link-missing", f"{rtr}/{outside}"): (rtr, "ip", "link", "del", outside),
        ("link-unknown", f"{net}/{stray}"): (net, "ip", "link", "add", stray, "type", "bridge"),
    }
    for finding, (space, *harm) in harms.items():
        world.apply(whole(), force=True)
        world.inside(space, *harm)
        assert finding in drifts(world), harm


def test_a_missing_namespace_one_too_many_and_a_dead_dnsmasq_are_told(world: World) -> None:
    world.apply(whole())
    net, stray = world.names.of("n", ident("network-one")), f"{world.prefix}-n-aaaaaaa"
    (pid,) = world.network.found().processes
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: world.network.found().processes == ())
    sh("ip", "netns", "add", stray)
    assert drifts(world) == [("dhcp-differs", net), ("namespace-unknown", stray)]
    sh("ip", "netns", "delete", net)
    assert ("namespace-missing", net) in drifts(world)
    sh("ip", "netns", "delete", stray)


def test_a_running_guest_without_its_tap_is_told_and_one_with_it_is_not(world: World) -> None:
    world.apply(whole())
    net, tap = world.names.of("n", ident("network-one")), world.names.of("t", A.id)
    assert drifts(world, running=True) == [("link-missing", f"{net}/{tap}")]
    descriptor = world.network.open_tap(world.network.card(A.id))
    assert drifts(world, running=True) == []
    os.close(descriptor)
