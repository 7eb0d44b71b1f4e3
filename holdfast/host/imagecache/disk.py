"""Files on the host's disk: made durable, measured, and what their troubles are called.

A full or failing disk is reported with the path and the device, so that an operator need not search.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.base.errors import HoldfastError, NoCapacity, Unavailable
from holdfast.base.run import CommandFailed


def sync(path: Path) -> None:
    """Make a file's bytes, or a directory's names, survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha512_of(path: Path) -> str:
    """The digest of a file as it is now; raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def signature(path: Path) -> tuple[int, int, int, int]:
    """What changes whenever a file is written through the kernel: the change time cannot be set by hand."""
    status = os.stat(path)
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@contextmanager
def troubles_named(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into an error that names the path and the device."""
    try:
        yield
    except OSError as err:
        raise _named(err.errno or 0, path, str(err)) from err
    except CommandFailed as err:
        words = f"{err.message} {err.detail}"
        for text, number in (("No space left", errno.ENOSPC), ("quota exceeded", errno.EDQUOT)):
            if text in words:
                raise _named(number, path, words) from err
        if "Input/output error" in words or "Read-only file system" in words:
            raise _named(errno.EIO, path, words) from err
        raise


def _named(number: int, path: Path, detail: str) -> HoldfastError:
    where = f"{path} on {device_of(path)}"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return NoCapacity(f"no space left at {where}", code="disk_full", detail=detail)
    return Unavailable(f"the disk failed at {where}: {os.strerror(number)}", code="disk_error", detail=detail)


def device_of(path: Path) -> str:
    """The device that holds a path, as the mount table names it; of the nearest directory that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    number = os.stat(path).st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with open("/proc/self/mountinfo") as table:
        for line in table:
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted:
                return after.split()[1]
    return f"device {wanted}"
