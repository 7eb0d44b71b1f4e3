"""The level trigger: what is asked for is there once, asking again changes nothing, and a crash leaves no trap."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from holdfast.base.errors import BadInput, Conflict, NotFound, Unavailable
from holdfast.daemon.checks import prefix_check
from holdfast.domain.desired import DesiredHost
from holdfast.host.hypervisor.driver import Card
from holdfast.host.network import namespace
from holdfast.host.network.apply import HostNetwork
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
    world_fixture,
)

pytestmark = pytest.mark.root
T = TypeVar("T")
A, B = port("a", 1, "10.0.0.11"), port("b", 2, "10.0.0.12")


def whole() -> DesiredHost:
    one_float = floating("203.0.113.101", "10.0.0.11", "one")
    return host(network("one", A, B), routers=(router("one", 0xF0, one_float),), externals=(EXTERNAL,))


def test_applying_again_changes_nothing_in_the_kernel(world: World) -> None:
    world.apply(whole())
    before = world.dump()
    assert world.network.apply(whole()).changed == ()
    world.apply(whole(), force=True)
    world.again().apply(whole())
    assert world.dump() == before


def test_a_port_more_adds_elements_and_touches_no_rule(world: World) -> None:
    world.apply(host(network("one", A)))
    space = world.names.of("n", ident("network-one"))
    before = world.inside(space, "nft", "-a", "list", "chain", "inet", world.prefix, "forward")
    world.apply(host(network("one", A, B)))
    assert world.inside(space, "nft", "-a", "list", "chain", "inet", world.prefix, "forward") == before


class Killed(BaseException):
    """The agent ends here: nothing may catch it."""


def test_killed_before_any_step_the_next_agent_converges(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(whole())
    wanted = world.shape()
    real, step = namespace.inside, 0
    while True:
        assert not world.network.destroy()
        world.again()
        left = iter(range(step))

        def dying(space: str, act: Callable[[], T], left: object = left) -> T:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Killed
            return real(space, act)

        with monkeypatch.context() as patch:
            patch.setattr(namespace, "inside", dying)
            try:
                world.network.apply(whole())
                break
            except Killed:
                step += 1
        world.again().apply(whole())
        assert world.shape() == wanted, f"killed before step {step}"
    assert step > 15


def test_what_a_stranger_breaks_is_made_good_at_the_next_look(world: World) -> None:
    world.apply(whole())
    wanted = world.shape()
    net, rtr = (world.names.of(kind, ident(name)) for kind, name in (("n", "network-one"), ("r", "router-one")))
    harms = (
        (net, "nft", "flush", "ruleset"),
        (net, "nft", "flush", "set", "bridge", world.prefix, "ports"),
        (net, "ip", "addr", "flush", "dev", world.names.of("b", ident("network-one"))),
        (rtr, "ip", "link", "del", world.names.of("e", ident("router-one"))),
        (rtr, "ip", "route", "del", "default"),
        (rtr, "nft", "flush", "ruleset"),
    )
    for space, *harm in harms:
        world.inside(space, *harm)
        world.apply(whole(), force=True)
        assert world.shape() == wanted, harm
    sh("ip", "netns", "delete", net)
    world.apply(whole(), force=True)
    world.apply(whole(), force=True)
    assert world.shape() == wanted


def test_what_is_no_longer_wanted_goes_and_the_rest_stays(world: World) -> None:
    world.apply(host(network("one", A), network("two", port("c", 3, "10.0.0.11"))))
    world.apply(host(network("one", A)))
    assert world.network.found().namespaces == (world.names.of("n", ident("network-one")),)
    assert len(world.network.found().processes) == 1


def test_a_tap_is_opened_on_its_bridge_and_goes_with_its_descriptor(world: World) -> None:
    world.apply(host(network("one", A)))
    card = world.network.card(A.id)
    assert card == Card(A.mac, world.names.of("t", A.id), world.names.of("n", ident("network-one")), 1450)
    descriptor = world.network.open_tap(card)
    shown = world.inside(card.namespace, "ip", "-o", "link", "show", "dev", card.tap)
    assert f"master {world.names.of('b', ident('network-one'))}" in shown and "mtu 1450" in shown and "UP" in shown
    with pytest.raises(Unavailable):
        world.network.open_tap(card)  # another process holds it
    os.close(descriptor)
    assert card.tap not in world.inside(card.namespace, "ip", "-o", "link")
    os.close(world.network.open_tap(card))


def test_a_card_that_is_not_planned_gets_no_tap(world: World) -> None:
    world.apply(host(network("one", A)))
    card = world.network.card(A.id)
    world.apply(host(network("one", B)))
    with pytest.raises(NotFound):
        world.network.open_tap(card)


def test_a_network_in_which_a_guest_is_plugged_is_kept_until_it_is_released(world: World) -> None:
    world.apply(host(network("one", A)))
    descriptor = world.network.open_tap(world.network.card(A.id))
    report = world.network.apply(host())
    assert [problem.kind for problem in report.problems] == ["network"]
    assert len(world.network.found().namespaces) == 1
    world.network.release(A.instance_id)
    assert world.network.apply(host()).problems == ()
    assert world.network.found().namespaces == ()
    os.close(descriptor)


def test_destroy_leaves_nothing_of_ours_and_everything_of_others(world: World, tmp_path: Path) -> None:
    near = world.prefix[:-1] + ("0" if world.prefix[-1] != "0" else "1")
    strangers = (f"{near}-n-aaaaaaaa", f"{world.prefix}x-n-aaaaaaa")
    for name in strangers:
        sh("ip", "netns", "add", name)
        world.guests.append(name)
        sh("ip", "link", "add", f"{name[:9]}br", "type", "bridge")
    sh("nft", "add", "table", "inet", f"{near}-ext")
    try:
        world.apply(whole())
        assert world.network.found()
        assert not world.network.destroy()
        assert not world.network.found()
        assert {*strangers} <= {entry.name for entry in Path("/run/netns").iterdir()}
        assert f"{near}-ext" in sh("nft", "list", "tables")
        for name in strangers:
            assert f"{name[:9]}br" in sh("ip", "-o", "link")
    finally:
        sh("nft", "delete", "table", "inet", f"{near}-ext")
        for name in strangers:
            sh("ip", "link", "del", f"{name[:9]}br", check=False)


def test_a_prefix_belongs_to_one_directory_and_only_that_one_removes_it(world: World, tmp_path: Path) -> None:
    world.network.claim()
    world.apply(whole())
    stranger = HostNetwork(world.prefix, tmp_path / "stranger")
    with pytest.raises(Conflict, match="belongs to the cloud in"):
        stranger.claim()
    with pytest.raises(Conflict):
        stranger.destroy()
    assert world.network.found().namespaces
    assert not world.again().destroy()
    stranger.claim()
    assert not stranger.destroy()


def test_one_bad_object_stops_no_other(world: World) -> None:
    bad_port = port("bad", 9, "10.0.0.300")
    bad = changed(network("bad", port("c", 3, "10.0.0.11")), mtu=1)
    stray = changed(router("gone"), external_network_id=ident("nowhere"))
    report = world.network.apply(host(bad, network("one", A, B, bad_port), routers=(stray,)))
    assert sorted(problem.kind for problem in report.problems) == ["network", "port", "router"]
    first, _ = world.guest(A), world.guest(B)
    assert first.reaches("10.0.0.12")


@pytest.mark.parametrize("prefix", ["type", "map", "tcp"])
def test_a_prefix_that_nftables_has_a_meaning_for_is_refused(prefix: str) -> None:
    with pytest.raises(BadInput, match="nftables"):
        prefix_check(prefix)


def test_other_prefixes_are_not() -> None:
    for prefix in ("hf", "hf0", "t9z4"):
        prefix_check(prefix)
