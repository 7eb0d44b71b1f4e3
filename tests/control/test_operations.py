"""The engine and the acts on servers, with the real store, real agent parts and simulated machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from holdfast.base.errors import BadInput, Conflict, HoldfastError, Unavailable
from holdfast.base.limits import OPERATION_DEADLINE_S, OPERATION_LEASE_S
from holdfast.control.operations.act import Work
from holdfast.control.operations.server import placing
from holdfast.control.store.host import allocations_list
from holdfast.control.store.operation import (
    operation,
    operation_events,
    operation_insert,
    operation_is_mine,
    operation_open_of,
    operation_write,
    operations_claim,
    operations_of,
)
from holdfast.domain.operation import OperationState
from holdfast.host.hypervisor.driver import Reason
from holdfast.host.hypervisor.simulated import happen, queue_failure
from tests.conftest import Cloud
from tests.world import World


def test_a_server_is_accepted_then_active_then_gone_and_nothing_is_left(world: World) -> None:
    server_id = world.boot()
    assert world.status(server_id) == "BUILD"
    world.settle()
    assert world.status(server_id) == "ACTIVE"
    assert world.running() == {server_id: ["h1"]}
    assert world.nova("DELETE", f"/servers/{server_id}").status == 204
    world.settle()
    assert world.status(server_id) == "GONE"
    assert world.running() == {}
    assert world.store.read(allocations_list) == []
    assert world.demo.get("/network/v2.0/ports?device_owner=compute:nova").json == {"ports": []}
    assert world.audit() == []


@pytest.mark.parametrize(
    ("word", "argument", "before", "after"),
    [
        ("os-stop", None, "ACTIVE", "SHUTOFF"),
        ("pause", None, "ACTIVE", "PAUSED"),
        ("reboot", {"type": "HARD"}, "HARD_REBOOT", "ACTIVE"),
        ("reboot", {"type": "SOFT"}, "REBOOT", "ACTIVE"),
        ("rebuild", {"imageRef": "11111111-1111-4111-8111-111111111111"}, "REBUILD", "ACTIVE"),
        ("resize", {"flavorRef": "84"}, "RESIZE", "VERIFY_RESIZE"),
    ],
)
def test_an_act_shows_the_old_state_until_the_host_did_it(
    world: World, word: str, argument: Any, before: str, after: str
) -> None:
    server_id = world.boot()
    world.settle()
    assert world.act(server_id, word, argument).status == 202
    assert world.status(server_id) == before
    assert world.act(server_id, "os-stop").status == 409, "one act at a time"
    world.settle()
    assert world.status(server_id) == after
    assert world.audit() == []


def test_start_and_unpause_return(world: World) -> None:
    server_id = world.boot()
    world.settle()
    for there, back in (("os-stop", "os-start"), ("pause", "unpause")):
        world.act(server_id, there)
        world.settle()
        assert world.act(server_id, back).status == 202
        world.settle()
        assert world.status(server_id) == "ACTIVE"
    assert world.running() == {server_id: ["h1"]}


def test_a_resize_is_confirmed_or_reverted_and_holds_the_larger_room_until_then(world: World) -> None:
    server_id = world.boot()
    world.settle()
    for answer_word, memory_mib in (("revertResize", 128), ("confirmResize", 192)):
        assert world.act(server_id, "resize", {"flavorRef": "84"}).status == 202
        world.settle()
        assert world.store.read(allocations_list)[0].memory_mib == 192
        assert world.act(server_id, answer_word).status in (202, 204)
        world.settle()
        assert world.status(server_id) == "ACTIVE"
        assert world.store.read(allocations_list)[0].memory_mib == memory_mib


def test_a_guest_that_turns_itself_off_stays_off_and_one_that_crashes_is_started_again(world: World) -> None:
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    happen(host.home, server_id, Reason.KILLED)
    world.settle()
    assert (world.running(), world.status(server_id)) == ({server_id: ["h1"]}, "ACTIVE")
    happen(host.home, server_id, Reason.GUEST_SHUTDOWN)
    world.settle()
    assert (world.running(), world.status(server_id)) == ({}, "SHUTOFF")
    assert world.act(server_id, "os-start").status == 202
    world.settle()
    assert world.status(server_id) == "ACTIVE"


def test_a_host_that_cannot_build_it_gives_way_to_another(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2)
    for _ in range(9):
        queue_failure(world.hosts[0].home, "start", Unavailable("no memory"))
    ids = [world.boot(f"s{n}") for n in range(4)]
    world.settle()
    assert {world.status(server_id) for server_id in ids} == {"ACTIVE"}
    assert world.running() == {server_id: ["h2"] for server_id in ids}
    assert world.audit() == []


@pytest.mark.parametrize("failure", [BadInput("wrong processor"), Conflict("no"), Unavailable("no memory")])
def test_what_no_host_can_build_fails_at_once_with_the_hosts_reason(failure: HoldfastError, world: World) -> None:
    for _ in range(3):
        queue_failure(world.hosts[0].home, "start", failure)
    server_id = world.boot()
    world.settle()
    assert world.status(server_id) == "ERROR", "without a second passing"
    assert failure.message in world.server(server_id)["fault"]["message"]
    assert world.audit() == [] and world.running() == {}


@pytest.mark.parametrize("failure", [BadInput("wrong processor"), Unavailable("no memory")])
def test_a_start_that_its_host_refuses_for_good_fails_at_once_and_another_is_tried_again(
    failure: HoldfastError, world: World
) -> None:
    server_id, host = world.boot(), world.hosts[0]
    world.settle()
    world.act(server_id, "os-stop")
    world.settle()
    queue_failure(host.home, "start", failure)
    world.act(server_id, "os-start")
    world.settle()
    assert (world.status(server_id) == "ERROR") is not failure.retryable


def test_a_full_cloud_refuses_with_the_reason_of_each_host_and_keeps_no_room(world: World) -> None:
    server_id = world.boot(flavorRef="5", name="huge")
    ids = [world.boot(flavorRef="4", name=f"big{n}") for n in range(4)]
    world.settle()
    assert world.status(server_id) == "ERROR" or [world.status(i) for i in ids].count("ERROR") >= 1
    failed = next(i for i in [server_id, *ids] if world.status(i) == "ERROR")
    fault = world.server(failed)["fault"]["message"]
    assert "No valid host" in fault and "h1" in fault and "free" in fault
    assert {held.instance_id for held in world.store.read(allocations_list)} == set(world.running())
    assert world.audit() == []
    world.nova("DELETE", f"/servers/{failed}")
    world.settle()
    assert world.status(failed) == "GONE"


def test_a_delete_supersedes_whatever_goes_on_and_nothing_revives_it(world: World) -> None:
    host = world.hosts[0]
    host.away = True
    server_id = world.boot()
    world.settle()
    assert world.nova("DELETE", f"/servers/{server_id}").status == 204
    world.settle()
    assert world.server(server_id)["OS-EXT-STS:task_state"] == "deleting", "the host has not said that it is gone"
    host.away = False
    world.settle()
    assert (world.status(server_id), world.running()) == ("GONE", {})
    assert world.audit() == []


def test_what_no_host_answers_ends_at_its_deadline_with_the_reason(world: World) -> None:
    world.hosts[0].away = True
    server_id = world.boot()
    world.settle()
    world.pass_time(OPERATION_DEADLINE_S + 1)
    assert world.status(server_id) == "ERROR"
    assert "did not end within" in world.server(server_id)["fault"]["message"]


def test_a_worker_that_outlived_its_lease_writes_nothing(world: World) -> None:
    world.boot()
    slow = world.store.write(lambda tx: operations_claim(tx, "slow"))
    assert world.store.write(lambda tx: operations_claim(tx, "quick")) == [], "one claim at a time"
    world.clock.advance_s(OPERATION_LEASE_S + 1)
    quick = world.store.write(lambda tx: operations_claim(tx, "quick"))
    assert [op.id for op in quick] == [op.id for op in slow]
    assert not world.store.read(lambda tx: operation_is_mine(tx, slow[0]))
    assert not world.store.write(lambda tx: operation_write(tx, slow[0], step="spawn"))
    assert world.store.write(lambda tx: operation_write(tx, quick[0], step="schedule"))


def test_a_worker_that_is_back_takes_up_its_own_work_at_once_and_its_former_process_writes_nothing(
    world: World,
) -> None:
    server_id = world.boot()
    former = world.store.write(lambda tx: operations_claim(tx, "w1"))
    assert world.store.write(lambda tx: operations_claim(tx, "w2")) == [], "somebody else waits for the lease"
    back = world.make_engine(worker="w1")
    back.adopt()
    assert not world.store.write(lambda tx: operation_write(tx, former[0], step="schedule"))
    world.settle(back)
    assert world.status(server_id) == "ACTIVE", "without a second passing"
    world.make_engine(worker="w3").adopt()
    assert world.audit() == []


def test_an_instance_has_at_most_one_open_operation(world: World) -> None:
    server_id = world.boot()
    words = {"project_id": "p", "user_id": "u", "request_id": "r", "deadline_s": 0}
    with pytest.raises(Conflict, match="still going on"):
        world.store.write(
            lambda tx: operation_insert(tx, kind="server_stop", step="reach", resource_id=server_id, **words)
        )


def test_one_operation_that_raises_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    poison, *healthy = [world.boot(f"s{n}") for n in range(4)]
    place = placing.place

    def place_or_raise(request: Any, rooms: Any) -> Any:
        if request.instance_id == poison:
            raise ZeroDivisionError("unforeseen")
        return place(request, rooms)

    monkeypatch.setattr(placing, "place", place_or_raise)
    for _ in range(8):
        world.settle()
        world.clock.advance_s(40)
        for host in world.hosts:
            host.report()
    assert [world.status(server_id) for server_id in healthy] == ["ACTIVE"] * 3
    assert world.status(poison) == "ERROR"
    acts = world.store.read(lambda tx: operations_of(tx, poison))
    assert acts[0].state is OperationState.FAILED and acts[0].error_code == "bug"


def test_every_step_is_told_in_order(world: World) -> None:
    server_id = world.boot()
    world.settle()
    act = world.store.read(lambda tx: operations_of(tx, server_id))[0]
    told = world.store.read(lambda tx: operation_events(tx, act.id))
    assert [(event.number, event.step, event.result) for event in told] == [
        (1, "leave", "done"),
        (2, "schedule", "done"),
        (3, "spawn", "done"),
    ]
    assert world.store.read(lambda tx: operation_open_of(tx, server_id)) is None


def test_a_unique_index_keeps_two_open_operations_apart_whatever_the_code_does(world: World) -> None:
    open_ones = select(func.count()).where(operation.c.state == OperationState.OPEN)
    world.boot()
    assert world.store.read(lambda tx: tx.value(open_ones)) == 1
    index = next(index for index in operation.indexes if index.name == "uq_operation_open")
    assert index.unique


def test_twenty_repeats_of_one_create_make_one_server(world: World) -> None:
    body = {
        "server": {
            "name": "web",
            "imageRef": "11111111-1111-4111-8111-111111111111",
            "flavorRef": "42",
            "networks": "auto",
        }
    }
    headers = {"openstack-api-version": "compute 2.96", "idempotency-key": "once"}
    answers = [world.demo.post("/compute/v2.1/servers", body, headers=headers) for _ in range(20)]
    assert {answer.json["server"]["id"] for answer in answers} == {answers[0].json["server"]["id"]}
    assert len(world.nova("GET", "/servers").json["servers"]) == 1
    other = {"server": {**body["server"], "name": "else"}}
    assert world.demo.post("/compute/v2.1/servers", other, headers=headers).status == 409


def test_the_work_of_a_step_knows_its_instance(world: World) -> None:
    server_id = world.boot()
    claimed = world.store.write(lambda tx: operations_claim(tx, "w"))[0]
    row = world.store.read(lambda tx: Work(tx, world.cloud.services.settings, claimed, {}).instance())
    assert row.id == server_id
