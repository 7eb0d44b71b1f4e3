"""Taking a kernel and its modules apart."""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib
from pathlib import Path

import pytest

from holdfast.base.errors import NotFound
from holdfast.host.imagebuild.kernel import kernel_direct
from holdfast.host.imagebuild.kernelmodules import modules_alias, modules_dep, modules_gather

ELF = b"\x7fELF" + b"abcabcabcabcabcabcabc" * 20 + struct.pack("<III", 4, 8, 18) + b"Xen\0" + bytes(8)


def _bzimage(payload: bytes) -> bytes:
    """The boot protocol's header around a payload: one setup sector beside the first, the payload 16 bytes in."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload + b"what follows"


def _lz4(data: bytes) -> bytes:
    """A legacy frame of one block: the first seven bytes, one overlapping copy, the rest as literals."""
    copies = len(b"abc" * 139)
    block = bytes([7 << 4 | 15]) + data[:7] + struct.pack("<H", 3)
    block += bytes([255] * ((copies - 19) // 255)) + bytes([(copies - 19) % 255])
    rest = data[7 + copies :]
    block += bytes([15 << 4]) + bytes([len(rest) - 15]) + rest
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


SIZE = struct.pack("<I", len(ELF))
PAYLOADS = {
    "lz4": _lz4(ELF) + SIZE,
    "xz": lzma.compress(ELF) + SIZE,
    "gzip": gzip.compress(ELF),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_kernel_proper_is_found_in_every_packing(name: str) -> None:
    assert kernel_direct(_bzimage(PAYLOADS[name])) == ELF


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"no kernel at all" * 100,
        _bzimage(b"unknown packing"),
        _bzimage(gzip.compress(b"\x7fELF without the entry note")),
        _bzimage(gzip.compress(b"no elf" + ELF)),
        _bzimage(lzma.compress(ELF)[:-20] + SIZE),
        _bzimage(b"\x02\x21\x4c\x18" + struct.pack("<I", 5) + b"\x0f" + struct.pack("<H", 9) + b"\0\0" + SIZE),
        _bzimage(b"\x1f\x8b" + zlib.compress(ELF)),
    ],
)
def test_what_cannot_start_directly_is_left_as_it_is(image: bytes) -> None:
    assert kernel_direct(image) is None


def _module(depends: str, alias: str = "", signature: bytes = b"") -> bytes:
    body = b"\x7fELF\0" + f"depends={depends}\0alias={alias}\0name=x\0".encode()
    if not signature:
        return body
    return body + signature + bytes(8) + struct.pack(">I", len(signature)) + b"~Module signature appended~\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "kernel/net").mkdir(parents=True)
    (tmp_path / "kernel/net/card-x.ko").write_bytes(_module("middle,low", "virtio:d1v*", b"sig" * 50))
    (tmp_path / "kernel/middle.ko.xz").write_bytes(lzma.compress(_module("low")))
    (tmp_path / "kernel/low.ko").write_bytes(_module("inside"))
    (tmp_path / "modules.builtin").write_text("kernel/lib/inside.ko\n")
    return tmp_path


def test_a_module_brings_what_it_needs_but_not_what_is_built_in(tree: Path) -> None:
    modules = modules_gather(tree, ["card_x", "inside"])
    assert set(modules) == {"card_x", "middle", "low"}
    assert b"signature" not in modules["card_x"].data
    assert modules["card_x"].data == _module("middle,low", "virtio:d1v*")


def test_dependencies_are_listed_so_that_the_deepest_is_loaded_first(tree: Path) -> None:
    dep = modules_dep(modules_gather(tree, ["card_x"])).decode()
    assert "card_x.ko: middle.ko low.ko\n" in dep
    assert "low.ko:\n" in dep


def test_aliases_lead_to_their_module(tree: Path) -> None:
    assert b"alias virtio:d1v* card_x\n" in modules_alias(modules_gather(tree, ["card_x"]))


def test_a_missing_module_is_named(tree: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        modules_gather(tree, ["absent"])
