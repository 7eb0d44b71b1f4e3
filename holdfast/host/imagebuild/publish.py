"""Finished or not there: a directory appears under its name only when all of it is on the disk.

Builds of one place exclude each other by a lock file, so two callers never build the same thing twice at
once, and what a killed builder left behind is removed by the next one, which holds the lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.base.errors import Unavailable
from holdfast.base.limits import BUILD_LOCK_S

_PARTIAL = ".partial"
_LOCK_POLL_S = 0.05


def directory_publish(final: Path, fill: Callable[[Path], None]) -> Path:
    """Return `final`, filled by `fill` unless it is there already. Raises what `fill` raises, leaving nothing."""
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with _lock(final.with_name(final.name + ".lock")):
        if final.exists():
            return final
        partial = final.with_name(final.name + _PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            fill(partial)
            _sync(partial)
            os.rename(partial, final)
            _fsync(final.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return final


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when its holder dies. Raises Unavailable after BUILD_LOCK_S."""
    deadline_s = time.monotonic() + BUILD_LOCK_S
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as err:
                if time.monotonic() > deadline_s:
                    raise Unavailable(f"another build holds {path} for more than {BUILD_LOCK_S} s") from err
                time.sleep(_LOCK_POLL_S)
        yield


def _sync(directory: Path) -> None:
    """Put every file and directory below on the disk, deepest first."""
    for path, _, names in os.walk(directory, topdown=False):
        for name in names:
            if not os.path.islink(file := os.path.join(path, name)):
                _fsync(Path(file))
        _fsync(Path(path))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
