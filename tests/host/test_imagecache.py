"""The image cache on a real disk with the real qemu-img."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput, NotFound, Unavailable
from holdfast.base.imagefile import ImageRefused
from holdfast.domain.desired import ImageSource
from tests.host.imagecache_world import ImageCacheWorld, make_raw, qemu_img, qemu_io


@pytest.fixture
def world(tmp_path: Path) -> ImageCacheWorld:
    return ImageCacheWorld(tmp_path)


def in_threads(count: int, act: object) -> list[object]:
    results: list[object] = []

    def work(number: int) -> None:
        try:
            results.append(act(number))  # type: ignore[operator]
        except BaseException as err:
            results.append(err)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("disk_format", ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"])
def test_a_machine_reads_the_bytes_that_were_uploaded(world: ImageCacheWorld, disk_format: str) -> None:
    image = world.image(disk_format)
    disk = world.instances / "a" / "root"
    disk.parent.mkdir()
    world.cache().machine_disk(image, disk, 1)
    raw = (world.root / f"{image.id}.raw").read_bytes()
    assert world.disk_bytes(disk, len(raw)) == raw
    assert '"virtual-size": 1073741824' in qemu_img("info", "--output=json", str(disk))
    assert world.leftovers() == []


def test_a_qcow2_is_kept_as_qcow2_and_a_raw_as_it_is(world: ImageCacheWorld) -> None:
    cache = world.cache()
    raw, qcow2 = world.image("raw"), world.image("qcow2")
    assert cache.base(raw).read_bytes() == world.sources[raw.id].read_bytes()
    assert cache.base(qcow2).read_bytes()[:4] == b"QFI\xfb"
    assert cache.held() == sorted([raw.id, qcow2.id])


def test_twenty_first_boots_fetch_once(world: ImageCacheWorld) -> None:
    """IMG-01."""
    image = world.image("qcow2")
    caches = [world.cache() for _ in range(4)]

    def boot(number: int) -> str:
        caches[number % 4].machine_disk(image, world.instances / f"disk{number}", 1)
        return "booted"

    assert in_threads(20, boot) == ["booted"] * 20
    assert world.fetched == [image.id]
    assert len(world.published()) == 1


def test_a_kernel_is_the_file_itself_and_its_link_outlives_eviction(world: ImageCacheWorld) -> None:
    kernel = world.image("aki")
    cache = world.cache()
    link = world.instances / "kernel"
    assert cache.kernel(kernel).read_bytes() == world.sources[kernel.id].read_bytes()
    cache.kernel(kernel, link)
    assert cache.evict([kernel.id]) == [kernel.id]
    assert link.read_bytes() == world.sources[kernel.id].read_bytes()


def test_wrong_bytes_are_never_published(world: ImageCacheWorld) -> None:
    """IMG-10: the digest."""
    image = world.image()
    wrong = ImageSource(image.id, "0" * 128, image.size_bytes, "raw")
    with pytest.raises(Unavailable) as caught:
        world.cache().base(wrong)
    assert caught.value.code == "image_digest_mismatch"
    assert world.published() == [] and world.leftovers() == []


def test_a_disk_smaller_than_its_image_is_refused(world: ImageCacheWorld) -> None:
    image = world.image("qcow2", size=(1 << 30) + (1 << 20))
    disk = world.instances / "disk"
    with pytest.raises(BadInput, match="smaller than the image"):
        world.cache().machine_disk(image, disk, 1)
    assert list(world.instances.iterdir()) == []
    world.cache().machine_disk(image, disk, 0)
    assert f'"virtual-size": {(1 << 30) + (1 << 20)}' in qemu_img("info", "--output=json", str(disk))


def test_a_base_in_use_is_never_evicted(world: ImageCacheWorld) -> None:
    """IMG-05: whoever made the overlay, and however deep it is below the directory."""
    cache = world.cache()
    used, layered, unused = world.image(), world.image("qcow2"), world.image()
    cache.machine_disk(used, world.instances / "one", 1)
    deep = world.instances / "x" / "y"
    deep.mkdir(parents=True)
    cache.machine_disk(layered, deep / "lower", 1)
    top = str(world.instances / "top")
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(deep / "lower"), "-F", "qcow2", top)
    cache.base(unused)
    assert cache.evict([used.id, layered.id, unused.id]) == [unused.id]
    assert cache.held() == sorted([used.id, layered.id])
    (world.instances / "one").unlink()
    assert cache.evict([used.id]) == [used.id]


def test_a_base_of_two_images_stays_while_one_is_wanted(world: ImageCacheWorld) -> None:
    first = world.image()
    second = world.image(source=world.sources[first.id])
    cache = world.cache()
    assert cache.base(first) == cache.base(second)
    assert world.fetched == [first.id]
    assert cache.evict([first.id]) == []
    assert cache.evict([first.id, second.id]) == sorted([first.id, second.id])
    assert [path for path in (world.root / "cache").rglob("*") if path.is_file()] == []


def test_nothing_is_evicted_when_the_disks_cannot_be_read(world: ImageCacheWorld) -> None:
    image = world.image()
    cache = world.cache()
    cache.base(image)
    world.instances.rename(world.root / "away")
    with pytest.raises(Unavailable):
        cache.evict([image.id])
    assert cache.held() == [image.id]


def test_eviction_and_boot_exclude_each_other(world: ImageCacheWorld) -> None:
    """IMG-07: eviction with age 0 all the time, while machines are made."""
    image = world.image()
    cache = world.cache()
    done = threading.Event()

    def evict_all_the_time(_: int) -> str:
        evicted = 0
        while not done.is_set():
            evicted += len(cache.evict([image.id]))
        return f"evicted {evicted > 0}"

    def boot(number: int) -> str:
        try:
            for round_ in range(50):
                disk = world.instances / f"disk{number}"
                cache.machine_disk(image, disk, 1)
                base = Path(
                    os.path.realpath(qemu_img("info", "-U", str(disk)).split("backing file: ")[1].split("\n")[0])
                )
                assert base.exists(), round_
                disk.unlink()
            return "booted"
        finally:
            if number == 1:
                done.set()

    results = in_threads(3, lambda n: evict_all_the_time(n) if n == 0 else boot(n))
    assert sorted(map(str, results))[:2] == ["booted", "booted"], results
    # two machines that are always being made may keep it from ever being evicted; once they are gone nothing does
    assert "evicted True" in results or cache.evict([image.id]) == [image.id]


def test_a_flipped_bit_is_found_before_the_next_boot(world: ImageCacheWorld) -> None:
    """IMG-08: size and modification time as before."""
    image = world.image("qcow2")
    cache = world.cache()
    base = cache.base(image)
    cache.machine_disk(image, world.instances / "old", 1)
    good, before = base.read_bytes(), base.stat()
    with open(base, "r+b") as file:
        file.seek(len(good) - 1000)
        file.write(bytes([good[-1000] ^ 1]))
    os.utime(base, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.held() == []
    cache.machine_disk(image, world.instances / "new", 1)
    assert base.read_bytes() == good
    assert len(world.fetched) == 2
    assert len(list((world.root / "cache" / "quarantine").iterdir())) == 1
    assert (world.instances / "old").exists()


def test_verification_names_the_disks_on_a_bad_base(world: ImageCacheWorld) -> None:
    image = world.image()
    cache = world.cache()
    base = cache.base(image)
    assert cache.verify(image.id).right
    disk = world.instances / "disk"
    cache.machine_disk(image, disk, 1)
    with open(base, "r+b") as file:
        file.write(b"x")
    verdict = cache.verify(image.id)
    assert (verdict.right, verdict.users) == (False, (disk,))
    assert disk.exists() and cache.held() == []
    with pytest.raises(NotFound):
        cache.verify("no such")


def test_a_touched_base_that_is_right_is_trusted_again(world: ImageCacheWorld) -> None:
    image = world.image()
    cache = world.cache()
    os.utime(cache.base(image))
    assert cache.held() == []
    cache.base(image)
    assert cache.held() == [image.id] and world.fetched == [image.id]


def test_a_kernel_that_other_machines_link_and_let_go_meanwhile_is_not_taken_for_damaged(
    world: ImageCacheWorld,
) -> None:
    """Each link and each removal of one changes the file's change time, also in the middle of a reading."""
    kernel, cache, over = world.image("aki", size=16 << 20), world.cache(), threading.Event()
    base = cache.base(kernel)

    def others() -> None:
        while not over.is_set():
            os.link(base, world.instances / "other")
            (world.instances / "other").unlink()

    beside = threading.Thread(target=others)
    beside.start()
    try:
        for number in range(10):
            cache.kernel(kernel, world.instances / f"kernel{number}")
        assert cache.verify(kernel.id).right
    finally:
        over.set()
        beside.join()
    assert world.fetched == [kernel.id]
    assert list((world.root / "cache" / "quarantine").iterdir()) == []


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(world: ImageCacheWorld) -> None:
    image = world.image()
    started, go_on = threading.Event(), threading.Event()

    def slow(source: ImageSource, path: Path) -> str:
        digest = world.fetch(source, path)
        started.set()
        assert go_on.wait(20)
        return digest

    dead = world.root / "cache" / "tmp" / "0000.raw.1.dead"
    cache = world.cache(slow)
    dead.mkdir()
    (dead / "source").write_bytes(b"half")
    fetching = threading.Thread(target=cache.base, args=(image,))
    fetching.start()
    assert started.wait(20)
    world.cache()  # another process starts: sweeps
    assert not dead.exists() and len(world.leftovers()) == 1
    go_on.set()
    fetching.join()
    assert cache.held() == [image.id] and world.leftovers() == []


def test_a_snapshot_is_one_file_with_what_the_machine_wrote(world: ImageCacheWorld) -> None:
    image = world.image("qcow2")
    cache = world.cache()
    disk, target = world.instances / "disk", world.root / "snapshot"
    cache.machine_disk(image, disk, 1)
    patch = make_raw(world.root / "patch", 1 << 20)
    qemu_io(disk, f"write -s {patch} 2M 1M")
    cache.snapshot(disk, target)
    assert world.disk_bytes(target, 1 << 30) == world.disk_bytes(disk, 1 << 30)
    assert "backing" not in qemu_img("info", str(target))


def test_a_snapshot_of_a_disk_on_a_strange_file_is_refused(world: ImageCacheWorld) -> None:
    secret = make_raw(world.root / "secret", 1 << 20)
    disk = world.instances / "disk"
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(disk))
    with pytest.raises(BadInput, match="no base of this cache"):
        world.cache().snapshot(disk, world.root / "out")
    assert not (world.root / "out").exists()


def test_an_image_of_a_pebibyte_is_refused_before_conversion(world: ImageCacheWorld) -> None:
    """IMG-15."""
    path = world.root / "huge.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", str(path), "1P")
    image = world.image("qcow2", source=path)
    with pytest.raises(ImageRefused, match="the limit is"):
        world.cache().base(image)
    assert world.published() == [] and world.leftovers() == []


def test_gibibytes_of_zeros_cost_no_disk(world: ImageCacheWorld) -> None:
    """IMG-15: the base of a terabyte of nothing is small, and so is its overlay."""
    path = world.root / "zeros.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(path), "1T")
    image = world.image("qcow2", source=path)
    base = world.cache().base(image)
    assert base.stat().st_blocks * 512 < 1 << 20
    assert hashlib.sha512(base.read_bytes()).hexdigest()
