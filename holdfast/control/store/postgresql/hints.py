"""Wake-ups between the replicas of one PostgreSQL: what one has committed, the others look at soon.

Only hints, as in `control/signals`: one that is lost costs a period, and after a new connection everybody looks.
They are sent after the commit and not in it, where each would wait for all others, together for all that was
committed meanwhile, and on connections that no transaction uses.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.limits import STORE_HINT_PAUSE_S
from holdfast.control.signals import Signals

log = logs.get(__name__)
_CHANNEL = "holdfast"
_SEND = text(f"SELECT pg_notify('{_CHANNEL}', :words)")


class Hints:
    """The sending and hearing of one process, in two threads."""

    def __init__(self, engine: Engine, signals: Signals) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._signals, self._me = signals, ids.new_id()
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._due, self._stopping = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._sending, name="hints-out", daemon=True),
            threading.Thread(target=self._hearing, name="hints-in", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, topics: Iterable[str]) -> None:
        """Tell the others, soon."""
        with self._lock:
            self._topics.update(topics)
        self._due.set()

    def close(self) -> None:
        """End both threads."""
        self._stopping.set()
        self._due.set()
        for thread in self._threads:
            thread.join()

    def _sending(self) -> None:
        while self._due.wait() and not self._stopping.is_set():
            self._due.clear()  # before the topics are taken: what comes meanwhile is sent in the next round
            with self._lock:
                topics, self._topics = self._topics, set()
            if not topics:
                continue
            try:
                with self._engine.connect() as connection:
                    connection.execute(_SEND, {"words": " ".join([self._me, *sorted(topics)])})
            except SQLAlchemyError as err:
                log.info("hint_not_sent", reason=type(err).__name__)
                self._stopping.wait(STORE_HINT_PAUSE_S)

    def _hearing(self) -> None:
        while not self._stopping.is_set():
            try:
                self._hear()
            except Exception as err:  # whatever ends the connection: there is another one
                log.info("hints_not_heard", reason=type(err).__name__)
                self._stopping.wait(STORE_HINT_PAUSE_S)

    def _hear(self) -> None:
        borrowed = self._engine.raw_connection()
        connection: Any = borrowed.driver_connection
        borrowed.detach()  # it stays open for as long as the process lives: the pool has others
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")
            self._signals.notify_all()  # what was said before is not known
            while not self._stopping.is_set():
                for note in connection.notifies(timeout=1.0):
                    sender, *topics = note.payload.split()
                    for topic in topics if sender != self._me else ():
                        self._signals.notify(topic)
        finally:
            connection.close()
