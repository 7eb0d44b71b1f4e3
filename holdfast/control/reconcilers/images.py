"""Removes what dead uploads and deleted images left in the image service's directory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from holdfast.control.operations.image_file import image_sweep
from holdfast.control.store.database import Database


class ImageSweep:
    """A file that no row claims, and that nobody writes, goes."""

    name = "images"
    description = "removes files that no image claims and frees images whose upload died"
    period_s = 60.0

    def __init__(self, store: Database, directory: Path) -> None:
        self._store, self._directory = store, directory

    def tick(self) -> Counter[str]:
        return image_sweep(self._store, self._directory)
