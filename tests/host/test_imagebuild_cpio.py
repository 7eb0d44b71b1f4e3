"""The archive writer, read back by the cpio of GNU and of busybox."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput
from holdfast.host.imagebuild.cpio import Archive


def _sample() -> bytes:
    archive = Archive()
    archive.directory("etc")
    archive.directory("bin")
    archive.directory("bin")
    archive.file("etc/motd", b"odd size")
    archive.file("bin/tool", b"#!/bin/sh\n", 0o755)
    archive.file("etc/empty", b"")
    archive.symlink("bin/alias", "tool")
    return archive.finish()


def _reader(name: str) -> list[str]:
    if shutil.which(name) is None:
        pytest.fail(f"{name} is needed to check the archive")
    return [name, "cpio"] if name == "busybox" else [name]


@pytest.mark.parametrize("name", ["cpio", "busybox"])
def test_another_program_unpacks_what_was_packed(name: str, tmp_path: Path) -> None:
    subprocess.run([*_reader(name), "-i", "-d"], input=_sample(), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "etc/motd").read_bytes() == b"odd size"
    assert (tmp_path / "etc/empty").read_bytes() == b""
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert os.readlink(tmp_path / "bin/alias") == "tool"


def test_equal_input_gives_equal_bytes_in_whole_blocks() -> None:
    assert _sample() == _sample()
    assert len(_sample()) % 512 == 0


def test_a_device_node_is_recorded_without_being_root() -> None:
    archive = Archive()
    archive.directory("dev")
    archive.character_device("dev/console", 5, 1)
    listed = subprocess.run(["cpio", "-tv"], input=archive.finish(), capture_output=True, check=True).stdout.decode()
    assert "5,   1" in listed


@pytest.mark.parametrize("name", ["nowhere/file", "/absolute", ""])
def test_an_entry_without_a_parent_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        Archive().file(name, b"")


def test_an_entry_is_not_added_twice() -> None:
    archive = Archive()
    archive.file("once", b"")
    with pytest.raises(BadInput):
        archive.symlink("once", "elsewhere")
