"""Where a host keeps what must not be lost: below its own directory, or below one that all its hosts share.

It is decided when the host is made, and written beside it: a setting that changes later moves no disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.base import config
from holdfast.daemon.places import Places, write_private
from holdfast.host.agent.store import store_identity, store_mark

NONE = "none"  # the word of the setting: each host keeps its own, also several of one machine
CHOICE = "shared"  # file of a host: the directory that it shares; empty: none


@dataclass(frozen=True, slots=True)
class Storage:
    """The directories of one host."""

    disks: Path
    volumes: Path
    cache: Path
    kept: Path | None  # disks of machines that left without them; None: they are shared, and need not be kept aside

    @property
    def identity(self) -> str:
        """Of the disks; Unavailable for a shared directory that is not there: nothing is written before it is."""
        return store_identity(self.disks, shared=self.kept is None)


def storage_of(home: Path) -> Storage:
    """What was chosen for a host."""
    try:
        root = (home / CHOICE).read_text().strip()
    except FileNotFoundError:
        root = ""
    if root:
        return Storage(Path(root) / "disks", Path(root) / "volumes", Path(root) / "cache", None)
    return Storage(home / "disks", home / "volumes", home / "cache", home / "left")


def storages_choose(places: Places, settings: config.Settings, names: Sequence[str]) -> None:
    """Choose for hosts that are new: what the setting says, or one directory for several hosts of one machine."""
    default = str(places.state / "shared") if len(names) > 1 else ""
    for name in names:
        if not (places.host(name) / "id").exists():
            storage_choose(places.host(name), settings, default)


def storage_choose(home: Path, settings: config.Settings, default: str = "") -> None:
    """Choose for one host, once."""
    if (home / CHOICE).exists():
        return
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    shared = "" if settings.shared == NONE else settings.shared or default
    if shared:
        store_mark(Path(shared) / "disks")
    write_private(home / CHOICE, f"{shared}\n")
