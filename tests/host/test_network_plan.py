"""The plan is pure: hostile values become problems, changes become elements, and any path ends at the same rules."""

from __future__ import annotations

import random

import pytest

from holdfast.base.errors import BadInput
from holdfast.domain.desired import DesiredHost
from holdfast.domain.security_group import PROTOCOLS, RuleWanted, rule_make
from holdfast.host.network.plan.host import plan
from holdfast.host.network.plan.names import LINK_BYTES, Names
from holdfast.host.network.plan.rules import match_text, read_rule
from holdfast.host.network.plan.ruleset import change
from tests.host.network_world import (  # noqa: F401
    EGRESS,
    EXTERNAL,
    World,
    changed,
    floating,
    group,
    host,
    ident,
    mac,
    network,
    port,
    router,
    rule,
    world_fixture,
)

A = port("a", 1, "10.0.0.11")


@pytest.mark.parametrize("prefix", ["", "abcdef", "Hf", "1a", "a-b", "a b", "../a"])
def test_a_prefix_that_cannot_name_links_is_refused(prefix: str) -> None:
    with pytest.raises(BadInput):
        Names(prefix)


def test_every_link_name_fits_and_carries_the_prefix() -> None:
    desired = host(network("one", A), routers=(router("one"),), externals=(EXTERNAL,))
    planned = plan(desired, "abcde")
    names = [name for space in planned.spaces for link in space.links for name in (link.name, link.peer) if name]
    names += [place.tap for place in planned.ports]
    assert len(set(names)) == len(names) == 7
    assert all(name.startswith("abcde-") and len(name) <= LINK_BYTES for name in names)


def test_the_same_desired_state_gives_the_same_plan() -> None:
    desired = host(network("one", A), routers=(router("one"),), externals=(EXTERNAL,))
    assert plan(desired, "hf") == plan(desired, "hf")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (rule(protocol="tcp", low=22, high=22), "meta nfproto ipv4 meta l4proto 6 th dport 22"),
        (rule(protocol="udp", low=1, high=9), "meta nfproto ipv4 meta l4proto 17 th dport 1-9"),
        (rule(protocol="icmp", low=8, high=0), "meta nfproto ipv4 meta l4proto 1 icmp type 8 icmp code 0"),
        (rule(protocol="icmp", ethertype="IPv6"), "meta nfproto ipv6 meta l4proto 58"),
        (rule(protocol="51"), "meta nfproto ipv4 meta l4proto 51"),
        (rule(cidr="10.1.2.3/8"), "meta nfproto ipv4 ip saddr 10.0.0.0/8"),
        (rule("egress", cidr="10.0.0.0/8"), "meta nfproto ipv4 ip daddr 10.0.0.0/8"),
        (rule(cidr="0.0.0.0/0"), "meta nfproto ipv4"),
    ],
)
def test_a_rule_becomes_checked_words(given: object, text: str) -> None:
    assert match_text(read_rule(given)) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("ethertype", ["IPv4", "IPv6"])
def test_each_protocol_that_the_api_takes_is_a_rule(ethertype: str) -> None:
    for word in ("", "any", "icmpv6", *PROTOCOLS, *map(str, range(256))):
        try:
            made = rule_make(RuleWanted("g", "ingress", ethertype, word), "r", "p", 0)
        except BadInput:
            continue  # what the API refuses no host is told
        assert match_text(read_rule(rule(protocol=made.protocol, ethertype=made.ethertype)))


HOSTILE = ['"; flush ruleset', "10.0.0.11\nadd", "10.0.0.11 drop }", "", "0.0.0.0", "224.0.0.1", "fe80::1%eth0"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_address_never_reaches_a_rule(text: str) -> None:
    bad = port("bad", 2, text)
    planned = plan(host(network("one", A, bad)), "hf")
    assert [(problem.kind, problem.id) for problem in planned.problems] == [("port", bad.id)]
    assert planned.spaces[1:] == plan(host(network("one", A)), "hf").spaces[1:]


@pytest.mark.parametrize(
    "text", ['fa:16:3e:00:00:01" drop', "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "", "fa163e000001"]
)
def test_a_hostile_mac_never_reaches_a_rule(text: str) -> None:
    planned = plan(host(network("one", changed(A, mac=text))), "hf")
    assert [problem.kind for problem in planned.problems] == ["port"]


def test_one_port_more_is_elements_only() -> None:
    before = plan(host(network("one", A)), "hf").spaces[1]
    after = plan(host(network("one", A, port("b", 2, "10.0.0.12"))), "hf").spaces[1]
    bridge, inet = (change(old, new).splitlines() for old, new in zip(before.tables, after.tables, strict=True))
    assert {line.split()[0] + " " + line.split()[1] for line in inet} == {"add element", "delete chain", "add chain"}
    rewritten = {line.split()[4] for line in bridge if line.startswith("flush chain")}
    assert rewritten == {"port_advertises"}, "an IPv6 address more is a rule more there"


def test_two_claims_on_one_floating_address_are_one_rule_and_one_problem() -> None:
    floats = (floating("203.0.113.9", "10.0.0.11", "one"), floating("203.0.113.9", "10.0.0.12", "one"))
    planned = plan(host(network("one", A), routers=(router("one", 0xF0, *floats),), externals=(EXTERNAL,)), "hf")
    assert [problem.kind for problem in planned.problems] == ["floating"]
    assert len(planned.floating) == 1


def any_host(dice: random.Random) -> DesiredHost:
    """A network with some ports, groups, pairs and floating addresses."""
    names = dice.sample("abcdefgh", dice.randint(0, 6))
    groups = [group("open", *EGRESS)]
    for name in "xyz":
        rules = [
            rule(protocol="tcp", low=dice.randint(1, 9), high=dice.randint(10, 20)),
            rule(cidr=f"10.{dice.randint(0, 3)}.0.0/16"),
            rule(group=ident(dice.choice("xyz"))),
        ]
        members = tuple(f"10.0.0.{n}" for n in dice.sample(range(2, 60), dice.randint(0, 4)))
        groups.append(group(name, *dice.sample(rules, dice.randint(0, 3)), members=members))
    ports = tuple(
        port(
            name,
            ord(name),
            f"10.0.0.{ord(name)}",
            security_groups=tuple(ident(g) for g in dice.sample("xyz", dice.randint(0, 2))),
            filtered=dice.random() < 0.8,
            allowed_pairs=tuple(
                (dice.choice(("", mac(0x70))), f"10.0.{dice.randint(0, 2)}.0/{dice.randint(22, 32)}")
                for _ in range(dice.randint(0, 3))
            ),
            admin_up=dice.random() < 0.9,
        )
        for name in sorted(names)
    )
    floats = tuple(floating(f"203.0.113.{ord(n)}", f"10.0.0.{ord(n)}", "one") for n in names if dice.random() < 0.5)
    routers = (router("one", 0xF0, *floats),) if dice.random() < 0.7 else ()
    return host(network("one", *ports), routers=routers, externals=(EXTERNAL,), security_groups=tuple(groups))


@pytest.mark.root
@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_there_before_the_rules_end_as_if_made_anew(world: World, seed: int) -> None:
    dice = random.Random(seed)
    for step in range(8):
        desired = any_host(dice)
        world.apply(desired)
        reached = world.shape()
        world.apply(desired, force=True)
        assert world.shape() == reached, f"seed {seed} step {step}: a look found something to do"
    for space in world.network.found().namespaces:
        world.inside(space, "nft", "flush", "ruleset")
    world.apply(desired, force=True)
    assert world.shape() == reached, f"seed {seed}: made anew it is something else"
