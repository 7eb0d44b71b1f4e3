"""A host that fails to build what others build: it is chosen last, gets a build to try now and then, and recovers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.base.errors import Unavailable
from holdfast.base.limits import HOST_BUILDS_FAILED, HOST_SHUNNED_S
from holdfast.control.operations.host.lease import host_enable
from holdfast.control.reconcilers.clock import ClockSetBack
from holdfast.control.store.host import host_update
from holdfast.host.hypervisor.simulated import FAILURES, queue_failure
from tests.conftest import Cloud
from tests.world import HostStandIn, World

QUEUED = 40  # more than anything here asks for


@pytest.fixture
def two(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=2)


def break_host(host: HostStandIn) -> None:
    for _ in range(QUEUED):
        queue_failure(host.home, "start", Unavailable("its disk is broken"))


def tries(host: HostStandIn) -> int:
    """How often something was to start there since it broke."""
    return QUEUED - len(list((host.home / FAILURES / "start").iterdir()))


def mend(host: HostStandIn) -> None:
    for failure in (host.home / FAILURES / "start").iterdir():
        failure.unlink()


def boot(world: World, name: str) -> str:
    server_id = world.boot(name)
    world.settle()
    return server_id


def shown(world: World, name: str) -> dict[str, Any]:
    hosts = world.admin.request("GET", "/operator/v1/hosts").json["hosts"]
    return next(host for host in hosts if host["name"] == name)


def break_and_see(world: World) -> HostStandIn:
    """Builds go on until the broken host was found out."""
    broken, _ = world.hosts
    break_host(broken)
    for number in range(2 * HOST_BUILDS_FAILED):
        assert world.status(boot(world, f"s{number}")) == "ACTIVE"
    assert tries(broken) == HOST_BUILDS_FAILED, "it was found out by as few as it takes"
    return broken


def test_a_host_that_fails_what_another_builds_gets_no_more_says_why_and_one_to_try_later(two: World) -> None:
    broken = break_and_see(two)
    seen = shown(two, broken.name)
    assert (seen["builds_failed"], seen["builds_failed_reason"]) == (HOST_BUILDS_FAILED, "its disk is broken")
    assert seen["shunned_until"] and not shown(two, two.hosts[1].name)["shunned_until"]
    server_id = boot(two, "told")
    story = two.demo.request("GET", f"/debug/v1/why/{server_id}").json
    words = story["acts"][0]["rejected_hosts"][broken.name]
    assert "which other hosts built" in words and "disk" not in words, "another project's server is nobody's business"
    two.pass_time(HOST_SHUNNED_S + 1)
    for number in range(3):
        assert two.status(boot(two, f"later{number}")) == "ACTIVE"
    assert tries(broken) == HOST_BUILDS_FAILED + 1, "one build, each time"
    mend(broken)
    two.pass_time(HOST_SHUNNED_S + 1)
    boot(two, "tried")
    assert shown(two, broken.name)["builds_failed"] == 0
    assert broken.name in {name for names in two.running().values() for name in names}
    assert two.audit() == []


def test_while_one_build_is_tried_there_others_go_elsewhere(two: World) -> None:
    broken = break_and_see(two)
    two.pass_time(HOST_SHUNNED_S + 1)
    for number in range(4):
        two.boot(f"together{number}")
    two.settle()
    assert tries(broken) == HOST_BUILDS_FAILED + 1


def test_what_no_host_can_build_is_held_against_none(two: World) -> None:
    for host in two.hosts:
        break_host(host)
    for number in range(2 * HOST_BUILDS_FAILED):
        assert two.status(boot(two, f"bad{number}")) == "ERROR"
    assert [shown(two, host.name)["builds_failed"] for host in two.hosts] == [0, 0]


def test_where_no_other_host_would_do_a_shunned_one_is_asked(two: World) -> None:
    broken = break_and_see(two)
    mend(broken)
    two.store.write(lambda tx: host_update(tx, two.hosts[1].host_id, enabled=False))
    server_id = boot(two, "last")
    assert two.running()[server_id] == [broken.name] and not shown(two, broken.name)["builds_failed"]


def test_whoever_enables_a_host_has_looked_at_it(two: World) -> None:
    broken = break_and_see(two)
    two.store.write(lambda tx: host_enable(tx, broken.host_id, True))
    boot(two, "again")
    assert tries(broken) == HOST_BUILDS_FAILED + 1


def test_a_clock_that_is_set_back_shuns_nobody_for_longer(two: World) -> None:
    broken = break_and_see(two)
    two.clock.advance_s(-86_400)
    ClockSetBack(two.store).tick()
    two.settle()
    two.pass_time(HOST_SHUNNED_S + 1)
    boot(two, "after")
    assert tries(broken) == HOST_BUILDS_FAILED + 1
