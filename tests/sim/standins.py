"""What of the product is replaced while a seed runs: clocks, threads, randomness of ids, /proc; and nothing else.

Periods of idle loops that cost much and decide nothing (consoles, spare workers) are stretched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.host.agent import agent, consoles
from holdfast.host.hypervisor.driver import Reason
from holdfast.host.keeper import keep, lease, renewal
from tests.sim.clockwork import Loop, standing_in
from tests.sim.hosts import here
from tests.sim.stores import SeededIds

SHORTER = {
    "HOST_LEASE_S": 12,
    "LEASE_MARGIN_S": 4,
    "HOST_DOWN_S": 9,
    "REPORT_PERIOD_S": 3,
    "FULL_REPORT_S": 9,
    "HEARTBEAT_WINDOW_S": 0,
}
"""Hosts are given up in half the time: a seed costs half. How these bounds stand to each other is kept."""


@contextmanager
def stood_in(running: Loop, tell: Callable[[str], None] | None) -> Iterator[None]:
    """Replace, for one seed."""
    changed: list[tuple[Any, str, Any]] = []

    def put(module: Any, name: str, value: Any) -> None:
        changed.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def everywhere(function: Callable[..., Any], value: Any) -> None:
        for name, module in sorted(sys.modules.items()):
            if name.startswith("holdfast.host") and getattr(module, function.__name__, None) is function:
                put(module, function.__name__, value)

    everywhere(lease.boot_time_s, lambda: here().boot_time_s())
    everywhere(lease.boot_id, lambda: here().boot_id)
    put(keep, "end_guests", lambda _: here().end_machines(Reason.LEASE_LAPSED))
    put(keep, "trim_all", lambda _: None)
    put(renewal, "_exchange", lambda _, request, __: here().exchange(request))
    put(ids, "uuid", SeededIds(running.seed))
    for name, value in SHORTER.items():
        for of, module in sorted(sys.modules.items()):
            if of.startswith("holdfast.") and hasattr(module, name):
                put(module, name, value)
    put(agent, "AGENT_WORKERS", 2)
    put(agent, "MOVE_STEP_S", 1.0)
    put(consoles, "CONSOLE_PERIOD_S", 3600)
    put(logs.Log, "_write", _teller(running, tell))
    try:
        with standing_in(running):
            yield
    finally:
        for module, name, value in reversed(changed):
            setattr(module, name, value)


def _teller(running: Loop, tell: Callable[[str], None] | None) -> Callable[..., None]:
    """The product's log lines: part of a replay's story, and dropped otherwise."""

    def write(self: logs.Log, level: str, event: str, fields: dict[str, object], trace: str = "") -> None:
        if tell is not None:
            words = " ".join(f"{key}={value}" for key, value in {**logs.bound(), **fields}.items())
            tell(f"{running.seconds:10.4f}     {self._name} {event} {words}{chr(10) if trace else ''}{trace}")

    return write
