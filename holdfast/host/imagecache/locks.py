"""Locks between threads and processes of one host: files held with flock, so that a killed holder lets go.

Every taking opens the file anew, so threads of one process exclude each other as well. A lock file may be
removed by whoever holds it alone: whoever waited then sees that its file is gone, and opens the new one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold it together with others; waits for whoever holds it alone, whose work is bounded."""
    with _held(path, fcntl.LOCK_SH):
        yield


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold it alone; waits for everybody."""
    with _held(path, fcntl.LOCK_EX):
        yield


@contextmanager
def exclusive_or_not(path: Path) -> Iterator[bool]:
    """Hold it alone, and say so; False at once where somebody has it."""
    try:
        fd = _taken(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(fd)


@contextmanager
def _held(path: Path, kind: int) -> Iterator[None]:
    fd = _taken(path, kind)
    try:
        yield
    finally:
        os.close(fd)


def _taken(path: Path, kind: int) -> int:
    """A descriptor that holds the lock; raises BlockingIOError where it should not wait."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, kind)
            if _is_there(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _is_there(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
