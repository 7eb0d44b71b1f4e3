"""What a host says counts for what it owns, and only when it is about what was asked last."""

from __future__ import annotations

from pathlib import Path

import msgspec

from holdfast.control.store.fencing.host_lease import departed_add, departed_from
from holdfast.control.store.host import allocations_list
from holdfast.control.store.instance import instance_fetch, observation_fetch
from holdfast.domain.observed import MachineReport, Phase
from tests.conftest import Cloud
from tests.world import World


def word(world: World, server_id: str, phase: Phase, generation: int = 10_000) -> MachineReport:
    return MachineReport(server_id, generation, 1, 1, phase)


def test_a_report_about_a_machine_of_another_host_is_ignored(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2)
    server_id = world.boot()
    world.settle()
    owner, other = sorted(world.hosts, key=lambda host: host.name not in world.running()[server_id])
    before = world.store.read(lambda tx: observation_fetch(tx, server_id))
    for phase in (Phase.ABSENT, Phase.FAILED, Phase.STOPPED):
        other.report(word(world, server_id, phase))
    assert world.store.read(lambda tx: observation_fetch(tx, server_id)) == before
    assert [held.host_id for held in world.store.read(allocations_list)] == [owner.host_id]


def test_absent_counts_only_when_it_was_asked_for(world: World) -> None:
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    host.words.clear()
    host.report(word(world, server_id, Phase.ABSENT), full=False)
    row = world.store.read(lambda tx: instance_fetch(tx, server_id))
    assert row is not None and row.host_id == host.host_id, "nobody asked the host to remove it"
    assert len(world.store.read(allocations_list)) == 1


def test_nothing_is_given_back_before_the_host_reported_the_machine_absent(world: World) -> None:
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    host.away = True
    world.nova("DELETE", f"/servers/{server_id}")
    world.settle()
    assert len(world.store.read(allocations_list)) == 1
    ports = world.demo.get("/network/v2.0/ports?device_owner=compute:nova").json["ports"]
    assert len(ports) == 1, "its address must not be another's while it may still run"
    host.report(word(world, server_id, Phase.ABSENT, generation=1), full=False)
    assert len(world.store.read(allocations_list)) == 1, "an old word about an older record"
    host.away = False
    world.settle()
    assert world.store.read(allocations_list) == []
    assert world.demo.get("/network/v2.0/ports?device_owner=compute:nova").json["ports"] == []


def test_a_host_that_a_server_left_and_came_back_to_confirms_both_with_one_word(world: World) -> None:
    """Seed 5: nobody had to say that it was gone any more, and its delete waited for that for ever."""
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    world.store.write(lambda tx: departed_add(tx, server_id, host.host_id, 1, erase=False))
    host.away = True
    world.nova("DELETE", f"/servers/{server_id}")
    world.settle()
    host.report(word(world, server_id, Phase.ABSENT), full=False)
    assert world.store.read(allocations_list) == []
    assert world.store.read(lambda tx: departed_from(tx, server_id)) == []


def test_a_repeated_report_writes_nothing_and_wakes_nobody(world: World) -> None:
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    before = world.store.read(lambda tx: observation_fetch(tx, server_id))
    world.clock.advance_s(5)
    host.report()
    assert world.store.read(lambda tx: observation_fetch(tx, server_id)) == before


def test_a_full_report_forgets_what_is_no_longer_named(world: World) -> None:
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    host.words.clear()
    host.report()
    assert world.store.read(lambda tx: observation_fetch(tx, server_id)) is None
    world.clock.advance_s(60)
    host.report()
    assert [finding.code for finding in world.audit()] == ["power-differs"]


def test_an_audit_names_what_is_out_of_order_and_who(world: World) -> None:
    from holdfast.control.store.host import allocation_delete

    server_id = world.boot()
    world.settle()
    world.store.write(lambda tx: allocation_delete(tx, server_id))
    assert [(finding.code, finding.object) for finding in world.audit()] == [("allocation-missing", server_id)]
    world.clock.advance_s(120)
    assert {"host-silent"} <= {finding.code for finding in world.audit()}
    answer = world.admin.get("/debug/v1/audit").json["findings"]
    assert {finding["code"] for finding in answer} >= {"allocation-missing", "host-silent"}
    assert world.demo.get("/debug/v1/audit").status == 403


def test_why_tells_the_step_what_it_waits_for_and_the_rejected_hosts(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2)
    world.hosts[0].away = True
    world.clock.advance_s(60)
    world.hosts[1].report()
    world.hosts[1].away = True
    server_id = world.boot()
    world.settle()
    told = world.demo.get(f"/debug/v1/why/{server_id}").json
    assert "waiting for host h2" in told["because"]
    assert told["acts"][0]["rejected_hosts"] == {"h1": "its agent has not reported lately"}
    assert [step["step"] for step in told["acts"][0]["steps"]] == ["leave", "schedule"]
    stranger = msgspec.json.decode(world.admin.get(f"/debug/v1/why/{server_id}").body)
    assert stranger["id"] == server_id, "an administrator may ask about everything"
