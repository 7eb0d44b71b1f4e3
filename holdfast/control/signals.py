"""Wake-ups inside one process; `store/postgresql/hints` carries them to others.

Only hints: whoever waits also looks by itself, on its own period.

A topic is `operations` or `host:ID`. Notifying never blocks and never fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Signals:
    """Who wants to know what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, list[Callable[[], None]]] = {}

    def listen(self, topic: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, in the notifier's thread, at each notification; returns what ends it."""
        with self._lock:
            self._listeners.setdefault(topic, []).append(callback)

        def end() -> None:
            with self._lock:
                listeners = self._listeners.get(topic, [])
                if callback in listeners:
                    listeners.remove(callback)
                if not listeners:
                    self._listeners.pop(topic, None)

        return end

    def notify(self, topic: str) -> None:
        with self._lock:
            listeners = list(self._listeners.get(topic, ()))
        for callback in listeners:
            callback()

    def notify_all(self) -> None:
        """Whoever listens to anything looks."""
        with self._lock:
            topics = list(self._listeners)
        for topic in topics:
            self.notify(topic)
