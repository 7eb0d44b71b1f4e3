"""Where bases are on disk, and how one is made. What stands under `bases/` is whole, verified and durable.

    tmp/ADDRESS.NONCE/     being made, under the exclusive lock of ADDRESS
    bases/ADDRESS/disk     the base: raw as uploaded, or a qcow2 that our own converter wrote
    bases/ADDRESS/record.json
    images/IMAGE_ID        -> ../bases/ADDRESS
    quarantine/...         bases whose bytes changed

A base is published by renaming its whole directory: disk and record appear together or not at all. ADDRESS is
made from the digest of the uploaded bytes, the target's format and CONVERTER, so it names content for ever.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.base import log as logs
from holdfast.base.errors import Unavailable
from holdfast.base.ids import new_id
from holdfast.base.imagefile import ImageRefused, image_inspect
from holdfast.base.limits import IMAGE_QUARANTINE_KEPT
from holdfast.domain.desired import ImageSource
from holdfast.host.imagecache import qemu_img
from holdfast.host.imagecache.disk import sha512_of, signature, sync, troubles_named

log = logs.get(__name__)
CONVERTER = 1  # grows when bases are to be made anew
PLAIN = {"raw", "aki", "ari", "ami", "iso"}  # kept as they are
DISK, RECORD = "disk", "record.json"
Fetch = Callable[[ImageSource, Path], str]  # make the file, return the sha512 of what was written


class Record(msgspec.Struct, frozen=True):
    """What is known of a base since it was published or last verified."""

    source: str  # sha512 of the uploaded bytes
    digest: str  # sha512 of the base itself
    format: str  # raw or qcow2
    virtual_bytes: int
    signature: tuple[int, int, int, int]  # of the file when its digest was right


@dataclass(frozen=True, slots=True)
class Base:
    """A verified base."""

    path: Path
    format: str
    virtual_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of one cache."""

    root: Path

    def make(self) -> None:
        for name in ("bases", "tmp", "locks", "images", "quarantine"):
            (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def bases(self) -> Path:
        return self.root / "bases"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    def lock(self, address: str) -> Path:
        return self.root / "locks" / address


def address_of(image: ImageSource) -> str:
    """The content address of an image's base."""
    target = "raw" if image.disk_format in PLAIN else "qcow2"
    return f"{image.sha512[:64]}.{target}.{CONVERTER}"


def record_read(directory: Path) -> Record | None:
    """The record of a published base, or None where there is none."""
    try:
        return msgspec.json.decode((directory / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def record_write(directory: Path, record: Record) -> None:
    """Replace the record as a whole."""
    part = directory / f"{RECORD}.{new_id()}"
    part.write_bytes(msgspec.json.encode(record))
    sync(part)
    os.rename(part, directory / RECORD)
    sync(directory)


def is_unchanged(directory: Path, record: Record) -> bool:
    """Say whether nobody touched the base since its digest was last right; costs one stat."""
    try:
        return signature(directory / DISK) == record.signature
    except FileNotFoundError:
        return False


def is_right(directory: Path, record: Record) -> bool:
    """Read the whole base and say whether its digest is still the recorded one; if so, remember when.

    A machine that begins or ends links or unlinks a kernel, and that changes the file's change time: it says nothing
    about the bytes. What is remembered is the look before the reading, so what is touched meanwhile is read again by
    the next use.
    """
    seen = signature(directory / DISK)
    if sha512_of(directory / DISK) != record.digest:
        return False
    if seen != record.signature:
        record_write(directory, msgspec.structs.replace(record, signature=seen))
    return True


def base_make(layout: Layout, image: ImageSource, fetch: Fetch) -> None:
    """Fetch, check, convert, compare and publish; the caller holds the exclusive lock. Leaves nothing on failure."""
    address = address_of(image)
    work = layout.temporary / f"{address}.{new_id()}"
    try:
        with troubles_named(work):
            work.mkdir(mode=0o700)
            record = _made(work, image, fetch)
            record_write(work, record)
            sync(work / DISK)
            sync(work)
            os.rename(work, layout.bases / address)
            sync(layout.bases)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    log.info("image_base_published", image=image.id, address=address, digest=record.digest[:16])


def _made(work: Path, image: ImageSource, fetch: Fetch) -> Record:
    source = work / "source"
    got = fetch(image, source)
    if got != image.sha512:
        raise Unavailable(
            f"the bytes fetched for image {image.id} are not its own: sha512 {got[:16]}..., not {image.sha512[:16]}...",
            code="image_digest_mismatch",
        )
    try:
        found = image_inspect(source, image.disk_format)
    except ImageRefused as err:
        raise ImageRefused(f"image {image.id} is refused: {err.message}", detail=err.detail) from err
    if found.format == "raw":
        os.rename(source, work / DISK)
        return Record(got, got, "raw", found.virtual_bytes, signature(work / DISK))
    qemu_img.convert(source, found.format, work / DISK)
    sync(work / DISK)
    qemu_img.require_equal(source, found.format, work / DISK)
    source.unlink()
    virtual_bytes = qemu_img.virtual_bytes_of(work / DISK)
    return Record(got, sha512_of(work / DISK), "qcow2", virtual_bytes, signature(work / DISK))


def base_quarantine(layout: Layout, address: str) -> None:
    """Take a base out of use and keep it for a look; the caller holds the exclusive lock."""
    with troubles_named(layout.quarantine):
        os.rename(layout.bases / address, layout.quarantine / f"{address}.{new_id()}")
        sync(layout.bases)
        kept = sorted(layout.quarantine.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        for old in kept[:-IMAGE_QUARANTINE_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    log.error("image_base_quarantined", address=address)


def image_link(layout: Layout, image_id: str, address: str) -> None:
    """Remember which base an image has; only an index, made again when lost. The caller holds a lock of the address."""
    link, wanted = layout.images / image_id, f"../bases/{address}"
    with suppress(OSError):
        if os.readlink(link) == wanted:
            return
    part = layout.temporary / f"{address}.{new_id()}"
    with troubles_named(link):
        part.symlink_to(wanted)
        os.rename(part, link)
