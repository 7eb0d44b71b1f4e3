"""Waiting for a condition, with a bound: no test sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(look: Callable[[], object], timeout_s: float = 20) -> None:
    """Return once `look` is true."""
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
