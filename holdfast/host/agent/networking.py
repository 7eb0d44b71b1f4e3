"""The host's network is applied as a whole, by one thread at a time, and never for one caller alone.

Whoever needs it applied takes a ticket; one application serves every ticket taken before it began, so twenty
machines that start together cost one or two.
"""

from __future__ import annotations

import threading

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.domain.desired import Machine
from holdfast.domain.observed import FloatingReport
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.parts import Network

log = logs.get(__name__)


class Networking:
    """Applies the desk's network state, shared by many callers."""

    def __init__(self, network: Network, desk: Desk) -> None:
        self._network, self._desk = network, desk
        self._turn = threading.Lock()
        self._count = threading.Lock()
        self._tickets = 0
        self._served = 0
        self.floating: tuple[FloatingReport, ...] = ()
        self.problems: tuple[str, ...] = ()

    def applied(self, machine: Machine) -> None:
        """Return once the network was applied with this machine's present record; raises what applying raises."""
        if machine.interfaces:
            self.apply()

    def apply(self) -> None:
        """Return once an application that began after this call has ended."""
        with self._count:
            self._tickets += 1
            mine = self._tickets
        with self._turn:
            if self._served >= mine:
                return
            with self._count:
                serving = self._tickets
            self.floating, self.problems = self._network.apply(self._desk.whole())
            self._served = serving

    def apply_quietly(self) -> bool:
        """Apply, and only log a failure: the next round tries again. Returns whether there is anything new to say."""
        before = (self.floating, self.problems)
        try:
            self.apply()
        except HoldfastError as err:
            self.problems = (f"network: {err.message}",)
            log.warn("network_apply_failed", code=err.code, reason=err.message, detail=err.detail)
        return (self.floating, self.problems) != before
