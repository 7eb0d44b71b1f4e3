"""A kernel that starts without unpacking itself.

A distribution's bzImage is a small program that decompresses the kernel proper; under emulation that costs a
third of the whole boot. QEMU starts the ELF inside directly when it carries the PVH entry note. Whatever
cannot be taken apart is used as it is: a bzImage always boots.
"""

from __future__ import annotations

import lzma
import re
import struct
import zlib

from holdfast.base.errors import BadInput, Unavailable
from holdfast.base.limits import COMPRESS_S
from holdfast.base.run import run

_PVH_NOTE = re.compile(rb"\x04\0\0\0[\x04\x08]\0\0\0\x12\0\0\0Xen\0")  # XEN_ELFNOTE_PHYS32_ENTRY, of 4 or 8 bytes
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_LZ4_BLOCK_BYTES = 8 << 20  # what one block of the legacy frame decompresses to at most
_MIN_MATCH = 4


def kernel_direct(bzimage: bytes) -> bytes | None:
    """Return the ELF kernel inside a bzImage, or None when it cannot be started directly."""
    try:
        elf = _decompressed(_payload(bzimage))
    except (BadInput, Unavailable, lzma.LZMAError, zlib.error, IndexError, struct.error):
        return None
    return elf if elf.startswith(b"\x7fELF") and _PVH_NOTE.search(elf) else None


def _payload(bzimage: bytes) -> bytes:
    """The compressed kernel: its place stands in the boot protocol's header (2.08 and later)."""
    if bzimage[0x202:0x206] != b"HdrS":
        raise BadInput("not a bzImage")
    setup_bytes = ((bzimage[0x1F1] or 4) + 1) * 512
    offset, size = struct.unpack_from("<II", bzimage, 0x248)
    start = setup_bytes + offset
    return bzimage[start : start + size]


def _decompressed(payload: bytes) -> bytes:
    """Every format but gzip's is followed by four bytes that tell the unpacked size."""
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(payload)
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.decompress(payload[:-4])
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return run(["zstd", "-dcq"], stdin=payload[:-4], timeout_s=COMPRESS_S)
    if payload.startswith(_LZ4_LEGACY):
        return _lz4_legacy(payload[:-4])
    raise BadInput("unknown kernel compression")


def _lz4_legacy(frame: bytes) -> bytes:
    out = bytearray()
    at = len(_LZ4_LEGACY)
    while at < len(frame):
        size = int.from_bytes(frame[at : at + 4], "little")
        _lz4_block(frame[at + 4 : at + 4 + size], out)
        at += 4 + size
    return bytes(out)


def _lz4_block(block: bytes, out: bytearray) -> None:
    """Append one block: runs of literals, each followed by a copy of what was written `distance` bytes ago."""
    at, end, floor = 0, len(block), len(out)
    while True:
        token = block[at]
        literals, at = _lz4_length(block, at + 1, token >> 4)
        out += block[at : at + literals]
        at += literals
        if at >= end:
            return
        distance = block[at] | block[at + 1] << 8
        length, at = _lz4_length(block, at + 2, token & 15)
        length += _MIN_MATCH
        start = len(out) - distance
        if distance == 0 or start < floor or len(out) - floor > _LZ4_BLOCK_BYTES:
            raise BadInput("a broken LZ4 block")
        while length > 0:
            piece = out[start : start + length]
            out += piece
            length -= len(piece)


def _lz4_length(block: bytes, at: int, nibble: int) -> tuple[int, int]:
    """A length and where it ended: 15 is continued by bytes until one is not 255."""
    length = nibble
    if nibble == 15:
        while True:
            length += block[at]
            at += 1
            if block[at - 1] != 255:
                break
    return length, at
