"""Images that lie: each is refused at upload with its reason, and nothing of it stays on disk."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.api.image.upload import image_receive
from holdfast.base.errors import BadInput, Conflict
from holdfast.control.store.image import image_fetch
from tests.api.image_cloud import OCTETS, ImageCloud, image_cloud
from tests.conftest import HeldClock

IMAGES = "/image/v2/images"


@pytest.fixture
def world(tmp_path: Path, clock: HeldClock) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path, clock) as cloud:
        yield cloud


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def made(path: Path, *words: str) -> bytes:
    qemu_img("create", "-q", *words[:-1], str(path), words[-1])
    return path.read_bytes()


def filled_qcow2(directory: Path, *options: str) -> bytes:
    raw, path = directory / "filled.raw", directory / "filled.qcow2"
    raw.write_bytes(os.urandom(1 << 20))
    qemu_img("convert", *options, "-f", "raw", "-O", "qcow2", str(raw), str(path))
    return path.read_bytes()


def zoo(kind: str, directory: Path) -> tuple[str, bytes]:
    path = directory / "beast"
    if kind == "backing file":
        (directory / "below").write_bytes(bytes(1 << 20))
        return "qcow2", made(path, "-f", "qcow2", "-b", str(directory / "below"), "-F", "raw", "1M")
    if kind == "backing file without an end":
        return "qcow2", filled_qcow2(directory)[:8] + (1 << 40).to_bytes(8, "big") + filled_qcow2(directory)[16:]
    if kind == "external data file":
        return "qcow2", made(path, "-f", "qcow2", "-o", f"data_file={directory / 'data'}", "1M")
    if kind == "vmdk descriptor":
        return "vmdk", made(path, "-f", "vmdk", "-o", "subformat=monolithicFlat", "1M")
    if kind == "vmdk descriptor of a secret":
        return "vmdk", (
            b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
            b'RW 2048 FLAT "/etc/shadow" 0\n'
        )
    if kind == "pebibyte":
        return "qcow2", made(path, "-f", "qcow2", "-o", "cluster_size=2M", "1P")
    if kind == "qcow2 as raw":
        return "raw", filled_qcow2(directory)
    if kind == "raw as qcow2":
        return "qcow2", os.urandom(1 << 20)
    if kind == "vmdk as raw":
        return "raw", made(path, "-f", "vmdk", "1M")
    if kind == "truncated qcow2":
        return "qcow2", filled_qcow2(directory)[:-200_000]
    if kind == "truncated compressed qcow2":
        return "qcow2", filled_qcow2(directory, "-c")[:-200_000]
    if kind == "header only":
        return "qcow2", filled_qcow2(directory)[:104]
    if kind == "encrypted qcow2":
        data = bytearray(filled_qcow2(directory))
        data[35] = 1
        return "qcow2", bytes(data)
    if kind == "zip of zeros as vmdk":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("disk", bytes(64 << 20))
        return "vmdk", packed.getvalue()
    if kind == "qcow2 and iso at once":
        data = filled_qcow2(directory)
        return "qcow2", data[: 32 << 10] + b"\x01CD001\x01" + data[(32 << 10) + 7 :]
    if kind == "ploop":
        return "ploop", b"WithoutFreeSpace" + bytes(1 << 20)
    return "raw", b""


KINDS = (
    "backing file",
    "backing file without an end",
    "external data file",
    "vmdk descriptor",
    "vmdk descriptor of a secret",
    "pebibyte",
    "qcow2 as raw",
    "raw as qcow2",
    "vmdk as raw",
    "truncated qcow2",
    "truncated compressed qcow2",
    "header only",
    "encrypted qcow2",
    "zip of zeros as vmdk",
    "qcow2 and iso at once",
    "ploop",
    "nothing",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lying_image_is_refused_with_the_reason_and_leaves_nothing(
    world: ImageCloud, tmp_path: Path, kind: str
) -> None:
    claimed, data = zoo(kind, tmp_path)
    image = world.create(world.blue, disk_format=claimed)
    answer = world.upload(world.blue, image["id"], data)
    assert answer.status == 400, answer.body
    shown = world.show(world.blue, image["id"])
    assert shown["status"] == "killed"
    assert shown["holdfast_reason"] and shown["holdfast_reason"] in answer.json["error"]["message"]
    assert shown["size"] is None and shown["checksum"] is None
    assert world.files() == []
    assert world.upload(world.blue, image["id"], os.urandom(600)).status == 409
    assert world.blue.delete(f"{IMAGES}/{image['id']}").status == 204


@pytest.mark.parametrize("claimed", ["qcow2", "vmdk", "vdi", "vhd", "vhdx"])
def test_an_honest_image_of_each_format_is_active_with_its_virtual_size(
    world: ImageCloud, tmp_path: Path, claimed: str
) -> None:
    data = made(tmp_path / "disk", "-f", {"vhd": "vpc"}.get(claimed, claimed), "16M")
    image = world.active(world.blue, data, disk_format=claimed)
    shown = world.show(world.blue, image["id"])
    assert (shown["status"], shown["virtual_size"] // (1 << 20)) == ("active", 16)


def test_a_client_that_goes_away_leaves_the_image_queued(world: ImageCloud) -> None:
    image = world.create(world.blue)
    stored = world.services.store.read(lambda tx: image_fetch(tx, image["id"]))
    assert stored is not None

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 70_000
        assert world.show_status(image["id"]) == "saving" and len(world.files()) == 1
        raise BadInput("the client went away before the end of its request")

    with pytest.raises(BadInput):
        asyncio.run(image_receive(world.services, stored, broken(), None))
    assert world.show(world.blue, image["id"])["status"] == "queued"
    assert world.files() == []
    assert world.upload(world.blue, image["id"], b"y" * 600).status == 204


def test_fewer_bytes_than_announced_are_refused(world: ImageCloud) -> None:
    image = world.create(world.blue)
    stored = world.services.store.read(lambda tx: image_fetch(tx, image["id"]))
    assert stored is not None

    async def short() -> AsyncIterator[bytes]:
        yield b"x" * 600

    with pytest.raises(BadInput, match="700 bytes were announced and 600 came"):
        asyncio.run(image_receive(world.services, stored, short(), 700))
    assert world.show(world.blue, image["id"])["status"] == "queued" and world.files() == []


def test_a_second_upload_waits_for_nobody_and_harms_nobody(world: ImageCloud) -> None:
    image = world.create(world.blue)
    stored = world.services.store.read(lambda tx: image_fetch(tx, image["id"]))
    assert stored is not None

    async def first() -> AsyncIterator[bytes]:
        yield b"x" * 600
        saving = world.services.store.read(lambda tx: image_fetch(tx, image["id"]))
        assert saving is not None

        async def second() -> AsyncIterator[bytes]:
            yield b"y" * 600

        with pytest.raises(Conflict):
            await image_receive(world.services, saving, second(), None)

    asyncio.run(image_receive(world.services, stored, first(), None))
    assert world.blue.get(f"{IMAGES}/{image['id']}/file").body == b"x" * 600
    assert len(world.files()) == 1


def test_an_image_deleted_during_its_upload_leaves_nothing(world: ImageCloud) -> None:
    image = world.create(world.blue)
    stored = world.services.store.read(lambda tx: image_fetch(tx, image["id"]))
    assert stored is not None

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 600
        assert await asyncio.to_thread(lambda: world.blue.delete(f"{IMAGES}/{image['id']}").status) == 204

    with pytest.raises(Exception, match="deleted while"):
        asyncio.run(image_receive(world.services, stored, chunks(), None))
    assert world.files() == []


def test_a_stuck_upload_of_a_dead_process_is_taken_over(world: ImageCloud) -> None:
    from holdfast.control.operations.image_file import Upload
    from holdfast.control.store.image import image_move

    image = world.create(world.blue)
    dead = Upload(world.services.images, image["id"])
    world.services.store.write(lambda tx: image_move(tx, image["id"], "upload", dead.name))
    assert world.upload(world.blue, image["id"], b"z" * 600).status == 409
    dead.close()  # as the kernel does for the killed
    assert world.upload(world.blue, image["id"], b"z" * 600).status == 204
    assert len(world.files()) == 1


def test_the_path_of_a_file_cannot_be_chosen(world: ImageCloud) -> None:
    for name in ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "x" * 5000):
        assert world.blue.get(f"{IMAGES}/{name}/file").status in (400, 404)
        assert world.blue.put(f"{IMAGES}/{name}/file", b"x", headers=OCTETS).status in (400, 404)
    assert world.files() == []
