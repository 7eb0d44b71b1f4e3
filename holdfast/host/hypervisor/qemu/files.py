"""The small files of a machine, read and written without trusting what is there.

QEMU may run as another user who owns the machine's directory, and a guest may have taken that QEMU over: so
every access refuses links and anything but a regular file, and is bounded; and nothing read here is believed
about another machine. The keeper imports this: nothing large.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

from holdfast.base.limits import CONSOLE_BYTES, QEMU_LOG_BYTES
from holdfast.host.hypervisor.driver import Reason

CONSOLE_FILE, QEMU_LOG, REASON_FILE = "console.log", "qemu.log", "reason"


def write_reason(directory: Path, reason: Reason) -> None:
    """Record why a machine is about to end. Not being able to must not save the machine: a full disk is no excuse."""
    temporary = directory / f"{REASON_FILE}.{threading.get_ident()}"
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, reason.value.encode())
        finally:
            os.close(handle)
        os.replace(temporary, directory / REASON_FILE)


def confirm_start(directory: Path) -> None:
    """Take back that the start failed: it runs, only whoever started it was killed before saying so."""
    if tail_or_nothing(directory / REASON_FILE, len(Reason.START_FAILED)) == Reason.START_FAILED.encode():
        with suppress(OSError):
            (directory / REASON_FILE).unlink()


def open_appending(path: Path, mode: int = 0o600) -> int:
    """A descriptor for a log that may be cut while it is written to."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, mode)


def tail(path: Path, size_bytes: int) -> bytes:
    """The last bytes of a regular file; FileNotFoundError when there is none, nothing of anything else."""
    handle = _opened(path, os.O_RDONLY)
    if handle is None:
        return b""
    try:
        length = os.fstat(handle).st_size
        wanted = max(0, min(size_bytes, length))
        return os.pread(handle, wanted, length - wanted)
    finally:
        os.close(handle)


def tail_or_nothing(path: Path, size_bytes: int) -> bytes:
    """The last bytes of a file, nothing when it is not there."""
    try:
        return tail(path, size_bytes)
    except FileNotFoundError:
        return b""


def trim(path: Path, size_bytes: int) -> None:
    """Cut a log that grew beyond twice `size_bytes` to its last `size_bytes`.

    Its writer appends (O_APPEND), so it goes on at the new end. What arrives between the read and the cut
    is lost: a guest that floods its console loses some of the flood.
    """
    try:
        if os.lstat(path).st_size <= 2 * size_bytes or (handle := _opened(path, os.O_RDWR | os.O_APPEND)) is None:
            return
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # agent and keeper both trim
        kept = os.pread(handle, size_bytes, max(0, os.fstat(handle).st_size - size_bytes))
        os.ftruncate(handle, 0)
        os.write(handle, kept)
    except BlockingIOError:
        return
    finally:
        os.close(handle)


def trim_logs(directory: Path) -> None:
    """Bound what a machine may write to our disk; tried again soon when it cannot be done now."""
    with suppress(OSError):
        trim(directory / CONSOLE_FILE, CONSOLE_BYTES)
        trim(directory / QEMU_LOG, QEMU_LOG_BYTES)


def _opened(path: Path, flags: int) -> int | None:
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        if err.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    return None
