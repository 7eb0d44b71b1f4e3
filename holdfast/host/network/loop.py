"""One thread that attends to sockets: metadata and name answers of all networks share it.

Whatever is attended must not block. A handler that raises is logged and its socket goes on; the thread ends
with `close` only, so one guest's connection never ends the service of all.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable

from holdfast.base import log as logs
from holdfast.base.limits import LOOP_CALL_S, LOOP_TICK_S

log = logs.get(__name__)
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Loop:
    """A selector and its thread, which starts with the first `call`."""

    def __init__(self) -> None:
        self._todo: deque[Callable[[], None]] = deque()
        self._ticks: list[Callable[[], None]] = []
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_read, READ, self._run_todo)
        self._thread: threading.Thread | None = None
        self._closing = False

    def call(self, act: Callable[[], None]) -> None:
        """Have the loop's thread do something, and wait until it is done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="network-loop", daemon=True)
            self._thread.start()
        done = threading.Event()

        def act_and_say() -> None:
            try:
                act()
            finally:
                done.set()

        self._todo.append(act_and_say)
        os.write(self._wake_write, b".")
        done.wait(LOOP_CALL_S)

    def watch(self, sock: socket.socket, events: int, attend: Callable[[], None]) -> None:
        """Attend to a socket from now on, or in another way than before; from the loop's thread only."""
        if sock in self._selector.get_map():
            self._selector.modify(sock, events, attend)
        else:
            self._selector.register(sock, events, attend)

    def drop(self, sock: socket.socket) -> None:
        """Close a socket and attend to it no more; from the loop's thread only."""
        if sock.fileno() >= 0:
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            sock.close()

    def tick(self, act: Callable[[], None]) -> None:
        """Do something at least every LOOP_TICK_S, for time limits; before the first `call` only."""
        self._ticks.append(act)

    def close(self) -> None:
        """End the thread; sockets that are still watched are closed."""
        if self._closing:
            return
        self._closing = True
        if self._thread is not None:
            os.write(self._wake_write, b".")
            self._thread.join()
        for key in [*self._selector.get_map().values()]:
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(timeout=LOOP_TICK_S):
                self._guarded(key.data)
            for act in self._ticks:
                self._guarded(act)

    def _run_todo(self) -> None:
        os.read(self._wake_read, 512)
        while self._todo:
            self._todo.popleft()()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            log.exception("network_loop_handler_failed")
