"""The cache when it is killed at any system call, when the disk is full, and when the power goes."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.errors import NoCapacity
from holdfast.domain.desired import ImageSource
from holdfast.host.imagecache.bases import record_read
from holdfast.host.imagecache.cache import Cache
from holdfast.host.imagecache.disk import sha512_of
from tests.host.imagecache_world import ImageCacheWorld, qemu_img

ROOT = Path(__file__).parents[2]

BOOT = """
import sys
from pathlib import Path
from holdfast.domain.desired import ImageSource
from holdfast.host.imagecache.cache import Cache
from holdfast.host.imagecache.fetch import NearFetch
import hashlib
root, source = Path(sys.argv[1]), Path(sys.argv[2])
def fetch(image, path):
    data = source.read_bytes()
    path.write_bytes(data)
    return hashlib.sha512(data).hexdigest()
image = ImageSource(sys.argv[3], hashlib.sha512(source.read_bytes()).hexdigest(), source.stat().st_size, "qcow2")
print("ready", flush=True)
cache = Cache(root / "cache", [root / "instances"], fetch)
cache.machine_disk(image, root / "instances" / "disk", 1)
print("whole", flush=True)
"""


def source_of(world: ImageCacheWorld) -> tuple[ImageSource, Path, bytes]:
    image = world.image("qcow2", size=1 << 20)
    return image, world.sources[image.id], (world.root / f"{image.id}.raw").read_bytes()


def booted(root: Path, source: Path, image_id: str, *before: str) -> subprocess.CompletedProcess[bytes]:
    argv = [*before, sys.executable, "-c", BOOT, str(root), str(source), image_id]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=120)


EACH = 1 if os.environ.get("HOLDFAST_TEST_STATEMENTS") else 3  # every one with `make crashes`, else each third
CALLS = ("mkdir", "write", "flock", "fsync", "rename", "symlink", "unlink", "vfork")


def counts(root: Path, source: Path, image_id: str) -> dict[str, tuple[int, int]]:
    """For each kind of call: how many come before the work starts, and how many in all."""
    log = root / "calls"
    booted(root, source, image_id, "strace", "-qq", "-o", str(log), "-e", f"trace={','.join(CALLS)}")
    result: dict[str, tuple[int, int]] = {}
    lines = log.read_text().splitlines()
    ready = next(n for n, line in enumerate(lines) if '"ready' in line)
    for name in CALLS:
        places = [n for n, line in enumerate(lines) if line.startswith(f"{name}(")]
        result[name] = (sum(n <= ready for n in places), len(places))
    return result


@pytest.mark.root
def test_killed_at_every_system_call_no_base_is_partial(tmp_path: Path) -> None:
    """IMG-02: strace kills the process as it enters each call from the first fetch to the finished disk."""
    (tmp_path / "counted").mkdir()
    world = ImageCacheWorld(tmp_path / "counted")
    image, source, raw = source_of(world)
    plan = counts(world.root, source, image.id)
    killed = 0
    for call, (before, total) in plan.items():
        for number in range(before + 1, total + 1, EACH):
            root = tmp_path / "run"
            (root / "instances").mkdir(parents=True)
            inject = f"inject={call}:signal=KILL:when={number}"
            options = ("-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
            done = booted(root, source, image.id, "strace", *options)
            killed += done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
            for base in (root / "cache" / "bases").glob("*/disk"):
                flat = root / "flat"
                qemu_img("convert", "-f", "qcow2", "-O", "raw", str(base), str(flat))
                assert flat.read_bytes() == raw, (call, number)
                assert (base.parent / "record.json").exists()
            disk = root / "instances" / "disk"
            if disk.exists():
                assert backing_reads(disk, len(raw)) == raw, (call, number)
            cache = Cache(root / "cache", [root / "instances"], world.fetch)  # the next start sweeps
            assert list((root / "cache" / "tmp").iterdir()) == [], (call, number)
            cache.machine_disk(image, disk, 1)
            assert backing_reads(disk, len(raw)) == raw, (call, number)
            shutil.rmtree(root)
    assert killed > 30 / EACH, plan


def backing_reads(disk: Path, size: int) -> bytes:
    flat = disk.with_suffix(".flat")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(disk), str(flat))
    with flat.open("rb") as file:
        data = file.read(size)  # of a disk that is a thousand times larger
    flat.unlink()
    return data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 24 MiB on a loop device."""
    backing, mounted = tmp_path / "disk.img", tmp_path / "mounted"
    mounted.mkdir()
    with open(backing, "wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", str(backing)], check=True)
    subprocess.run(["mount", "-o", "loop", str(backing), str(mounted)], check=True)
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_full_disk_is_named_and_its_room_comes_back(tmp_path: Path, small_disk: Path, disk_format: str) -> None:
    """IMG-04: during the fetch (raw) and during the conversion (qcow2: two copies do not fit)."""
    world = ImageCacheWorld(tmp_path)
    big = tmp_path / "big.raw"
    big.write_bytes(os.urandom((30 if disk_format == "raw" else 15) << 20))
    source = big
    if disk_format == "qcow2":
        source = tmp_path / "big.qcow2"
        qemu_img("convert", "-f", "raw", "-O", "qcow2", str(big), str(source))
    image = world.image(disk_format, source=source)
    cache = Cache(small_disk / "cache", [world.instances], world.fetch)
    free = os.statvfs(small_disk).f_bavail
    with pytest.raises(NoCapacity) as caught:
        cache.base(image)
    assert caught.value.code == "disk_full"
    assert str(small_disk) in caught.value.message and "/dev/loop" in caught.value.message
    assert os.statvfs(small_disk).f_bavail >= free - 16
    small = world.image("qcow2", size=1 << 20)
    assert cache.base(small).exists()


@pytest.mark.root
def test_the_power_goes_and_a_published_base_is_whole(tmp_path: Path) -> None:
    """IMG-03: what a disk holds at each moment of a fetch, as a power cut would leave it, is a whole base or none.

    The device is copied while the work goes on (nothing but what was synced is sure to be in the copy), and each
    copy is mounted, which replays its journal.
    """
    world = ImageCacheWorld(tmp_path)
    image, source, raw = source_of(world)
    backing, mounted, again = tmp_path / "disk.img", tmp_path / "mounted", tmp_path / "again"
    mounted.mkdir()
    again.mkdir()
    with open(backing, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(backing)], check=True)
    subprocess.run(["mount", "-o", "loop", str(backing), str(mounted)], check=True)
    copies: list[Path] = []
    try:
        argv = [sys.executable, "-c", BOOT, str(mounted), str(source), image.id]
        (mounted / "instances").mkdir()
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:
            while process.poll() is None:
                copies.append(copied(backing, tmp_path / f"cut{len(copies)}"))
        assert process.returncode == 0
        copies.append(copied(backing, tmp_path / "last"))
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    found = [looked_at(copy, again, raw) for copy in copies]
    assert found[-1] == (True, True)  # a finished disk is durable without any sync of ours
    assert all(base for base, disk in found if disk)
    assert (False, False) in found


def copied(device: Path, target: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", str(device), str(target)], check=True)
    return target


def looked_at(copy: Path, mountpoint: Path, raw: bytes) -> tuple[bool, bool]:
    """Whether a base and a machine's disk are on this copy; fails when one is there and is not right."""
    subprocess.run(["mount", "-o", "loop", str(copy), str(mountpoint)], check=True)
    try:
        bases = list((mountpoint / "cache" / "bases").glob("*"))
        for base in bases:
            record = record_read(base)
            assert record is not None and sha512_of(base / "disk") == record.digest
            flat = copy.with_suffix(".flat")
            qemu_img("convert", "-f", "qcow2", "-O", "raw", str(base / "disk"), str(flat))
            assert hashlib.sha512(flat.read_bytes()).digest() == hashlib.sha512(raw).digest()
            flat.unlink()
        return bool(bases), (mountpoint / "instances" / "disk").exists()
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True)
        copy.unlink()
