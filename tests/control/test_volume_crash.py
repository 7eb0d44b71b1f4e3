"""Every act on volumes, killed before every statement of its worker: another worker ends it as if nothing had been."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from holdfast.base.limits import OPERATION_LEASE_S
from holdfast.control.operations.registry import ACTS
from holdfast.control.store.operation import operation_events, operations_of
from holdfast.domain.operation import OperationState
from tests.api.volume_world import GIB, Cinder, files, plugged, server
from tests.control.test_operations_crash import run_doomed
from tests.world import World

Begin = Callable[[Cinder, str], str]  # (client, server) -> the volume or snapshot that the act is about


def create(cinder: Cinder, server_id: str) -> str:
    return cinder.create(1)


def delete(cinder: Cinder, server_id: str) -> str:
    volume_id = cinder.made()
    assert cinder.delete(volume_id).status == 202
    return volume_id


def extend(cinder: Cinder, server_id: str) -> str:
    volume_id = cinder.made()
    cinder.attached(server_id, volume_id)
    assert cinder.act(volume_id, "os-extend", {"new_size": 3}).status == 202
    return volume_id


def attach(cinder: Cinder, server_id: str) -> str:
    volume_id = cinder.made()
    assert cinder.attach(server_id, volume_id).status == 200
    return volume_id


def detach(cinder: Cinder, server_id: str) -> str:
    volume_id = cinder.made()
    cinder.attached(server_id, volume_id)
    assert cinder.detach(server_id, volume_id).status == 202
    return volume_id


def snapshot_create(cinder: Cinder, server_id: str) -> str:
    return cinder.snapshot(cinder.made())


def snapshot_delete(cinder: Cinder, server_id: str) -> str:
    snapshot_id = cinder.snapshot(cinder.made())
    cinder.world.settle()
    assert cinder.call("DELETE", f"/snapshots/{snapshot_id}").status == 202
    return snapshot_id


SCENARIOS: dict[str, tuple[Begin, str, int, bool]] = {  # what begins it; then: status, GiB on the disk, plugged in
    "volume_create": (create, "available", 1, False),
    "volume_delete": (delete, "GONE", 0, False),
    "volume_extend": (extend, "in-use", 3, True),
    "volume_attach": (attach, "in-use", 1, True),
    "volume_detach": (detach, "available", 1, False),
    "volume_snapshot_create": (snapshot_create, "available", 1, False),
    "volume_snapshot_delete": (snapshot_delete, "GONE", 0, False),
}


@pytest.mark.parametrize("kind", sorted(SCENARIOS))
def test_killed_at_any_point_it_ends_as_if_nothing_had_been(world: World, kind: str) -> None:
    begin, status, size_gib, is_plugged = SCENARIOS[kind]
    cinder = Cinder(world)
    for points in itertools.count():
        server_id = server(world, f"s{points}")
        subject = begin(cinder, server_id)
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        for host in world.hosts:
            host.restart()
            host.step()
        world.settle(world.make_engine(worker=f"next-{points}"))
        seen = cinder.snapshot_status(subject) if "snapshot" in kind else cinder.status(subject)
        assert seen == status, f"killed at point {points}"
        assert files(world).get(subject, ("", 0))[1] == size_gib * GIB
        assert plugged(world, server_id) == ({subject} if is_plugged else set())
        assert_one_act(world, subject, kind)
        clean(cinder, server_id)
        if not killed:
            assert points > 2, "it was never killed inside"
            return


def assert_one_act(world: World, subject: str, kind: str) -> None:
    """The act is done, once, and every step of it is told as done."""
    acts = [act for act in world.store.read(lambda tx: operations_of(tx, subject)) if act.kind == kind]
    assert [act.state for act in acts] == [OperationState.DONE]
    told = world.store.read(lambda tx: operation_events(tx, acts[0].id))
    assert [event.step for event in told if event.result == "done"] == [step.name for step in ACTS[kind].steps]


def clean(cinder: Cinder, server_id: str) -> None:
    """Nothing is left of it: no file, no room held, no finding."""
    world = cinder.world
    world.nova("DELETE", f"/servers/{server_id}")
    world.settle()
    for volume in cinder.call("GET", "/volumes").json["volumes"]:
        assert cinder.call("DELETE", f"/volumes/{volume['id']}?cascade=true").status == 202
    world.settle()
    assert (files(world), world.running(), world.audit()) == ({}, {}, [])
