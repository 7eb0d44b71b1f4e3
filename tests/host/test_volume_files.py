"""The files of volumes on a host's disk: whole or not there, never made twice, nothing of the last one in the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from holdfast.base.errors import Conflict, HoldfastError, Unavailable
from holdfast.base.ids import new_id
from holdfast.domain.desired import ImageSource, VolumeFile
from holdfast.host.agent.board import Said
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.volumes import VolumeKeeping
from holdfast.host.volumes.files import GIB, VolumeFiles

IMAGE = ImageSource(new_id(), "0" * 128, 1, "raw")


def wanted(**changes: object) -> VolumeFile:
    return msgspec.structs.replace(VolumeFile(new_id(), 1, True, False, 1, None, ""), **changes)


def write_image(image: ImageSource, path: Path) -> None:
    path.write_bytes(b"image")


@pytest.fixture
def files(tmp_path: Path) -> VolumeFiles:
    return VolumeFiles(tmp_path / "volumes", write_image)


def test_a_new_file_is_zeros_without_blocks(files: VolumeFiles) -> None:
    volume = wanted(size_gib=2)
    files.make(volume)
    files.make(volume)
    status = files.path(volume.id).stat()
    assert (status.st_size, status.st_blocks, status.st_mode & 0o777) == (2 * GIB, 0, 0o600)
    assert files.sizes() == {volume.id: 2 * GIB}


def test_a_file_grows_keeps_its_bytes_and_is_never_cut(files: VolumeFiles) -> None:
    volume = wanted()
    files.make(volume)
    with files.path(volume.id).open("r+b") as disk:
        disk.write(b"kept")
    files.make(msgspec.structs.replace(volume, size_gib=3, made=True))
    files.make(msgspec.structs.replace(volume, size_gib=1, made=True))
    assert files.path(volume.id).stat().st_size == 3 * GIB
    assert _head(files, volume.id) == b"kept"


def _head(files: VolumeFiles, file_id: str) -> bytes:
    with files.path(file_id).open("rb") as disk:
        return disk.read(4)


def test_a_copy_is_whole_stays_sparse_and_leaves_its_source_alone(files: VolumeFiles) -> None:
    source = wanted()
    files.make(source)
    with files.path(source.id).open("r+b") as disk:
        disk.seek(GIB - 4)
        disk.write(b"last")
    copy = wanted(copy_of=source.id, size_gib=2)
    files.make(copy)
    with files.path(copy.id).open("rb") as disk:
        disk.seek(GIB - 4)
        assert disk.read(8) == b"last\0\0\0\0"
    assert files.path(copy.id).stat().st_blocks * 512 < 1 << 20
    files.remove(source.id)
    assert set(files.sizes()) == {copy.id}


def test_an_image_becomes_a_volume_as_large_as_asked(files: VolumeFiles) -> None:
    volume = wanted(image=IMAGE, size_gib=2)
    files.make(volume)
    assert _head(files, volume.id) == b"imag"
    assert files.path(volume.id).stat().st_size == 2 * GIB


def test_a_file_that_was_made_and_is_missing_is_not_made_again(files: VolumeFiles) -> None:
    with pytest.raises(Conflict) as refused:
        files.make(wanted(made=True))
    assert (refused.value.code, files.sizes()) == ("volume_lost", {})


def test_a_source_that_is_not_there_yet_may_come(files: VolumeFiles) -> None:
    with pytest.raises(Unavailable):
        files.make(wanted(copy_of=new_id()))
    assert files.sizes() == {}


def test_a_failure_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    def full(image: ImageSource, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    files = VolumeFiles(tmp_path / "volumes", full)
    with pytest.raises(HoldfastError):
        files.make(wanted(image=IMAGE))
    assert list((tmp_path / "volumes").iterdir()) == []


def test_a_copy_that_was_killed_is_made_afresh_by_the_next(tmp_path: Path) -> None:
    home = tmp_path / "volumes"
    volume = wanted(image=IMAGE)
    program = f"""
import os, time
from pathlib import Path
from holdfast.domain.desired import ImageSource, VolumeFile
from holdfast.host.volumes.files import VolumeFiles
def slow(image, path):
    path.write_bytes(b"half")
    print("begun", flush=True)
    time.sleep(60)
VolumeFiles(Path({str(home)!r}), slow).make(
    VolumeFile({volume.id!r}, 1, True, False, 1, ImageSource({IMAGE.id!r}, "", 1, "raw"), ""))
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert len(list(home.iterdir())) == 1
    files = VolumeFiles(home, write_image)
    assert (list(home.iterdir()), files.sizes()) == ([], {})
    files.make(volume)
    assert _head(files, volume.id) == b"imag"


def test_removing_twice_is_removing_once_and_strangers_are_left_alone(files: VolumeFiles, tmp_path: Path) -> None:
    volume = wanted()
    files.make(volume)
    other = tmp_path / "volumes" / "notes.txt"
    other.write_text("mine")
    files.remove(volume.id)
    files.remove(volume.id)
    assert (files.sizes(), other.read_text()) == ({}, "mine")


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "x" * 36])
def test_a_name_that_is_no_id_is_no_path(files: VolumeFiles, name: str) -> None:
    with pytest.raises(Conflict):
        files.path(name)


def test_a_link_in_the_directory_is_no_volume(files: VolumeFiles, tmp_path: Path) -> None:
    (tmp_path / "volumes" / f"{new_id()}.raw").symlink_to("/etc/passwd")
    assert files.sizes() == {}


@pytest.fixture
def keeping(files: VolumeFiles) -> VolumeKeeping:
    return VolumeKeeping(files, Desk(new_id()), Said(lambda word: word.id))


def test_what_is_lost_is_reported_for_good_and_what_may_come_as_such(keeping: VolumeKeeping) -> None:
    lost, early = keeping.reconcile(wanted(made=True)), keeping.reconcile(wanted(copy_of=new_id()))
    assert (lost.phase, lost.code, lost.retryable) == ("failed", "volume_lost", False)
    assert (early.phase, early.code, early.retryable) == ("failed", "source_missing", True)


def test_what_was_made_and_removed_is_reported_with_its_generation(keeping: VolumeKeeping, files: VolumeFiles) -> None:
    volume = wanted(generation=4)
    made = keeping.reconcile(volume)
    assert (made.phase, made.generation, made.size_gib) == ("made", 4, 1)
    gone = keeping.reconcile(msgspec.structs.replace(volume, present=False, generation=5))
    assert (gone.phase, gone.generation, files.sizes()) == ("absent", 5, {})


def test_what_was_made_here_and_is_deleted_elsewhere_is_not_made_again(
    keeping: VolumeKeeping, files: VolumeFiles
) -> None:
    volume = wanted()  # a record from before it was made: in a shared directory it is another host's by now
    keeping.said.say(keeping.reconcile(volume))
    files.remove(volume.id)
    assert keeping.reconcile(volume).code == "volume_lost"
    assert files.sizes() == {}
