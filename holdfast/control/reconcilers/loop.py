"""The loop of the reconcilers: each in its turn, on its own period, for as long as the process lives.

One that fails is logged and has its next turn; it never stops the others.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from holdfast.base import log as logs

log = logs.get(__name__)


class Reconciler(Protocol):
    """One kind of drift. `tick` re-reads the world and repairs a bounded part of it."""

    name: str
    description: str
    period_s: float

    def tick(self) -> Counter[str]:
        """Repair, and count what was done by its kind."""


class Reconcilers:
    """Runs them all in one thread."""

    def __init__(self, reconcilers: Sequence[Reconciler]) -> None:
        self._reconcilers = tuple(reconcilers)
        self._stopping = threading.Event()

    def run_forever(self) -> None:
        """Tick until `stop`."""
        due = dict.fromkeys((r.name for r in self._reconcilers), 0.0)
        while not self._stopping.is_set():
            for reconciler in self._reconcilers:
                if time.monotonic() >= due[reconciler.name]:
                    self.tick(reconciler)
                    due[reconciler.name] = time.monotonic() + reconciler.period_s
            pause_s = min(due.values(), default=1.0) - time.monotonic()
            self._stopping.wait(max(pause_s, 0.05))

    def tick(self, reconciler: Reconciler) -> None:
        """One turn of one reconciler."""
        try:
            outcomes = reconciler.tick()
        except Exception:  # the boundary of one turn: the next one re-reads the world
            log.exception("reconciler_failed", reconciler=reconciler.name)
            return
        if outcomes:
            log.info("reconciler_ticked", reconciler=reconciler.name, **outcomes)

    def stop(self) -> None:
        self._stopping.set()
