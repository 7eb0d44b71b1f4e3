"""The tiny image is built once, whole, from packages that are fetched once."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

import pytest

from holdfast.base.errors import NotFound, Unavailable
from holdfast.host.imagebuild.packages import parts_fetch, parts_of_machine
from holdfast.host.imagebuild.publish import directory_publish
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny
from tests.stories.bareguest import package_cache


@pytest.fixture(scope="session")
def cache() -> Path:
    path = package_cache()
    parts_fetch(path, print)
    return path


def _image_is_whole(image: TinyImage) -> bool:
    listed = subprocess.run(["cpio", "-t"], input=gzip.decompress(image.ramdisk.read_bytes()), capture_output=True)
    names = set(listed.stdout.decode().split())
    wanted = {"init", "guest/boot", "bin/busybox", "bin/dropbear", "sbin/init", "lib/libc.so.6", "etc/passwd"}
    return wanted <= names and image.kernel.stat().st_size > 1 << 20


def test_an_image_is_built_once_and_found_the_second_time(cache: Path, tmp_path: Path) -> None:
    words: list[str] = []
    image = build_tiny(tmp_path / "images", cache, words.append)
    before = image.ramdisk.stat().st_ino, image.ramdisk.stat().st_mtime_ns
    assert _image_is_whole(image) and words

    words.clear()
    assert build_tiny(tmp_path / "images", Path("/nonexistent"), words.append) == image
    assert (image.ramdisk.stat().st_ino, image.ramdisk.stat().st_mtime_ns) == before and not words


def test_the_disk_is_an_ext4_that_needs_no_root_to_make(cache: Path, tmp_path: Path) -> None:
    image = build_tiny(tmp_path, cache, print)
    assert image.disk.stat().st_size < 4 << 20
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", image.disk, raw], check=True)
    assert raw.read_bytes()[1024 + 0x38 : 1024 + 0x3A] == b"\x53\xef"
    assert b"holdfast" in raw.read_bytes()[1024 : 1024 + 256]


def test_two_builds_at_once_make_one_image(cache: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        images = pool.starmap(build_tiny, [(tmp_path, cache, print)] * 3)
    assert images[0] == images[1] == images[2]
    assert _image_is_whole(images[0])
    assert not list(tmp_path.glob("*.partial"))


def _killed_while_filling(target: Path) -> None:
    def fill(partial: Path) -> None:
        (partial / "kernel").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    directory_publish(target, fill)


def test_a_killed_build_never_looks_finished_and_is_no_obstacle(tmp_path: Path) -> None:
    target = tmp_path / "image"
    doomed = multiprocessing.get_context("spawn").Process(target=_killed_while_filling, args=(target,))
    doomed.start()
    doomed.join(30)
    assert doomed.exitcode == -signal.SIGKILL
    assert not target.exists()

    directory_publish(target, lambda partial: (partial / "ramdisk").touch())
    assert [path.name for path in target.iterdir()] == ["ramdisk"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fill(partial: Path) -> None:
        (partial / "kernel").touch()
        raise Unavailable("no room")

    with pytest.raises(Unavailable):
        directory_publish(tmp_path / "image", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["image.lock"]


def test_without_packages_the_machines_own_kernel_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words: list[str] = []
    try:
        parts = parts_fetch(tmp_path / "cache", words.append)
    except NotFound as err:
        assert "/boot" in err.message or "is in /" in err.message
    else:
        assert parts.kernel.parent == Path("/boot")
    assert "trying this machine's own kernel" in words[-1]


def test_the_machines_own_parts_are_its_newest_kernel_and_what_is_installed(cache: Path, tmp_path: Path) -> None:
    """A machine is laid out from the packages, as if they were installed in `tmp_path`."""
    subprocess.run(["cp", "-a", f"{cache}/packages/tree/.", tmp_path], check=True)
    old = tmp_path / "boot/vmlinuz-1.0-old"
    old.touch()
    os.utime(old, (0, 0))
    parts = parts_of_machine(tmp_path)
    assert parts.modules.is_dir() and parts.modules.name == parts.kernel.name.removeprefix("vmlinuz-") != "1.0-old"
    assert parts.busybox == tmp_path / "bin/busybox"
    assert any(library.name.startswith("libc.so") for library in parts.libraries)
