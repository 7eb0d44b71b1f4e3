"""Image bytes in and out, streamed: memory stays flat whatever the size, and the event loop never waits for a disk.

    queued -> file made and locked -> row saving -> chunks -> fsync, inspected, renamed -> row active -> lock let go

Killed at any of these arrows, the image is queued again (operations/image_file.image_sweep) or active and whole.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import to_thread
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.services import Services
from holdfast.base import log as logs
from holdfast.base.errors import BadInput, Bug, Conflict, Forbidden, NotFound
from holdfast.base.imagefile import ImageRefused
from holdfast.base.limits import IMAGE_CHUNK_BYTES
from holdfast.control.operations.image_file import Upload, image_path, image_sweep
from holdfast.control.store.image import image_fetch, image_move, image_visible
from holdfast.domain.image import Image, Status

log = logs.get(__name__)


async def image_upload(call: Call) -> Reply:
    """PUT /v2/images/{image_id}/file: 204 when the bytes are on disk and checked; 400 with the reason otherwise."""
    store, image_id = call.services.store, call.parameters["image_id"]
    if call.headers.get("content-type", "").partition(";")[0] != "application/octet-stream":
        raise BadInput("the content type must be application/octet-stream")
    image = await to_thread(store.read, lambda tx: image_visible(tx, image_id, call.credentials))
    call.authorise("upload_image", {"project_id": image.project_id})
    if call.receive is None:
        raise Bug("the route of an upload does not stream")
    await image_receive(call.services, image, call.receive, _declared(call))
    return Reply(204)


async def image_receive(services: Services, image: Image, chunks: AsyncIterator[bytes], size_bytes: int | None) -> None:
    """Write the bytes of a queued image and make it active; raises what the caller should hear.

    The host facade gives server snapshots to this. Nothing is kept unless all of it is right.
    """
    if not (image.disk_format and image.container_format):
        raise BadInput("Properties disk_format, container_format must be set prior to saving data.")
    upload = await to_thread(Upload, services.images, image.id)
    try:
        await _begin(services, image, upload)
        try:
            await _write(upload, chunks)
            if size_bytes is not None and upload.size_bytes != size_bytes:
                raise BadInput(f"{size_bytes} bytes were announced and {upload.size_bytes} came")
            await to_thread(_finish, services, image, upload)
        except ImageRefused as err:
            reason = err.message
            await to_thread(_abandon, services, image, upload, "refuse", reason)
            raise
        except BaseException:
            await to_thread(_abandon, services, image, upload, "give_up", "")
            raise
    finally:
        await to_thread(upload.close)


async def _begin(services: Services, image: Image, upload: Upload) -> None:
    """Take the image for this upload; one that is stuck with a dead writer is freed first."""

    def take() -> bool:
        return services.store.write(lambda tx: image_move(tx, image.id, "upload", upload.name))

    if await to_thread(take):
        return
    if image.status is Status.SAVING:
        await to_thread(image_sweep, services.store, services.images)
        if await to_thread(take):
            return
    await to_thread(upload.discard)
    now = await to_thread(services.store.read, lambda tx: image_fetch(tx, image.id))
    status = now.status if now else "deleted"
    raise Conflict(f"Image {image.id} is {status}: its data cannot be written (again).", code="image_not_queued")


async def _write(upload: Upload, chunks: AsyncIterator[bytes]) -> None:
    """Gather the small pieces of the network into chunks; while one is hashed and written, the next is gathered."""
    busy: list[Future[None]] = []
    parts: list[bytes] = []
    size = 0
    async for part in chunks:
        parts.append(part)
        size += len(part)
        if size >= IMAGE_CHUNK_BYTES:
            await _settled(busy)
            busy = upload.put(b"".join(parts))
            parts, size = [], 0
    await _settled(busy)
    if parts:
        await _settled(upload.put(b"".join(parts)))


async def _settled(busy: list[Future[None]]) -> None:
    await asyncio.gather(*map(asyncio.wrap_future, busy))


def _finish(services: Services, image: Image, upload: Upload) -> None:
    found, md5, sha512 = upload.seal(image.disk_format)
    values = {
        "content": found.format,
        "virtual_bytes": found.virtual_bytes,
        "size_bytes": upload.size_bytes,
        "md5": md5,
        "sha512": sha512,
    }
    if not services.store.write(lambda tx: image_move(tx, image.id, "finish", upload.name, **values)):
        raise NotFound(f"Image {image.id} was deleted while it was uploaded", code="image_not_found")
    log.info("image_active", image=image.id, size_bytes=upload.size_bytes, content=found.format)


def _abandon(services: Services, image: Image, upload: Upload, event: str, reason: str) -> None:
    services.store.write(lambda tx: image_move(tx, image.id, event, upload.name, reason=reason))
    upload.discard()
    log.warn("image_upload_abandoned", image=image.id, why=event, reason=reason)


def _declared(call: Call) -> int | None:
    """The size that the client announces, if it does; a body that ends early is then noticed."""
    for name in ("content-length", "x-openstack-image-size"):
        if (text := call.headers.get(name, "")) != "":
            if not text.isdigit():
                raise BadInput(f"{name} is not a number")
            return int(text)
    return None


async def image_download(call: Call) -> Reply:
    """GET /v2/images/{image_id}/file: the bytes, or a range of them; 204 when there are none yet."""
    image_id = call.parameters["image_id"]
    image = await to_thread(call.services.store.read, lambda tx: image_visible(tx, image_id, call.credentials))
    call.authorise("download_image", {"project_id": image.project_id})
    if image.status is Status.DEACTIVATED and not call.credentials.is_admin:
        raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
    if not image.has_bytes:
        return Reply(204)
    span = byte_range(call.headers.get("range", ""), image.size_bytes)
    start, end = span or (0, image.size_bytes)
    headers = {"content-length": str(end - start), "accept-ranges": "bytes"}
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{image.size_bytes}"
    else:
        headers["content-md5"] = image.md5
    head = call.method == "HEAD"
    stream = None if head else stream_file(image_path(call.services.images, image), span)
    body = b"" if head else None
    return Reply(206 if span else 200, body, headers, "application/octet-stream", stream)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """The half-open range that a Range header names; None for the whole; BadInput for one outside the file."""
    if not text:
        return None
    unit, _, span = text.partition("=")
    first, dash, last = span.strip().partition("-")
    numeric = all(part.isascii() and part.isdigit() for part in (first, last) if part)
    if unit.strip() != "bytes" or not dash or not numeric or not first + last:
        raise BadInput(f"the range {text[:64]!r} is not understood")
    start, end = (int(first), int(last) + 1 if last else size) if first else (max(0, size - int(last)), size)
    if start >= min(end, size):
        raise BadInput(f"the range {text[:64]!r} is outside of {size} bytes")
    return start, min(end, size)


async def stream_file(path: Path, span: tuple[int, int] | None = None) -> AsyncIterator[bytes]:
    """The bytes of a file, or of a half-open range of it; the next chunk is read while one is sent."""
    fd = await to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    at, end = span or (0, os.fstat(fd).st_size)
    ahead = _read(fd, at, end)
    try:
        while at < end:
            chunk = await ahead
            if not chunk:
                raise Bug(f"{path} is shorter than it was")
            at += len(chunk)
            ahead = _read(fd, at, end)
            yield chunk
    finally:
        await asyncio.wait({ahead})  # a thread must not read from a number that is somebody else's by then
        os.close(fd)


def _read(fd: int, at: int, end: int) -> asyncio.Future[bytes]:
    return asyncio.ensure_future(to_thread(os.pread, fd, min(IMAGE_CHUNK_BYTES, end - at), at))
