"""How image bytes reach a host: over HTTP and resumed, or linked where the image service's file can be seen.

Both return the sha512 of what they put on disk and judge nothing: the cache compares. A reply that is no plain
200, or 206 for the very range asked, is refused; redirections are not followed, for the token must not wander.
"""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from holdfast.base import log as logs
from holdfast.base.clock import Clock
from holdfast.base.errors import NotFound, Unavailable
from holdfast.base.limits import (
    IMAGE_CHUNK_BYTES,
    IMAGE_FETCH_S,
    IMAGE_FETCH_TRIES,
    IMAGE_STALL_BYTES,
    IMAGE_STALL_S,
)
from holdfast.domain.desired import ImageSource
from holdfast.host.dial import ControlPlane
from holdfast.host.imagecache.bases import Fetch
from holdfast.host.imagecache.disk import sha512_of, troubles_named

log = logs.get(__name__)
PAUSE_S = 0.25  # before the first resumption; doubled each time, to PAUSE_MOST_S
PAUSE_MOST_S = 5.0


class Interrupted(Exception):
    """The connection broke, stalled, or the server has a bad moment: worth resuming."""


class HttpFetch:
    """Fetches from the control plane, which is dialled anew for each attempt."""

    def __init__(self, control: ControlPlane, clock: Clock, pause: Callable[[float], object]) -> None:
        """`pause` waits some seconds between attempts: an event's wait, so that an agent that stops need not stay."""
        self._control, self._clock, self._pause = control, clock, pause

    def __call__(self, image: ImageSource, path: Path) -> str:
        """Make the file, within IMAGE_FETCH_S; raises NotFound, Unavailable or NoCapacity."""
        deadline_s = self._clock.monotonic_s() + IMAGE_FETCH_S
        failures = 0
        with ThreadPoolExecutor(1, "hash") as pool, _Sink(path, image.size_bytes, pool) as sink:
            while True:
                before = sink.size_bytes
                try:
                    self._receive(image, sink, deadline_s)
                    return sink.digest()
                except (OSError, http.client.HTTPException, Interrupted) as err:
                    failures = 0 if sink.size_bytes - before >= IMAGE_STALL_BYTES else failures + 1
                    reason = str(err) or type(err).__name__
                    self._control.failed()
                log.warn("image_fetch_interrupted", image=image.id, at_bytes=sink.size_bytes, reason=reason)
                if failures >= IMAGE_FETCH_TRIES or self._clock.monotonic_s() >= deadline_s:
                    raise Unavailable(f"image {image.id} cannot be fetched now: {reason}", code="image_fetch_failed")
                self._pause(min(PAUSE_S * 2**failures, PAUSE_MOST_S))

    def _receive(self, image: ImageSource, sink: _Sink, deadline_s: float) -> None:
        """One connection: append what it gives until the image is whole."""
        try:
            connection = self._control.connect(IMAGE_STALL_S)
        except Unavailable as err:
            raise Interrupted(err.message) from err
        try:
            headers = {"Range": f"bytes={sink.size_bytes}-"} if sink.size_bytes else {}
            connection.ask("GET", f"/images/{image.id}/file", headers=headers)
            response = connection.getresponse()
            _require_answer(image, response, sink)
            self._drain(image, response, sink, deadline_s)
        finally:
            connection.close()

    def _drain(self, image: ImageSource, response: http.client.HTTPResponse, sink: _Sink, deadline_s: float) -> None:
        window_s, window_bytes = self._clock.monotonic_s() + IMAGE_STALL_S, sink.size_bytes
        while data := response.read1(IMAGE_CHUNK_BYTES):
            sink.put(data)
            now_s = self._clock.monotonic_s()
            if now_s >= deadline_s:
                raise Interrupted("it takes too long")
            if now_s >= window_s:
                if sink.size_bytes - window_bytes < IMAGE_STALL_BYTES:
                    raise Interrupted("it comes too slowly")
                window_s, window_bytes = now_s + IMAGE_STALL_S, sink.size_bytes
        if sink.size_bytes < image.size_bytes:
            raise Interrupted(f"the connection ended after {sink.size_bytes} of {image.size_bytes} bytes")


def _require_answer(image: ImageSource, response: http.client.HTTPResponse, sink: _Sink) -> None:
    """Accept the rest of the image, or the whole of it again; raise for everything else."""
    if response.status == 200:
        sink.restart()
        return
    begins = f"bytes {sink.size_bytes}-"
    if response.status == 206 and response.headers.get("Content-Range", "").startswith(begins):
        return
    if response.status == 404:
        raise NotFound(f"image {image.id} is not in the image service any more", code="image_not_found")
    if response.status >= 500:
        raise Interrupted(f"the image service answers {response.status}")
    raise Unavailable(f"image {image.id} cannot be fetched: the image service answers {response.status}")


class _Sink:
    """A file that is written and hashed at once; the hash of one chunk is taken while the next one comes."""

    def __init__(self, path: Path, limit_bytes: int, pool: ThreadPoolExecutor) -> None:
        self._path, self._limit_bytes, self._pool = path, limit_bytes, pool
        self.size_bytes = 0
        self._sha512 = hashlib.sha512()
        self._parts: list[bytes] = []
        self._pending_bytes = 0
        self._busy: Future[None] | None = None

    def __enter__(self) -> _Sink:
        with troubles_named(self._path):
            self._file: BinaryIO = open(self._path, "xb", buffering=0, opener=_private)
        return self

    def __exit__(self, *_: object) -> None:
        if self._busy is not None:
            self._busy.exception()  # waits; what it says was said by `_flush`
        self._file.close()

    def put(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.size_bytes > self._limit_bytes:
            raise Unavailable("the image service sends more bytes than the image has", code="image_digest_mismatch")
        self._parts.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= IMAGE_CHUNK_BYTES:
            self._flush()

    def restart(self) -> None:
        """Forget what came so far: the server sends all of it again."""
        self._flush()
        self._settle()
        with troubles_named(self._path):
            self._file.seek(0)
            self._file.truncate()
        self.size_bytes, self._sha512 = 0, hashlib.sha512()

    def digest(self) -> str:
        self._flush()
        self._settle()
        return self._sha512.hexdigest()

    def _flush(self) -> None:
        chunk, self._parts, self._pending_bytes = b"".join(self._parts), [], 0
        self._settle()
        self._busy = self._pool.submit(self._write, chunk)

    def _write(self, chunk: bytes) -> None:
        self._sha512.update(chunk)
        view = memoryview(chunk)
        with troubles_named(self._path):
            while view:
                view = view[self._file.write(view) :]

    def _settle(self) -> None:
        if self._busy is not None:
            busy, self._busy = self._busy, None
            busy.result()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


class NearFetch:
    """Takes the image service's own file where it can be seen from here, and `otherwise` where not.

    A hard link costs nothing: that file is never written again. Across filesystems the kernel copies.
    """

    def __init__(self, find: Callable[[ImageSource], Path | None], otherwise: Fetch) -> None:
        self._find, self._otherwise = find, otherwise

    def __call__(self, image: ImageSource, path: Path) -> str:
        """Make the file; raises what `otherwise` raises."""
        near = self._find(image)
        if near is None:
            return self._otherwise(image, path)
        try:
            os.link(near, path)
        except OSError:
            try:
                _copy(near, path)
            except FileNotFoundError:  # deleted meanwhile
                return self._otherwise(image, path)
        return sha512_of(path)


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb", buffering=0) as near, open(target, "xb", buffering=0, opener=_private) as here:
        while os.copy_file_range(near.fileno(), here.fileno(), 1 << 30):
            continue


def find_in(directory: Path) -> Callable[[ImageSource], Path | None]:
    """Look for an image's file in the image service's directory: `ID.UPLOAD`, of the right size."""

    def find(image: ImageSource) -> Path | None:
        try:
            for path in directory.glob(f"{image.id}.*"):
                if path.suffix != ".part" and path.stat().st_size == image.size_bytes:
                    return path
        except OSError as err:
            log.warn("image_near_unreadable", image=image.id, reason=str(err))
        return None

    return find
