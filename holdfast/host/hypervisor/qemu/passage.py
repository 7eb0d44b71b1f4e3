"""What a machine's directory says of a move of its guest, so that the next agent goes on where one was killed.

`passage.json` is there from the moment that a move began at this end until it is over here; a machine that is
started anew has none. `keys.psk` holds the one key that the two QEMUs know each other by, readable by QEMU alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from holdfast.host.hypervisor.driver import Copy, Passage, Where
from holdfast.host.hypervisor.qemu import directory as home
from holdfast.host.hypervisor.qemu.files import tail_or_nothing

PASSAGE_FILE, KEYS_FILE = "passage.json", "keys.psk"
_SMALL_BYTES = 4 << 10


class Note(msgspec.Struct, frozen=True):
    """One end of a move."""

    id: str
    copy: Copy
    inbound: bool
    where: Where | None = None  # inbound: it listens there
    failure: str = ""  # outbound: it is over, and this is why


def note_read(directory: Path) -> Note | None:
    """The move that goes on here; what cannot be read is none."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(tail_or_nothing(directory / PASSAGE_FILE, _SMALL_BYTES), type=Note)
    return None


def note_write(directory: Path, note: Note) -> None:
    """Keep it over a crash."""
    home.write_durable(directory / PASSAGE_FILE, msgspec.json.encode(note))


def note_drop(directory: Path) -> None:
    """The move is over at this end, and its key with it."""
    for name in (KEYS_FILE, PASSAGE_FILE):
        (directory / name).unlink(missing_ok=True)


def key_write(directory: Path, passage: Passage, owner: home.Owner | None) -> None:
    """Lay the key where QEMU reads it."""
    path = directory / KEYS_FILE
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, f"{passage.id}:{passage.key}\n".encode())
    finally:
        os.close(handle)
    if owner is not None:
        home.own(path, owner)
