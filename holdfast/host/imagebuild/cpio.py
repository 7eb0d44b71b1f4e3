"""The newc archive that the kernel unpacks as its first file system, written without root.

Every entry belongs to root, whoever builds; times are 0 and inode numbers count up, so equal input gives
equal bytes.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field

from holdfast.base.errors import BadInput

_FIELD_MAX = 0xFFFF_FFFF  # newc has eight hexadecimal digits per field


@dataclass(slots=True)
class Archive:
    """Add parents before children; `finish` returns the bytes."""

    _parts: list[bytes] = field(default_factory=list)
    _names: set[str] = field(default_factory=lambda: {""})

    def directory(self, name: str, mode: int = 0o755) -> None:
        """Add a directory; one that is there already stays as it is."""
        if name not in self._names:
            self._add(name, stat.S_IFDIR | mode, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._add(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._add(name, stat.S_IFCHR | mode, b"", (major, minor))

    def finish(self) -> bytes:
        """Close the archive, padded to the 512 bytes that every reader accepts."""
        self._parts.append(_record("TRAILER!!!", 0, 0, b"", (0, 0)))
        size = sum(map(len, self._parts))
        self._parts.append(bytes(-size % 512))
        return b"".join(self._parts)

    def _add(self, name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        parent = name.rpartition("/")[0]
        if name.startswith("/") or parent not in self._names:
            raise BadInput(f"archive entry {name!r} has no parent directory")
        if name in self._names:
            raise BadInput(f"archive entry {name!r} is there twice")
        if len(data) > _FIELD_MAX:
            raise BadInput(f"archive entry {name!r} is too large")
        self._names.add(name)
        self._parts.append(_record(name, len(self._names), mode, data, device))


def _record(name: str, inode: int, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    """One entry: 110 bytes of header, the name and the data, each padded to four bytes."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    numbers = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
