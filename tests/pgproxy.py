"""A relay before a PostgreSQL that breaks connections at the worst moment: around a commit."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

COMMIT = b"COMMIT\0"


class Relay:
    """Listens on a socket in `home`; `cut` is asked at each commit, and answers "" to leave it alone.

    "before": the server never sees it. "during": it does, and nobody waits. "after": it answers, and nobody hears it.
    """

    def __init__(self, home: Path, url: str, cut: Callable[[], str]) -> None:
        head, _, directory = url.partition("?host=")
        self.url = f"{head}?host={home}"
        self._server, self._cut = Path(directory) / ".s.PGSQL.5432", cut
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / ".s.PGSQL.5432"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, suppress(OSError):
            server.connect(str(self._server))
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    how = self._cut() if ready is client and COMMIT in data else ""
                    if how == "before":
                        return
                    (server if ready is client else client).sendall(data)
                    if how == "after":
                        server.recv(1 << 16)
                    if how:
                        return
