"""Sends what guests write to their serial consoles, so that it is readable while their host is away or gone.

Positions are those of the host's file. What was sent is known to the control plane, which answers how far it
knows each console: a restarted agent sends everything once more and nothing is written twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import CONSOLE_PERIOD_S, CONSOLE_PIECE_BYTES
from holdfast.domain.observed import ConsolePiece
from holdfast.host.agent.link import Link
from holdfast.host.hypervisor.driver import Hypervisor

log = logs.get(__name__)


class Consoles:
    """Follows the console files of one host."""

    def __init__(self, hypervisor: Hypervisor, make_link: Callable[[], Link]) -> None:
        self._hypervisor, self._make_link = hypervisor, make_link
        self._known: dict[str, int] = {}

    def run(self, stopping: threading.Event) -> None:
        """Follow until told to stop."""
        link = self._make_link()
        while not stopping.wait(CONSOLE_PERIOD_S):
            try:
                self.send(link)
            except HoldfastError as err:
                log.debug("consoles_not_sent", reason=err.message)

    def send(self, link: Link) -> None:
        """Send what is new, in one call."""
        sizes = self._hypervisor.console_sizes()
        pieces = [piece for i, size in sizes.items() if (piece := self._piece(i, size)) is not None]
        if pieces:
            self._known |= link.consoles(tuple(pieces))
        self._known = {i: end for i, end in self._known.items() if i in sizes}

    def _piece(self, instance_id: str, size: int) -> ConsolePiece | None:
        known = self._known.get(instance_id, 0)
        if size == known:
            return None
        restarted = size < known
        start = max(0 if restarted else known, size - CONSOLE_PIECE_BYTES)
        data = self._hypervisor.console(instance_id, size - start)
        return ConsolePiece(instance_id, start, data, restarted)
