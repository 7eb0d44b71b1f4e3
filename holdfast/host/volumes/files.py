"""One raw, sparse file per volume or snapshot: `DIRECTORY/ID.raw`.

A file gets its name when it is whole and durable, so what has a name is what was asked for, or smaller: it only
ever grows. What was made once and is missing now is never made again, since its data would silently be another.
Removing unlinks; new files are holes, which read as zeros: nothing of a deleted volume reaches the next.

Guests write these bytes. Every reader names the format, raw, and nothing in a file is believed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.ids import is_id
from holdfast.base.limits import VOLUME_COPY_S
from holdfast.base.run import run
from holdfast.domain.desired import ImageSource, VolumeFile
from holdfast.host.imagecache.disk import sync, troubles_named

GIB = 1 << 30
SUFFIX, PART = ".raw", ".part"


class VolumeFiles:
    """The files of one directory. `write_image` writes an image's disk into a new file, as raw.

    `shared`: other hosts have files there too, which are no business of this one.
    """

    def __init__(self, directory: Path, write_image: Callable[[ImageSource, Path], None], shared: bool = False) -> None:
        self._directory, self._write_image, self.shared = directory, write_image, shared
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        for left in () if shared else directory.glob(f"*{PART}"):  # of an agent that was killed: there is only one here
            left.unlink(missing_ok=True)

    def path(self, file_id: str) -> Path:
        """Where a volume's file is, or would be."""
        if not is_id(file_id):
            raise Conflict(f"{file_id[:64]!r} names no volume")
        return self._directory / (file_id + SUFFIX)

    def make(self, wanted: VolumeFile) -> None:
        """Make the file, or make it larger. Raises Conflict when its data is lost or can never be had."""
        path = self.path(wanted.id)
        if not path.exists():
            if wanted.made:
                raise Conflict(f"the file of {wanted.id} is missing; nothing is made in its place", code="volume_lost")
            self._create(wanted, path)
        with troubles_named(path):
            if path.stat().st_size < wanted.size_gib * GIB:
                os.truncate(path, wanted.size_gib * GIB)
                sync(path)

    def remove(self, file_id: str) -> None:
        """Remove a file. Not there: nothing."""
        path = self.path(file_id)
        with troubles_named(path):
            path.with_suffix(PART).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            sync(self._directory)

    def sizes(self) -> Mapping[str, int]:
        """Every volume and snapshot that has a file here, in bytes."""
        found = {}
        for entry in os.scandir(self._directory):
            file_id = entry.name.removesuffix(SUFFIX)
            if entry.name.endswith(SUFFIX) and is_id(file_id) and entry.is_file(follow_symlinks=False):
                found[file_id] = entry.stat().st_size
        return found

    def _create(self, wanted: VolumeFile, path: Path) -> None:
        part = path.with_suffix(PART)
        with troubles_named(path):
            part.unlink(missing_ok=True)
            try:
                self._fill(wanted, part)
                sync(part)
                os.rename(part, path)
                sync(self._directory)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _fill(self, wanted: VolumeFile, part: Path) -> None:
        if wanted.image is not None:
            self._write_image(wanted.image, part)
            os.chmod(part, 0o600)
            return
        if wanted.copy_of:
            self._copy(self.path(wanted.copy_of), part)
            return
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        os.truncate(part, wanted.size_gib * GIB)

    def _copy(self, source: Path, part: Path) -> None:
        """Share blocks where the file system can; else copy what is data and leave holes."""
        if not source.exists():
            raise Unavailable(f"the file of {source.stem}, which is to be copied, is not there", code="source_missing")
        run(("cp", "--reflink=auto", "--sparse=auto", "--", str(source), str(part)), timeout_s=VOLUME_COPY_S)
        os.chmod(part, 0o600)
