"""Hosts that were silent are heard again: as themselves, as another boot, as a copy, with what left them meanwhile.

The world is asked (which host's files say that a machine runs), and rows; never our own summary.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.base.errors import Conflict
from holdfast.base.limits import HOST_DOWN_S, HOST_LEASE_S, LEASE_MARGIN_S
from holdfast.control.operations.host.fencing import word_given
from holdfast.control.operations.host.lease import host_admitted, host_register
from holdfast.control.store.fencing.host_lease import lease_fetch
from holdfast.control.store.host import allocation_delete, host_fetch
from holdfast.control.store.instance import instance_fetch, instance_update
from holdfast.domain.lease import HostPhase
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED, Steady, boot_on, pass_time, status
from tests.world import World


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=3, capabilities=SHARED)


def test_a_host_that_returns_ends_what_left_it_and_gets_nothing_before_it_said_so(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    source = world.hosts[0]
    source.away = True
    auto.look(LAPSED_S + HOST_DOWN_S)
    world.settle()
    assert world.running()[server][0] == "h1" and len(world.running()[server]) == 2  # its keeper was dead: on purpose
    with pytest.raises(Conflict):
        source_report(world)
    source.away = False
    source.step()
    assert world.running()[server] != ["h1"] and len(world.running()[server]) == 1
    world.settle()
    assert world.store.read(lambda tx: lease_fetch(tx, source.host_id)).phase is HostPhase.MEMBER
    assert status(world, server) == "ACTIVE"
    assert world.audit() == []


def source_report(world: World) -> None:
    """What an agent says that was asleep while its host was fenced."""
    host = world.hosts[0]
    world.store.read(lambda tx: host_admitted(tx, host.host_id, host.incarnation))


def test_the_word_of_an_operator_does_not_outweigh_a_host_that_reports(world: World) -> None:
    boot_on(world, "h1")
    host_id = world.hosts[0].host_id
    with pytest.raises(Conflict, match="alive"):
        world.store.write(lambda tx: word_given(tx, host_fetch(tx, host_id), "u", "off"))  # type: ignore[arg-type]
    world.clock.advance_s(HOST_DOWN_S + 1)
    world.hosts[0].renew()  # its agent hangs
    with pytest.raises(Conflict, match="its keeper renewed its lease 0 s ago"):
        world.store.write(lambda tx: word_given(tx, host_fetch(tx, host_id), "u", "off"))  # type: ignore[arg-type]
    world.hosts[0].die()
    world.clock.advance_s(HOST_DOWN_S + 1)
    missing = world.store.write(lambda tx: word_given(tx, host_fetch(tx, host_id), "u", "off"))  # type: ignore[arg-type]
    assert "lease" in missing  # it may be a lie: its enforced lease has to lapse as well
    world.clock.advance_s(LAPSED_S)
    missing = world.store.write(lambda tx: word_given(tx, host_fetch(tx, host_id), "u", "off"))  # type: ignore[arg-type]
    assert missing == ""


def test_after_a_power_cut_a_host_starts_what_ran_again_the_highest_priority_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = {"low": "10", "middle": None, "lowest": "0", "lower": "20"}
    servers = {
        boot_on(world, "h1", name, metadata={"holdfast:priority": rank} if rank else {}): name
        for name, rank in ranks.items()
    }
    off = boot_on(world, "h1", "off")
    world.nova("POST", f"/servers/{off}/action", {"os-stop": None}, world.admin)
    world.settle()
    started: list[str] = []
    host = world.hosts[0]
    real = host.hypervisor.start
    monkeypatch.setattr(host.hypervisor, "start", lambda spec: (started.append(spec.instance_id), real(spec)))
    host.die()
    world.clock.advance_s(HOST_LEASE_S + LEASE_MARGIN_S + 1)
    host.come_back()
    world.settle()
    assert [servers[server] for server in started] == ["middle", "lower", "low", "lowest"]
    assert set(world.running()) == set(servers) and status(world, off) == "SHUTOFF"
    assert world.audit() == []


def test_a_server_deleted_while_its_host_is_dead_goes_at_once_and_is_erased_on_return(world: World) -> None:
    server = boot_on(world, "h1")
    auto = Steady(world)
    source = world.hosts[0]
    source.away = True
    world.nova("DELETE", f"/servers/{server}", client=world.admin)
    world.settle()
    assert status(world, server) != "GONE"  # it may run there still: nothing is given back
    auto.look(LAPSED_S)
    pass_time(world, 8)
    assert status(world, server) == "GONE"
    source.away = False
    world.settle()
    assert server not in world.running()
    assert world.audit() == []


def test_a_server_without_a_host_is_deleted_once_somebody_removes_its_disk(world: World) -> None:
    """Seed 33: all hosts that had the disk before them were away when it was deleted, and nobody was asked again."""
    server = boot_on(world, "h1")
    source = world.hosts[0]
    row = world.store.read(lambda tx: instance_fetch(tx, server))
    assert row is not None
    world.store.write(lambda tx: (allocation_delete(tx, server), instance_update(tx, row, host_id="")))
    for host in world.hosts:
        host.away = True
    world.clock.advance_s(HOST_DOWN_S + 1)
    world.nova("DELETE", f"/servers/{server}", client=world.admin)
    pass_time(world, 8)
    assert status(world, server) != "GONE"
    for host in world.hosts:
        host.away = host is source
    pass_time(world, 30)
    assert status(world, server) == "GONE"


def test_a_copied_identity_is_refused_and_changes_nothing(world: World) -> None:
    server = boot_on(world, "h1")
    host = world.hosts[0]
    before = world.store.read(lambda tx: lease_fetch(tx, host.host_id))
    with pytest.raises(Conflict, match="another machine"):
        world.store.write(lambda tx: host_register(tx, host.host_id, "boot-1", "a copy"))
    with pytest.raises(Conflict, match="another boot"):
        world.store.write(lambda tx: host_register(tx, host.host_id, "boot-9", host.name))
    assert world.store.read(lambda tx: lease_fetch(tx, host.host_id)) == before
    world.settle()
    assert world.running()[server] == ["h1"]


def test_a_host_that_was_moved_comes_back_once_somebody_says_that_what_it_was_is_off(world: World) -> None:
    host = world.hosts[0]
    host.die()
    pass_time(world, LAPSED_S)
    with pytest.raises(Conflict, match="host fence h1 --confirmed"):
        world.store.write(lambda tx: host_register(tx, host.host_id, "boot-2", "moved"))
    assert world.admin.request("POST", "/operator/v1/hosts/h1/fence", {"confirmed": True}).json["fenced"]
    lease = world.store.write(lambda tx: host_register(tx, host.host_id, "boot-2", "moved"))
    assert (lease.phase, lease.machine) == (HostPhase.MEMBER, "moved")
