"""Time, from one place, so that a test can hold it.

An instant is an integer: microseconds since the epoch, UTC. Never text, never naive: a store once
compared two formats of the same instant as strings and recycled addresses that were in use (seed 002).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

SECOND_US = 1_000_000


class Clock(Protocol):
    """What everything that needs the time is given."""

    def now_us(self) -> int:
        """Wall clock, microseconds since the epoch."""

    def monotonic_s(self) -> float:
        """Seconds that never go back; for bounds and leases inside one process."""


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()


def iso_z(instant_us: int) -> str:
    """Return `2026-11-21T03:20:00Z`: whole seconds, as Nova and Glance write instants."""
    return _words(instant_us // SECOND_US) + "Z"


def iso_micros(instant_us: int) -> str:
    """Return `2026-11-21T03:20:00.000000Z`, as Keystone writes instants."""
    return f"{_words(instant_us // SECOND_US)}.{instant_us % SECOND_US:06d}Z"


@lru_cache(maxsize=4096)  # 100 bytes each: a list of a thousand servers names three thousand instants, again and again
def _words(instant_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant_s))


def parse_iso(text: str) -> int:
    """Return the instant that an ISO 8601 text names; text without a zone is UTC.

    Raises ValueError for anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND_US + delta.microseconds
