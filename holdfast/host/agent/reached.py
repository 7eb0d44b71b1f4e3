"""How far each machine came: the numbers of the last desired record that was made true, kept on disk.

Written after the effect and before it is reported: a crash in between repeats the effect, which is
idempotent but for a restart of a guest, and that was asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from holdfast.base import ids
from holdfast.domain.observed import Phase


class Reached(msgspec.Struct, frozen=True):
    """The numbers of one machine (see domain/desired)."""

    generation: int = 0
    boot: int = 0
    disk: int = 0
    phase: Phase = Phase.STOPPED
    move: str = ""  # the last move that this host began to receive, or to send


class ReachedFiles:
    """One small file per machine; read once, then kept in memory beside it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, Reached] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.iterdir():
            if ids.is_id(path.name):
                self._known[path.name] = self._read(path)

    def get(self, instance_id: str) -> Reached:
        return self._known.get(instance_id, Reached())

    def put(self, instance_id: str, reached: Reached) -> None:
        if self._known.get(instance_id) == reached:
            return
        path = self._directory / instance_id
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(reached))
        os.replace(temporary, path)
        self._known[instance_id] = reached

    def drop(self, instance_id: str) -> None:
        (self._directory / instance_id).unlink(missing_ok=True)
        self._known.pop(instance_id, None)

    def instance_ids(self) -> list[str]:
        return list(self._known)

    def _read(self, path: Path) -> Reached:
        """A file that cannot be read (a power cut) is nothing reached: what exists is then looked at afresh."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Reached)
        except (OSError, msgspec.DecodeError):
            return Reached()
