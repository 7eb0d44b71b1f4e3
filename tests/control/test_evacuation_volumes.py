"""A server with volumes leaves its dead host, and whoever works on it, volumes included, is killed at every point.

FAULTS EVA-16: each volume has one attachment, and is plugged in where the server runs and nowhere else.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from sqlalchemy import text

from holdfast.base.limits import OPERATION_LEASE_S
from tests.api.volume_world import GIB, Cinder, plugged
from tests.conftest import Cloud
from tests.control.several_hosts import LAPSED_S, SHARED, boot_on
from tests.control.test_operations_crash import run_doomed
from tests.world import HostStandIn, World


def test_volumes_follow_their_server_whoever_dies_on_the_way(cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path / "hosts", hosts=2, capabilities=SHARED)
    cinder = Cinder(world, world.admin)
    source, target = world.hosts
    server = boot_on(world, source.name)
    volumes = {cinder.made(size) for size in (1, 2)}
    for volume in volumes:
        cinder.attached(server, volume)
    for points in itertools.count():
        source.die()
        world.clock.advance_s(LAPSED_S)
        target.step()
        world.admin.request("POST", f"/operator/v1/hosts/{source.name}/evacuate", {})
        killed = run_doomed(world, points)
        world.clock.advance_s(OPERATION_LEASE_S + 1)
        target.restart()
        world.settle(world.make_engine(worker=f"next-{points}"))
        assert world.running() == {server: [target.name]}, f"killed at point {points}"
        assert attachments(world) == {(volume, server, "in-use", target.host_id) for volume in volumes}
        assert has(target, server) == volumes
        source.come_back()
        world.settle()
        assert has(source, server) == set()
        assert world.running() == {server: [target.name]}
        source, target = target, source
        if not killed:
            break
    assert points > 2
    kept = {path.stem: path.stat().st_size for path in (tmp_path / "hosts" / "shared" / "volumes").glob("*.raw")}
    assert sorted(kept.values()) == [GIB, 2 * GIB] and set(kept) == volumes
    assert plugged(world, server) == volumes
    assert world.audit() == []


def attachments(world: World) -> set[tuple[str, ...]]:
    """Each volume with the server that has it, and where: from the rows, which must be one each."""
    joined = (
        "SELECT v.id, a.instance_id, v.state, v.host_id FROM volume v JOIN volume_attachment a ON a.volume_id = v.id"
    )
    found = [tuple(row) for row in world.store.read(lambda tx: tx.all(text(joined)))]
    assert len(found) == len(set(found)), "an attachment twice"
    return set(found)


def has(host: HostStandIn, server: str) -> set[str]:
    """The volumes that are plugged into a server on one host."""
    return set(host.hypervisor.volumes(server))
