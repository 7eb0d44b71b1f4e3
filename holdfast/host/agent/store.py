"""The identity of a directory of disks: hosts that find the same one open the same files.

A directory of this host alone gets its identity when it is first used. One that all hosts share has it from whoever
made it: where it is missing, the directory is an empty mount point, and nothing may be written to it.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.base.errors import Unavailable
from holdfast.base.ids import is_id, new_id

MARKER = "store-id"


def store_identity(directory: Path, shared: bool) -> str:
    """Return it; Unavailable for a shared directory without one."""
    marker = directory / MARKER
    try:
        found = marker.read_text().strip()
    except FileNotFoundError:
        if shared:
            raise Unavailable(
                f"{directory} has no {MARKER}: it is not the directory that the hosts share, or is not mounted",
                code="shared_missing",
            ) from None
        found = store_mark(directory)
    if not is_id(found):
        raise Unavailable(f"{marker} cannot be read: it must hold one id", code="shared_missing")
    return found


def store_mark(directory: Path) -> str:
    """Give a directory its identity; one that has it keeps it."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    marker = directory / MARKER
    try:
        with open(marker, "x") as file:
            file.write(f"{new_id()}\n")
    except FileExistsError:
        pass
    return marker.read_text().strip()
