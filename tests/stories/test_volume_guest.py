"""A real guest and its volumes: what it writes is on the file, it lets go when asked, it sees the disk grow."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.base.ids import new_id
from holdfast.host.hypervisor.driver import Card, Disk, MachineSpec, Volume
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.hypervisor.qmp import short_path
from holdfast.host.imagebuild.packages import parts_fetch
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny
from tests.stories.bareguest import BOUND_S, package_cache, until

pytestmark = pytest.mark.qemu
MIB = 1 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> TinyImage:
    parts_fetch(package_cache(), print)
    return build_tiny(tmp_path_factory.mktemp("tiny"), package_cache(), print)


def no_tap(card: Card) -> int:
    raise AssertionError(f"{card} was not asked for")


class Room:
    """One machine with a shell on its serial console."""

    def __init__(self, state: Path, image: TinyImage) -> None:
        self.state, self.driver = state, Qemu(state, no_tap, accelerator="tcg")
        self.instance_id = new_id()
        self.disk = state / "root"
        shutil.copyfile(image.disk, self.disk)
        self.image = image

    def volume(self, slot: int, size_mib: int = 16) -> Volume:
        volume_id = new_id()
        path = self.state / f"{volume_id}.raw"
        with path.open("wb") as file:
            file.truncate(size_mib * MIB)
        return Volume(volume_id, path, slot)

    def start(self, *volumes: Volume) -> None:
        root = Disk(self.disk, self.image.disk_format)
        self.driver.start(
            MachineSpec(
                instance_id=self.instance_id,
                vcpus=1,
                memory_mib=128,
                disks=(root,),
                cards=(),
                kernel=self.image.kernel,
                ramdisk=self.image.ramdisk,
                kernel_arguments=self.image.kernel_arguments,
                volumes=volumes,
            )
        )
        until(lambda: "login:" in self.console())

    def console(self) -> str:
        return self.driver.console(self.instance_id, 1 << 20).decode("utf-8", "replace")

    def shell(self, command: str) -> str:
        """Run a command as root on the serial console; returns what it printed."""
        mark = new_id()[:8]
        with socket.socket(socket.AF_UNIX) as line:
            with short_path(self.state / "machines" / self.instance_id / "console.sock") as name:
                line.connect(name)
            line.settimeout(BOUND_S)
            line.sendall(f"\n{command}; echo end-'{mark}'\n".encode())
            heard = b""
            while f"end-{mark}".encode() not in heard:
                heard += line.recv(4096)
        return heard.decode("utf-8", "replace").replace("\r", "").rpartition(f"end-{mark}")[0]

    def disk_with(self, volume: Volume) -> str:
        """The name that the guest gives to a volume, found by its serial number; empty: it has none."""
        listed = self.shell("grep . /sys/block/vd*/serial")
        found = re.search(rf"/sys/block/(vd\w+)/serial:{volume.id[:20]}", listed)
        return found[1] if found else ""


@pytest.fixture
def room(tmp_path: Path, image: TinyImage) -> Iterator[Room]:
    room = Room(tmp_path.resolve(), image)
    yield room
    for process in processes_of(room.state):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def open_files(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/fd/{handle}") for handle in os.listdir(f"/proc/{pid}/fd")]


def test_a_guest_uses_a_volume_lets_it_go_and_finds_it_again(room: Room) -> None:
    first, second = room.volume(0), room.volume(5)
    room.start(first)
    until(lambda: room.disk_with(first))
    room.driver.plug(room.instance_id, second)
    until(lambda: room.disk_with(second))
    name = room.disk_with(second)
    room.shell(f"echo written by the guest > /dev/{name}; sync")
    assert second.path.read_bytes().startswith(b"written by the guest\n")

    room.driver.grow(room.instance_id, second.id, 32 * MIB)
    until(lambda: f"\n{32 * MIB // 512}\n" in room.shell(f"cat /sys/block/{name}/size"))

    pid = room.driver.machines()[room.instance_id].pid
    for volume in (second, first):
        assert str(volume.path) in open_files(pid)
        assert room.driver.unplug(room.instance_id, volume.id, BOUND_S)
        assert room.driver.unplug(room.instance_id, volume.id, 0)
        assert str(volume.path) not in open_files(pid)
        until(lambda volume=volume: not room.disk_with(volume))  # type: ignore[misc]
    assert room.driver.volumes(room.instance_id) == {}

    Qemu(room.state, no_tap, accelerator="tcg").plug(room.instance_id, second)
    until(lambda: room.disk_with(second))
    assert "written by the guest" in room.shell(f"head -n 1 /dev/{room.disk_with(second)}")


def test_what_a_guest_writes_at_the_beginning_of_a_volume_opens_no_file_of_the_host(room: Room, tmp_path: Path) -> None:
    """A volume that looks like a qcow2 with a backing file is a raw volume, before and after a restart."""
    secret, volume = tmp_path / "secret", room.volume(0)
    secret.write_bytes(b"the host's own\n" * 1000)
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + (104).to_bytes(8, "big") + len(str(secret)).to_bytes(4, "big")
    with volume.path.open("r+b") as disk:
        disk.write(header.ljust(104, b"\0") + str(secret).encode())
    room.start(volume)
    until(lambda: room.disk_with(volume))
    name = room.disk_with(volume)
    assert f"\n{16 * MIB // 512}\n" in room.shell(f"cat /sys/block/{name}/size")
    assert "QFI" in room.shell(f"head -c 3 /dev/{name}")
    assert str(secret) not in open_files(room.driver.machines()[room.instance_id].pid)
