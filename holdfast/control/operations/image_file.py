"""The files of the image service: one directory, one file per upload, written once.

    ID.UPLOAD.part   being written; its writer holds a lock on it
    ID.UPLOAD        whole, inspected and on disk; read by whoever the row of image ID sends here
    .cloud           a word that the store knows: what is not mounted, or another replica's own, is not taken for it

The lock is taken before the row says `saving` and let go after the row says `active`, so a file without a lock
is exactly what its row says, and a row whose file has no lock belongs to a writer that died. The sweep decides
by the lock, never by age. No file is ever written again, so a reader needs no lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError, NoCapacity, TooLarge, Unavailable
from holdfast.base.ids import is_id, new_id
from holdfast.base.imagefile import Inspected, image_inspect
from holdfast.base.limits import IMAGE_BYTES
from holdfast.control.store.database import Database
from holdfast.control.store.image import image_directory, image_directory_keep, image_fetch, image_move, image_uploads
from holdfast.domain.image import Image, Status, file_name

log = logs.get(__name__)
PART = ".part"
MARK = ".cloud"


def images_claim(store: Database, directory: Path) -> None:
    """See that this is the directory of all replicas: the first one marks it, and the store knows the mark.

    Raises Unavailable for any other, as one that is not mounted, and where the files of the images must be and are not.
    """
    if not directory.is_dir():
        raise Unavailable(f"the images' directory {directory} is not there: {_ADVICE}", code="images", retryable=False)
    known, files = store.read(lambda tx: (image_directory(tx), image_uploads(tx)))
    if not known:
        names = [file_name(image_id, upload) for upload, (image_id, _) in files.items()]
        if names and not any((directory / name).exists() for name in names):
            raise Unavailable(f"no image of this cloud is in {directory}: {_ADVICE}", code="images", retryable=False)
        known = store.write(lambda tx: image_directory_keep(tx, _mark_of(directory) or _mark(directory)))
    if _mark_of(directory) != known:
        raise Unavailable(
            f"{directory} does not have the images of this cloud: {_ADVICE}. If it is a copy of theirs, write {known} "
            f"into {directory / MARK}",
            code="images",
            retryable=False,
        )


_ADVICE = "all control replicas need the same directory; mount it, or see the setting `images`"


def _mark_of(directory: Path) -> str:
    try:
        return (directory / MARK).read_text().strip()
    except OSError:
        return ""


def _mark(directory: Path) -> str:
    """Write a mark, unless another replica was first; returns the one that is there."""
    draft = directory / f"{MARK}.{new_id()}"
    draft.write_text(new_id())
    with contextlib.suppress(FileExistsError):
        os.link(draft, directory / MARK)
    draft.unlink()
    directory_sync(directory)
    return _mark_of(directory)


def image_path(directory: Path, image: Image) -> Path:
    """Where the bytes of an active image are."""
    return directory / file_name(image.id, image.upload)


class Upload:
    """One attempt to write an image: hashes and the disk take each chunk at the same time, in threads.

    `put` may be called again once what it returned is done. `seal` makes the file whole and durable, `discard`
    removes it; `close` lets the lock go, after the row has been written.
    """

    def __init__(self, directory: Path, image_id: str) -> None:
        self.name = new_id()
        self._directory = directory
        self._whole = directory / file_name(image_id, self.name)
        self._part = self._whole.with_name(self._whole.name + PART)
        self._md5, self._sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        self._pool = ThreadPoolExecutor(3, "upload")
        self.size_bytes = 0
        self._fd = self._create()

    def put(self, chunk: bytes) -> list[Future[None]]:
        """Start to hash and write a chunk that nobody changes any more."""
        offset, self.size_bytes = self.size_bytes, self.size_bytes + len(chunk)
        if self.size_bytes > IMAGE_BYTES:
            raise TooLarge(f"an image has at most {IMAGE_BYTES} bytes")
        return [
            self._pool.submit(self._md5.update, chunk),
            self._pool.submit(self._sha512.update, chunk),
            self._pool.submit(self._write, chunk, offset),
        ]

    def seal(self, claimed: str) -> tuple[Inspected, str, str]:
        """Return what the content is, its md5 and its sha512; the file is then whole, on disk and has its name."""
        try:
            os.fsync(self._fd)
            found = image_inspect(self._part, claimed)
            os.rename(self._part, self._whole)
            directory_sync(self._directory)
        except OSError as err:
            raise disk_error(err, self._part) from err
        return found, self._md5.hexdigest(), self._sha512.hexdigest()

    def discard(self) -> None:
        """Leave nothing on disk."""
        for path in (self._part, self._whole):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock, and of the threads."""
        self._pool.shutdown(wait=True)
        os.close(self._fd)

    def _create(self) -> int:
        """Make the file and lock it; again, when a sweep saw it in between and removed it."""
        while True:
            try:
                fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except OSError as err:
                raise disk_error(err, self._part) from err
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)

    def _write(self, chunk: bytes, offset: int) -> None:
        view = memoryview(chunk)
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as err:
            raise disk_error(err, self._part) from err


def image_sweep(store: Database, directory: Path) -> Counter[str]:
    """Bring rows and files together: uploads whose writer died are queued again, files without a row are removed.

    Safe at any time and beside any number of uploads and other sweeps.
    """
    outcomes: Counter[str] = Counter()
    if not _mark_of(directory):
        log.error("images_directory_is_not_there", path=str(directory))
        return outcomes
    files = {entry.name: entry for entry in directory.iterdir() if entry.is_file()}  # before the rows
    uploads = store.read(image_uploads)
    for upload, (image_id, status) in uploads.items():
        whole = file_name(image_id, upload)
        if status is Status.SAVING and not _is_locked(directory / (whole + PART), directory / whole):
            freed = store.write(lambda tx, i=image_id, u=upload: image_move(tx, i, "give_up", u))  # type: ignore[misc]
            outcomes["requeued"] += freed
        elif status is not Status.SAVING and not (directory / whole).exists() and _still(store, image_id, upload):
            outcomes["missing"] += 1
            log.error("image_file_missing", image=image_id, path=str(directory / whole))
    for name, path in files.items():
        outcomes["removed"] += _remove_if_unclaimed(store, path, name)
    return +outcomes


def image_file_remove(path: Path) -> None:
    """Remove the file of an image whose row is gone; what fails here is the sweep's to finish."""
    try:
        path.unlink(missing_ok=True)
    except OSError as err:
        log.warn("image_file_left", path=str(path), reason=str(err))


def _still(store: Database, image_id: str, upload: str) -> bool:
    found = store.read(lambda tx: image_fetch(tx, image_id))
    return found is not None and found.upload == upload


def _remove_if_unclaimed(store: Database, path: Path, name: str) -> bool:
    """Remove a file that no row names. The row is read after the lock is had: its writer can change it no more."""
    image_id, _, rest = name.partition(".")
    upload = rest.removesuffix(PART)
    if not (is_id(image_id) and is_id(upload)):
        return False  # not ours: left alone
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not _lock_now(fd):
            return False
        found = store.read(lambda tx: image_fetch(tx, image_id))
        if found is not None and found.upload == upload and (found.has_bytes == (not name.endswith(PART))):
            return False
        path.unlink(missing_ok=True)
        log.info("image_file_removed", image=image_id, path=str(path))
        return True
    finally:
        os.close(fd)


def _is_locked(*paths: Path) -> bool:
    """Say whether somebody holds the file, which has one of these names."""
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            return not _lock_now(fd)
        finally:
            os.close(fd)
    return False


def _lock_now(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def directory_sync(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def disk_error(err: OSError, path: Path) -> HoldfastError:
    """A full disk and a failing one, as the caller may know them; the path is for the log."""
    detail = f"{path}: {err}"
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoCapacity("the image store is full; nothing was kept", code="disk_full", detail=detail)
    return Unavailable("the image store cannot be written", code="disk_error", detail=detail)
