"""Images and a cache on a real disk, with the fetches counted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from holdfast.domain.desired import ImageSource
from holdfast.host.imagecache.cache import Cache


def qemu_img(*words: str) -> str:
    return subprocess.run(["qemu-img", *words], check=True, capture_output=True, text=True).stdout


def qemu_io(disk: Path, words: str) -> None:
    """Read or write a qcow2 as a guest does."""
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", words, str(disk)], check=True, capture_output=True)


def make_raw(path: Path, size: int, seed: bytes = b"") -> Path:
    """A sparse file with data at its start, in the middle and after the hole."""
    with open(path, "wb") as file:
        for at in (0, size // 2, size - 65536):
            file.seek(at)
            file.write(hashlib.sha512(seed + str(at).encode()).digest() * 1024)
    return path


class ImageCacheWorld:
    """A host's cache, its instances, and an image service that is a dictionary."""

    def __init__(self, root: Path) -> None:
        self.root, self.fetched = root, list[str]()
        self.instances = root / "instances"
        self.sources: dict[str, Path] = {}
        self.instances.mkdir(exist_ok=True)
        self._lock = threading.Lock()

    def cache(self, fetch: Callable[[ImageSource, Path], str] | None = None) -> Cache:
        return Cache(self.root / "cache", [self.instances], fetch or self.fetch)

    def image(self, disk_format: str = "raw", size: int = 4 << 20, source: Path | None = None) -> ImageSource:
        """A new image; with `source`, of these bytes."""
        image_id = str(uuid.uuid4())
        path = source or make_raw(self.root / f"{image_id}.raw", size, os.urandom(8))
        if source is None and disk_format not in ("raw", "aki", "ari"):
            made = self.root / f"{image_id}.{disk_format}"
            word = {"vhd": "vpc"}.get(disk_format, disk_format)
            qemu_img("convert", "-f", "raw", "-O", word, str(path), str(made))
            path = made
        self.sources[image_id] = path
        data = path.read_bytes()
        return ImageSource(image_id, hashlib.sha512(data).hexdigest(), len(data), disk_format)

    def fetch(self, image: ImageSource, path: Path) -> str:
        with self._lock:
            self.fetched.append(image.id)
        data = self.sources[image.id].read_bytes()
        path.write_bytes(data)
        return hashlib.sha512(data).hexdigest()

    def published(self) -> list[Path]:
        return sorted((self.root / "cache" / "bases").glob("*/disk"))

    def leftovers(self) -> list[Path]:
        return list((self.root / "cache" / "tmp").iterdir())

    def disk_bytes(self, disk: Path, size: int) -> bytes:
        """What a guest would read from the start of a disk."""
        flat = self.root / f"flat-{uuid.uuid4()}"
        qemu_img("convert", "-U", "-f", "qcow2", "-O", "raw", str(disk), str(flat))
        data = flat.read_bytes()[:size]
        flat.unlink()
        return data


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
