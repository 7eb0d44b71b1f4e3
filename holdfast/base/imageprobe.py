"""Looks at the header of one image file, in a process of its own that can hurt nobody.

Run as a script, `python -I imageprobe.py PATH CLAIMED VIRTUAL_BYTES CPU_S`, it prints one JSON object: either
`{"format": ..., "virtual": ...}` or `{"refused": reason}`. It imports nothing of ours: the file is hostile, and
whoever takes this process over finds no settings, no store, no right to write and no way to start a process.
The invariant: limits are set and rights are dropped before the first byte of the image is read.
"""

from __future__ import annotations

import array
import json
import os
import resource
import struct
import sys
from typing import IO, BinaryIO, cast

from oslo_utils.imageutils import format_inspector

HEAD_BYTES = 16 << 20  # every header that the formats put near the start; a VHDX keeps its size at 2 to 4 MiB
TAIL_BYTES = 64 << 10  # the footer of a stream-optimised VMDK
CHUNK_BYTES = 64 << 10
MEMORY_BYTES = 512 << 20  # address space; the interpreter and the library take 60 MiB
NOBODY = 65_534
PLAIN = {"raw", "gpt", "iso"}  # bytes that are the disk itself; qemu reads them as raw, whatever is in them
ACCEPTED = {
    "raw": PLAIN,
    "ami": PLAIN,
    "aki": PLAIN,
    "ari": PLAIN,
    "iso": {"iso"},
    "qcow2": {"qcow2"},
    "vmdk": {"vmdk"},
    "vhd": {"vhd"},
    "vhdx": {"vhdx"},
    "vdi": {"vdi"},
}
OFFSET = 0x00FF_FFFF_FFFF_FE00  # bits 9 to 55 of a qcow2 table entry
COMPRESSED = 1 << 62


class Refused(Exception):
    """The image must not be used; the text says why, for its owner."""


def confine(cpu_s: int) -> None:
    """Give up every right that looking at one open file does not need."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def inspect(file: BinaryIO, claimed: str, virtual_max: int) -> dict[str, object]:
    """Return what the file is; raises Refused."""
    if claimed not in ACCEPTED:
        raise Refused(f"this cloud cannot check {claimed} images; convert it to qcow2 or raw first")
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise Refused("the image is empty")
    found = _detect(file, size)
    _match(found, claimed)
    name = claimed if claimed in ACCEPTED and claimed in found else next(iter(found))
    virtual = size if found <= PLAIN else _checked(file, size, name)
    if virtual > virtual_max:
        raise Refused(f"the image claims a disk of {virtual} bytes; the limit is {virtual_max}")
    return {"format": "raw" if found <= PLAIN else name, "virtual": virtual}


def _detect(file: BinaryIO, size: int) -> set[str]:
    """The names of every format whose signature is in the file."""
    wrapper = format_inspector.InspectWrapper(cast(IO[bytes], _Parts(file, size)))
    while wrapper.read(CHUNK_BYTES):
        continue
    wrapper.close()
    return {str(match) for match in wrapper.formats or []}


def _match(found: set[str], claimed: str) -> None:
    """One format, and the claimed one: a file that is two things at once is an attack or an accident."""
    words = " and ".join(sorted(found)) or "nothing known"
    special = found - PLAIN
    if len(special) > 1 or (special and found & PLAIN):
        raise Refused(f"the content is of several formats at once: {words}")
    if not found & ACCEPTED[claimed] or special - ACCEPTED[claimed]:
        raise Refused(f"the content is {words}, not {claimed} as claimed")


def _checked(file: BinaryIO, size: int, name: str) -> int:
    """The virtual size, after every safety check of the format."""
    kind = format_inspector.ALL_FORMATS[name]
    inspector = kind()
    parts = _Parts(file, size)
    try:
        while chunk := parts.read(CHUNK_BYTES):
            inspector.eat_chunk(chunk)
        inspector.finish()
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as err:
        raise Refused("; ".join(str(failure) for failure in err.failures.values())) from err
    except format_inspector.ImageFormatError as err:
        raise Refused(f"the {name} header cannot be read: {err}") from err
    if name == "qcow2":
        _qcow2_whole(file, size)
    if inspector.virtual_size <= 0:
        raise Refused(f"the {name} header names no size")
    return inspector.virtual_size


def _qcow2_whole(file: BinaryIO, size: int) -> None:
    """Refuse a qcow2 whose tables or clusters lie beyond the end of the file: qemu would read zeros there."""
    header = _at(file, 0, 104)
    bits, virtual, crypt, entries, l1_offset = struct.unpack(">IQIIQ", header[20:48])
    if struct.unpack(">I", header[4:8])[0] >= 3 and struct.unpack(">Q", header[72:80])[0] & 2:
        raise Refused("the qcow2 is marked corrupt")
    if crypt:
        raise Refused("the qcow2 is encrypted")
    if not 9 <= bits <= 21:
        raise Refused("the qcow2 has an impossible cluster size")
    cluster = 1 << bits
    needed = -(-virtual // (cluster * (cluster // 8)))
    if entries < needed or entries > (32 << 20) // 8 or l1_offset + entries * 8 > size:
        raise Refused("the qcow2 is truncated: its first table is not whole")
    for l2_offset in _entries(file, l1_offset, entries):
        l2_offset &= OFFSET
        if l2_offset == 0:
            continue
        if l2_offset + cluster > size:
            raise Refused("the qcow2 is truncated: a table lies beyond its end")
        _clusters_whole(_entries(file, l2_offset, cluster // 8), cluster, bits, size)


def _clusters_whole(entries: array.array[int], cluster: int, bits: int, size: int) -> None:
    plain = [entry & OFFSET for entry in entries if not entry & COMPRESSED]
    packed = [entry for entry in entries if entry & COMPRESSED]
    shift = 62 - (bits - 8)
    end = max(plain, default=0)
    if end and end + cluster > size + cluster - 1:
        raise Refused("the qcow2 is truncated: data lies beyond its end")
    for entry in packed:
        start = entry & ((1 << shift) - 1)
        sectors = (entry & (COMPRESSED - 1)) >> shift
        if (start & ~511) + (sectors + 1) * 512 > size + 511:
            raise Refused("the qcow2 is truncated: data lies beyond its end")


def _entries(file: BinaryIO, offset: int, count: int) -> array.array[int]:
    table = array.array("Q", _at(file, offset, count * 8))
    if sys.byteorder == "little":
        table.byteswap()
    return table


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    data = os.pread(file.fileno(), size, offset)
    if len(data) != size:
        raise Refused("the image is truncated")
    return data


class _Parts:
    """The start and the end of a file, as a stream: headers are there, and a large middle is not read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._fd, self._size, self._at = file.fileno(), size, 0

    def read(self, count: int) -> bytes:
        if HEAD_BYTES <= self._at < self._size - TAIL_BYTES:
            self._at = self._size - TAIL_BYTES
        data = os.pread(self._fd, count, self._at)
        self._at += len(data)
        return data


def main(path: str, claimed: str, virtual_max: int, cpu_s: int) -> None:
    """Print the verdict on one file."""
    with open(path, "rb") as file:
        confine(cpu_s)
        try:
            verdict = inspect(file, claimed, virtual_max)
        except Refused as err:
            verdict = {"refused": str(err)}
        except MemoryError:
            verdict = {"refused": "the image's header needs more memory than a header should"}
        sys.stdout.write(json.dumps(verdict))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
