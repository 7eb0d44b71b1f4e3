"""Every run of qemu-img: formats always named, memory and time bounded, ended with us.

Nothing here may be given a file that has not passed base/imagefile, or that we did not write ourselves.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from holdfast.base.errors import Unavailable
from holdfast.base.limits import IMAGE_CONVERT_S, QEMU_IMG_BYTES, QEMU_IMG_S
from holdfast.base.run import CommandFailed, run

WORDS = {"vhd": "vpc", "aki": "raw", "ari": "raw", "ami": "raw", "iso": "raw"}  # qemu's names for the API's
MAGIC = b"QFI\xfb"
BACKING_NAME_BYTES = 1_023  # the format's own limit


def convert(source: Path, source_format: str, target: Path) -> None:
    """Write `source` as a plain qcow2 of our own: no snapshots, no compression, nothing but its data."""
    _qemu_img("convert", "-f", _word(source_format), "-O", "qcow2", str(source), str(target))


def convert_raw(source: Path, source_format: str, target: Path) -> None:
    """Write a base as a raw file, holes where it holds nothing."""
    _qemu_img("convert", "-f", _word(source_format), "-O", "raw", str(source), str(target))


def flatten(disk: Path, target: Path) -> None:
    """Write a machine's disk with everything below it as one qcow2; it may be in use (-U)."""
    _qemu_img("convert", "-U", "-f", "qcow2", "-O", "qcow2", str(disk), str(target))


def require_equal(left: Path, left_format: str, right: Path) -> None:
    """Raise Unavailable unless both hold the same disk; the right one is qcow2."""
    try:
        _qemu_img("compare", "-f", _word(left_format), "-F", "qcow2", str(left), str(right))
    except CommandFailed as err:
        if err.status != 1:
            raise
        raise Unavailable("the converted image differs from its source", code="image_differs", detail=str(err)) from err


def create_overlay(path: Path, base: Path, base_format: str, size_bytes: int) -> None:
    """Make a copy-on-write disk on a base."""
    options = ("-q", "-f", "qcow2", "-b", str(base), "-F", base_format)
    _qemu_img("create", *options, str(path), str(size_bytes), timeout_s=QEMU_IMG_S)


def _word(name: str) -> str:
    return WORDS.get(name, name)


def _qemu_img(*words: str, timeout_s: int = IMAGE_CONVERT_S) -> bytes:
    limits = ("prlimit", f"--as={QEMU_IMG_BYTES}", f"--cpu={timeout_s}", "--core=0")
    return run(("setpriv", "--pdeathsig", "KILL", *limits, "qemu-img", *words), timeout_s=timeout_s)


def backing_of(path: Path) -> Path | None:
    """The file that a qcow2 stands on, or None; only the header is read, and nothing in it is opened.

    Raises OSError where the file cannot be read: that is not the same as none.
    """
    with open(path, "rb", buffering=0) as file:
        header = os.pread(file.fileno(), 20, 0)
        if len(header) < 20 or header[:4] != MAGIC:
            return None
        _, offset, size = struct.unpack(">IQI", header[4:20])
        if offset == 0 or not 0 < size <= BACKING_NAME_BYTES or offset > 1 << 21:
            return None
        name = os.pread(file.fileno(), size, offset)
    return Path(os.path.realpath(path.parent / os.fsdecode(name))) if b"\0" not in name else None


def virtual_bytes_of(path: Path) -> int:
    """The size of the disk in a qcow2 that we wrote."""
    with open(path, "rb", buffering=0) as file:
        return int(struct.unpack(">Q", os.pread(file.fileno(), 8, 24))[0])


def grow(path: Path, size_bytes: int) -> None:
    """Make a stopped machine's disk at least this large; a disk is never made smaller."""
    if virtual_bytes_of(path) < size_bytes:
        _qemu_img("resize", "-q", "-f", "qcow2", str(path), str(size_bytes), timeout_s=QEMU_IMG_S)
