"""A config drive: the OpenStack tree of documents as an ISO 9660 image labelled `config-2`.

Written here because it is one page of records and saves a package on every host. Two directory trees lead to
the same file extents: Joliet with the real names, and plain ISO 9660 in capitals, which Linux shows in small
letters. The image is a pure function of its files: equal files, equal bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.domain.desired import Metadata
from holdfast.host.network.metadata.documents import Plugged, openstack_files

LABEL = "config-2"
SECTOR = 2048  # bytes
_FIRST = 19  # sector after the primary, the Joliet and the last volume descriptor
_EPOCH = bytes((70, 1, 1, 0, 0, 0, 0))  # no date: the image must depend on its files alone
_NO_DATE = b"0" * 16 + b"\0"


def write_config_drive(path: Path, metadata: Metadata, plugged: Sequence[Plugged]) -> None:
    """Write the drive whole or not at all; readable by its owner only, because user data may hold secrets."""
    files = {f"openstack/latest/{name}": data for name, data in openstack_files(metadata, plugged).items()}
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as image:
        image.write(iso_image(files, LABEL))
    os.replace(fresh, path)


def iso_image(files: Mapping[str, bytes], label: str) -> bytes:
    """The image of these files (paths without a leading slash) under a label of at most 16 characters."""
    plain = Tree(files, False, _FIRST)
    joliet = Tree(files, True, plain.end)
    trees, sector = (plain, joliet), joliet.end
    extents: dict[str, tuple[int, int]] = {}
    body = []
    for name, data in sorted(files.items()):
        extents[name] = (sector, len(data))
        body.append(_padded(data))
        sector += len(body[-1]) // SECTOR
    parts = [bytes(16 * SECTOR), *(tree.descriptor(label, sector) for tree in trees)]
    parts.append(_padded(b"\xffCD001\x01"))
    parts.extend(tree.records(extents) for tree in trees)
    return b"".join([*parts, *body])


class Tree:
    """One of the two directory trees: its path tables and directories from a first sector up to `end`."""

    def __init__(self, files: Mapping[str, bytes], joliet: bool, first: int) -> None:
        self._files = files
        self._joliet = joliet
        folders = {"/".join(name.split("/")[:depth]) for name in files for depth in range(name.count("/") + 1)}
        self._folders = sorted({"", *folders}, key=lambda folder: (folder.count("/") + bool(folder), folder))
        self._tables = (first, first + 1)  # one sector each: far more than these few folders need
        self._extents: dict[str, tuple[int, int]] = {}
        self.end = first + 2
        for folder in self._folders:
            size = len(self._folder(folder, dict.fromkeys([*files, *self._folders], (0, 0))))
            self._extents[folder] = (self.end, size)
            self.end += size // SECTOR

    def descriptor(self, label: str, sectors: int) -> bytes:
        """The volume descriptor that leads to this tree."""
        head = bytes((2 if self._joliet else 1,)) + b"CD001\x01\x00" + self._text("", 32) + self._text(label, 32)
        size = len(self._table(">"))
        head += bytes(8) + _both4(sectors) + (b"%/E" if self._joliet else b"").ljust(32, b"\0")
        head += _both2(1) + _both2(1) + _both2(SECTOR) + _both4(size)
        head += struct.pack("<II", self._tables[0], 0) + struct.pack(">II", self._tables[1], 0)
        head += _record(b"\0", *self._extents[""], True)
        head += b"".join(self._text("", size) for size in (128, 128, 128, 128, 37, 37, 37))
        return _padded(head + _NO_DATE * 4 + b"\x01")

    def records(self, file_extents: Mapping[str, tuple[int, int]]) -> bytes:
        """The path tables and all directories, in the order that `place` gave."""
        places = {**file_extents, **self._extents}
        return b"".join(
            [_padded(self._table("<")), _padded(self._table(">")), *(self._folder(f, places) for f in self._folders)]
        )

    def _folder(self, folder: str, places: Mapping[str, tuple[int, int]]) -> bytes:
        above = folder.rpartition("/")[0]
        lines = [_record(b"\0", *places[folder], True), _record(b"\1", *places[above], True)]
        children = [n for n in [*self._folders, *self._files] if n and n.rpartition("/")[0] == folder]
        for child in sorted(children, key=self._name):
            lines += [_record(self._name(child), *places[child], child not in self._files)]
        sectors = [b""]
        for line in lines:
            if len(sectors[-1]) + len(line) > SECTOR:  # a record never crosses a sector
                sectors.append(b"")
            sectors[-1] += line
        return b"".join(map(_padded, sectors))

    def _table(self, order: str) -> bytes:
        lines = []
        for folder in self._folders:
            name = self._name(folder) if folder else b"\0"
            above = self._folders.index(folder.rpartition("/")[0]) + 1
            lines.append(struct.pack(f"{order}BBIH", len(name), 0, self._extents[folder][0], above) + _even(name))
        return b"".join(lines)

    def _text(self, text: str, size: int) -> bytes:
        """A field filled with spaces."""
        if self._joliet:
            return text.ljust(size // 2).encode("utf-16-be").ljust(size, b"\0")
        return text.ljust(size).encode("ascii")

    def _name(self, path: str) -> bytes:
        name = path.rpartition("/")[2]
        if self._joliet:
            return (name + (";1" if path in self._files else "")).encode("utf-16-be")
        return (name.upper() + (("" if "." in name else ".") + ";1" if path in self._files else "")).encode("ascii")


def _record(name: bytes, sector: int, size: int, is_folder: bool) -> bytes:
    tail = bytes((2 if is_folder else 0, 0, 0)) + _both2(1) + bytes((len(name),)) + name
    length = 33 + len(name) + (len(name) + 1) % 2
    return (bytes((length, 0)) + _both4(sector) + _both4(size) + _EPOCH + tail).ljust(length, b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % SECTOR)


def _even(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def _both2(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _both4(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)
