"""Notices that the store's clock was set back, and lets nothing wait until it is where it was."""

from __future__ import annotations

from collections import Counter

from holdfast.base import log as logs
from holdfast.base.limits import RECONCILE_PERIOD_S
from holdfast.control.store.database import Database
from holdfast.control.store.fencing.clock import clock_was_set_back, instants_draw_back

log = logs.get(__name__)


class ClockSetBack:
    """One per replica; two that notice it at once do the same."""

    name = "clock"
    description = "draws back what was written before the store's clock was set back"
    period_s = float(RECONCILE_PERIOD_S)

    def __init__(self, store: Database) -> None:
        self._store = store

    def tick(self) -> Counter[str]:
        if not self._store.read(clock_was_set_back):
            return Counter()
        drawn = self._store.write(instants_draw_back)
        log.warn("clock_was_set_back", instants=drawn)
        return +Counter(drawn=drawn)
