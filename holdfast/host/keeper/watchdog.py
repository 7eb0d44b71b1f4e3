"""A hardware watchdog: the host's last resort when an enforced lease has lapsed and its guests do not end.

It is armed only while a lease enforces, and only when an operator named the device. While it is armed the
keeper has to touch it; a keeper that is dead, or whose guests outlive the lease, does not, and the host resets.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.base.log import get

log = get(__name__)

_DISARM = b"V"  # the kernel's magic close: without it the timer goes on when the device is closed


class Watchdog:
    """One device, or none. Never raises: a watchdog that cannot be reached must not stop the countdown."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._handle: int | None = None

    def keep(self, armed: bool, healthy: bool) -> None:
        """Arm, touch or disarm it; armed and not healthy: leave it alone until it bites."""
        try:
            if armed and healthy:
                self._touch()
            elif not armed and self._handle is not None:
                os.write(self._handle, _DISARM)
                os.close(self._handle)
                self._handle = None
        except OSError as err:
            log.warn("watchdog_failed", reason=str(err))

    def _touch(self) -> None:
        if self._path is None:
            return
        if self._handle is None:
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            log.info("watchdog_armed", path=self._path)
        os.write(self._handle, b"\0")
