"""The cache as the agent uses it: bases for machines, fetched once, verified, and never taken away while in use.

Three things keep a base and its overlays together. Making a base, quarantining and evicting need its exclusive
lock; standing on it needs its shared lock until the overlay exists on disk; and eviction, once it has the lock,
looks for the base in the header of every disk under `instances`. So a base is evicted before an overlay was made
(which then fetches again) or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.base import log as logs
from holdfast.base.errors import BadInput, Bug, NotFound, Unavailable
from holdfast.base.ids import is_id, new_id
from holdfast.base.limits import IMAGE_CACHE_TRIES
from holdfast.domain.desired import ImageSource
from holdfast.host.imagecache import qemu_img
from holdfast.host.imagecache.bases import (
    DISK,
    Base,
    Fetch,
    Layout,
    Record,
    address_of,
    base_make,
    base_quarantine,
    image_link,
    is_right,
    is_unchanged,
    record_read,
)
from holdfast.host.imagecache.disk import sync, troubles_named
from holdfast.host.imagecache.locks import exclusive, exclusive_or_not, shared

log = logs.get(__name__)
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found. `users` are the disks that stand on a base that was bad: flagged, not touched."""

    right: bool
    users: tuple[Path, ...] = ()


class Cache:
    """One directory of bases. `instances` are the directories under which every disk of this host lies."""

    def __init__(self, directory: Path, instances: Iterable[Path], fetch: Fetch) -> None:
        self._layout, self._instances, self._fetch = Layout(directory), tuple(instances), fetch
        with troubles_named(directory):
            self._layout.make()
        self.sweep()

    def base(self, image: ImageSource) -> Path:
        """The verified base of an image, fetched if need be: once, however many ask, in however many processes."""
        with self._holding(image) as base:
            return base.path

    def kernel(self, image: ImageSource, link: Path | None = None) -> Path:
        """The verified file of a kernel or ramdisk; with `link`, under that name as well, which outlives eviction."""
        with self._holding(image) as base:
            if link is None:
                return base.path
            _put(link, lambda part: os.link(base.path, part))
            return link

    def machine_disk(self, image: ImageSource, path: Path, size_gib: int) -> None:
        """Make a machine's disk at `path` on the image's base, fetching that if need be; replaces what is there."""
        with self._holding(image) as base:
            self._overlay(base, path, size_gib)

    def volume(self, image: ImageSource, path: Path) -> None:
        """Write an image's disk into a new raw file of its own, which stands on nothing."""
        with self._holding(image) as base:
            _put(path, lambda part: qemu_img.convert_raw(base.path, base.format, part))

    def overlay(self, base: Path, path: Path, size_gib: int) -> None:
        """Make a disk on a base that `base()` returned; Unavailable when it was evicted since: ask again."""
        directory = base.parent
        with shared(self._layout.lock(directory.name)):
            record = record_read(directory)
            if record is None or directory.parent != self._layout.bases:
                raise Unavailable(f"the base {directory.name} is not in the cache any more", code="image_base_gone")
            self._overlay(Base(base, record.format, record.virtual_bytes), path, size_gib)

    def snapshot(self, disk: Path, target: Path) -> None:
        """Write a machine's disk, with its base, as one qcow2 for upload. A running machine should be paused."""
        for below in self._chain(disk):
            if not below.is_relative_to(self._layout.bases.resolve()):
                raise BadInput(f"the disk {disk} stands on {below}, which is no base of this cache")
        _put(target, lambda part: qemu_img.flatten(disk, part))

    def held(self) -> list[str]:
        """The ids of images whose bases are here and were not touched since they were verified."""
        found = []
        for link in self._layout.images.iterdir():
            directory = link.resolve()
            record = record_read(directory)
            if record is not None and is_unchanged(directory, record):
                found.append(link.name)
        return sorted(found)

    def verify(self, image_id: str) -> Verdict:
        """Read the whole base of an image; a bad one is quarantined, and fetched again by whoever needs it next."""
        address = self._address(image_id)
        directory = self._layout.bases / address
        for hold in (shared, exclusive):  # machines may be made while a base is read; none while one is taken away
            with hold(self._layout.lock(address)):
                record = record_read(directory)
                if record is None:
                    raise NotFound(f"image {image_id} is not in the cache")
                with troubles_named(directory):
                    if is_right(directory, record):
                        return Verdict(True)
                if hold is exclusive:
                    users = tuple(user for user, below in self._stacks() if below == (directory / DISK).resolve())
                    base_quarantine(self._layout, address)
                    return Verdict(False, users)
        raise Bug("a verification has two rounds")

    def evict(self, unused: Iterable[str]) -> list[str]:
        """Remove the bases of images nobody wants, but for those that a disk stands on; returns the ids that went.

        A base that is being made or used right now, or that another image has too, stays as well.
        """
        wanted_gone = {image_id for image_id in unused if is_id(image_id)}
        owners: dict[str, set[str]] = {directory.name: set() for directory in self._layout.bases.iterdir()}
        for link in self._layout.images.iterdir():
            owners.setdefault(os.path.basename(os.readlink(link)), set()).add(link.name)
        gone: list[str] = []
        with ExitStack() as locks:
            candidates = [
                address
                for address, ids in owners.items()
                if ids <= wanted_gone and locks.enter_context(exclusive_or_not(self._layout.lock(address)))
            ]
            used = {below for _, below in self._stacks()}
            for address in candidates:
                if (self._layout.bases / address / DISK).resolve() not in used:
                    self._remove(address, owners[address])
                    gone += owners[address]
        return sorted(gone)

    def sweep(self) -> int:
        """Remove what killed makers left behind, and return how much: decided by their locks, never by age."""
        removed = 0
        for path in self._layout.temporary.iterdir():
            address = path.name.rpartition(".")[0]
            with exclusive_or_not(self._layout.lock(address)) as mine:
                if mine:
                    _remove_tree(path)
                    removed += 1
        for link in self._layout.images.iterdir():
            if not link.exists():
                link.unlink(missing_ok=True)
        return removed

    @contextmanager
    def _holding(self, image: ImageSource) -> Iterator[Base]:
        """The base of an image, which nobody evicts meanwhile."""
        address = address_of(image)
        lock, directory = self._layout.lock(address), self._layout.bases / address
        for _ in range(IMAGE_CACHE_TRIES):
            with shared(lock):
                record = record_read(directory)
                if record is not None and self._is_good(directory, record):
                    image_link(self._layout, image.id, address)
                    yield Base(directory / DISK, record.format, record.virtual_bytes)
                    return
            with exclusive(lock):
                self._ensure(image, address)
        raise Unavailable(f"the base of image {image.id} is evicted as fast as it is fetched", code="image_base_gone")

    def _ensure(self, image: ImageSource, address: str) -> None:
        """Under the exclusive lock: a base that is right, whatever was there before."""
        directory = self._layout.bases / address
        record = record_read(directory)
        if record is not None and self._is_good(directory, record):
            return
        if directory.exists():
            base_quarantine(self._layout, address)
        base_make(self._layout, image, self._fetch)

    def _is_good(self, directory: Path, record: Record) -> bool:
        """Unchanged, or read and right; under the lock that its user keeps, so that it is used as it was found."""
        with troubles_named(directory):
            return is_unchanged(directory, record) or ((directory / DISK).exists() and is_right(directory, record))

    def _overlay(self, base: Base, path: Path, size_gib: int) -> None:
        size_bytes = size_gib * GIB or base.virtual_bytes
        if size_bytes < base.virtual_bytes:
            raise BadInput(
                f"the disk of {size_gib} GiB is smaller than the image, which needs {base.virtual_bytes} bytes",
                code="disk_too_small",
            )
        # the whole path: a relative one would be looked for beside the overlay
        whole = base.path.resolve()
        _put(path, lambda part: qemu_img.create_overlay(part, whole, base.format, size_bytes))

    def _address(self, image_id: str) -> str:
        with suppress(FileNotFoundError):
            if is_id(image_id):
                return os.path.basename(os.readlink(self._layout.images / image_id))
        raise NotFound(f"image {image_id[:64]} is not in the cache")

    def _stacks(self) -> Iterator[tuple[Path, Path]]:
        """Every disk on this host that stands on another file. What cannot be read ends it: no guess is made."""
        for root in self._instances:
            with troubles_named(root):
                for folder, _, names in os.walk(root, onerror=_raise):
                    for name in names:
                        path = Path(folder, name)
                        with suppress(FileNotFoundError):
                            if path.is_file() and (below := qemu_img.backing_of(path)) is not None:
                                yield path, below

    def _chain(self, disk: Path) -> Iterator[Path]:
        below = qemu_img.backing_of(disk)
        while below is not None:
            yield below
            below = qemu_img.backing_of(below)

    def _remove(self, address: str, image_ids: Iterable[str]) -> None:
        """Under the exclusive lock: out of sight by a rename first, so that a kill leaves whole bases or none."""
        trash = self._layout.temporary / f"{address}.{new_id()}"
        with troubles_named(trash):
            for image_id in image_ids:
                (self._layout.images / image_id).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                os.rename(self._layout.bases / address, trash)
                sync(self._layout.bases)
                shutil.rmtree(trash)
            self._layout.lock(address).unlink(missing_ok=True)  # ours alone; whoever waits opens a new one
        log.info("image_base_evicted", address=address)


def _put(path: Path, make: Callable[[Path], None]) -> None:
    """Let `make` write a file beside `path`, and give it that name when it is whole and durable."""
    part = path.with_name(f"{path.name}.{new_id()}.part")
    try:
        with troubles_named(path):
            make(part)
            sync(part)
            os.rename(part, path)
            sync(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _raise(err: OSError) -> None:
    raise err
