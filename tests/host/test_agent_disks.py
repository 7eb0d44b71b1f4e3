"""Root disks on storage that hosts share: one that was made for a number is not made for it again, whoever is asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.domain.desired import DesiredHost, Machine
from holdfast.domain.observed import Phase
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.local import NUMBER, ROOT, LocalDisks
from holdfast.host.agent.machine import Worker
from holdfast.host.agent.networking import Networking
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.simulated import SimulatedNetwork, blank_image
from holdfast.host.agent.volumes import Plugging
from holdfast.host.hypervisor.simulated import Simulated
from holdfast.host.volumes.files import VolumeFiles
from tests.host.imagecache_world import ImageCacheWorld, qemu_io
from tests.host.test_agent_desk import machine

SERVER = "11111111-1111-4111-8111-111111111111"


class Host:
    """One agent's worker; what it reached is on its own disk, the machines' disks are where it is told."""

    def __init__(self, home: Path, world: ImageCacheWorld, disks: Path, kept: Path | None = None) -> None:
        home.mkdir()
        hypervisor, network = Simulated(home), SimulatedNetwork()
        self.disks = LocalDisks(disks, world.cache(), lambda *_: None, never, kept)
        networking, reached = Networking(network, Desk("h")), ReachedFiles(home / "reached")
        plugging = Plugging(hypervisor, VolumeFiles(home / "volumes", blank_image, False))
        self.worker = Worker(hypervisor, networking, network, self.disks, reached, plugging)

    def runs(self, wanted: Machine) -> bool:
        report, _ = self.worker.reconcile(wanted, None)
        return report.phase is Phase.RUNNING


def never() -> DesiredHost:
    raise AssertionError("no config drive was asked for")


@pytest.fixture
def world(tmp_path: Path) -> ImageCacheWorld:
    return ImageCacheWorld(tmp_path)


def written(disk: Path) -> bytes:
    """Write to it as a guest does; returns what it reads from then on."""
    qemu_io(disk, "write -P 7 0 4096")
    return b"\7" * 4096


def test_what_a_host_made_and_never_told_of_is_not_made_again_by_the_next(
    world: ImageCacheWorld, tmp_path: Path
) -> None:
    """Seed 4577: a rebuild was done, its host was not heard any more, and its guest wrote until the lease ended."""
    shared = tmp_path / "shared"
    first, second = Host(tmp_path / "a", world, shared), Host(tmp_path / "b", world, shared)
    wanted = msgspec.structs.replace(machine(SERVER, 2), image=world.image(), disk=2, disk_made=1)
    assert first.runs(wanted)
    disk = shared / SERVER / ROOT
    data = written(disk)
    assert second.runs(wanted)
    assert world.disk_bytes(disk, 4096) == data
    assert second.runs(msgspec.structs.replace(wanted, generation=3, disk=3)), "asked for anew, it is made anew"
    assert world.disk_bytes(disk, 4096) != data


def test_one_that_was_not_whole_is_made_again(world: ImageCacheWorld, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    wanted = msgspec.structs.replace(machine(SERVER, 2), image=world.image(), disk=2, disk_made=1)
    assert Host(tmp_path / "a", world, shared).runs(wanted)
    data = written(shared / SERVER / ROOT)
    (shared / SERVER / NUMBER).write_text("1\n")  # as it is between the disk and its number
    assert Host(tmp_path / "b", world, shared).runs(wanted)
    assert world.disk_bytes(shared / SERVER / ROOT, 4096) != data


def test_on_storage_of_its_own_what_was_reached_there_counts(world: ImageCacheWorld, tmp_path: Path) -> None:
    own = tmp_path / "own"
    wanted = msgspec.structs.replace(machine(SERVER, 1), image=world.image())
    assert Host(tmp_path / "a", world, own, tmp_path / "left").runs(wanted)
    assert not (own / SERVER / NUMBER).exists()
