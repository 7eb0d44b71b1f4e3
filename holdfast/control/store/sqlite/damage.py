"""Whether the embedded store's files are whole: looked at before anything is started on them, and never changed.

SQLite itself ends its log of writes, without a word, at the first frame whose sum is wrong: behind damage in the
middle all answered writes would be gone. Power that goes leaves such a frame too, but only in the one transaction that
was being written, since each is synced before the next begins. So two ends of transactions behind it are damage.

What this does not see: a bit inside a value (SQLite keeps no sums of pages), and a log that was cut between two
transactions, or in its last.
"""

from __future__ import annotations

import fcntl
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import Unavailable

HEADER, FRAME = struct.Struct(">8I"), struct.Struct(">6I")  # of the log, and of each page in it
BIG_ENDIAN, LITTLE_ENDIAN = 0x377F0683, 0x377F0682  # how the words that are summed are read
WORD = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class _Page:
    """One page in the log."""

    ends: bool  # a transaction
    sums: tuple[int, int]  # that it says
    summed: bytes  # what they are of


def damage_check(url: str) -> None:
    """Raise Unavailable for files that are damaged. No file yet, or another database: nothing."""
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:") or not path.exists():
        return
    log = Path(f"{path}-wal")
    if lost := _log_damage(_read(log, Path(f"{path}.lock"))):
        raise _damaged(log, lost)
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as err:
        if isinstance(err, sqlite3.OperationalError):
            raise Unavailable("the store cannot be looked at now; try again", detail=str(err)) from err
        found = str(err)
    if found != "ok":
        raise _damaged(path, " ".join(found.split()))


def _read(log: Path, lock: Path) -> bytes:
    """The log while nobody writes: whoever does begins it anew at any time."""
    lock.touch(mode=0o600)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return log.read_bytes() if log.exists() else b""


def _damaged(path: Path, what: str) -> Unavailable:
    return Unavailable(
        f"the store is damaged, and nothing was started: {path}: {what}. Put back a copy of the store from before; "
        f"without one, keep this one and see what can be read of it: sqlite3 {path} .recover",
        code="store_damaged",
        retryable=False,
    )


def _log_damage(log: bytes) -> str:
    """What is damaged in a log of writes; empty for a whole one, and for one whose last transaction is torn."""
    if len(log) < HEADER.size:
        return ""
    magic, _, page_bytes, _, *salts, first, second = HEADER.unpack_from(log)
    order = {BIG_ENDIAN: ">", LITTLE_ENDIAN: "<"}.get(magic)
    sums = _summed(order, log[: HEADER.size - 8], (0, 0)) if order else ()
    if order is None or sums != (first, second):
        return ""  # as it is while SQLite begins it anew: all that was in it is in the file
    torn = ends = 0
    for number, page in enumerate(_pages(log, page_bytes, salts), 1):
        if not torn:
            sums = _summed(order, page.summed, sums)
            torn = 0 if sums == page.sums else number
        ends += bool(torn) and page.ends
    return f"page {torn} of it is wrong, and {ends - 1} answered writes or more are behind it" if ends > 1 else ""


def _pages(log: bytes, page_bytes: int, salts: list[int]) -> Iterator[_Page]:
    """The pages since the log was begun anew; those from before have other salts."""
    for at in range(HEADER.size, len(log) - FRAME.size - page_bytes + 1, FRAME.size + page_bytes):
        _, pages, *mine, first, second = FRAME.unpack_from(log, at)
        if mine == salts:
            content = log[at + FRAME.size : at + FRAME.size + page_bytes]
            yield _Page(pages > 0, (first, second), log[at : at + 8] + content)


def _summed(order: str, content: bytes, sums: tuple[int, ...]) -> tuple[int, int]:
    """SQLite's sum of a piece that follows what was summed before."""
    first, second = sums
    for even, odd in struct.iter_unpack(f"{order}2I", content):
        first = (first + even + second) & WORD
        second = (second + odd + first) & WORD
    return first, second
