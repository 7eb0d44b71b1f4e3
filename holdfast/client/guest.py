"""What a guest says of its boot on its console: the lines of our own guests, and the last words of others.

A console is a guest's own text: it is read for hints and never believed about anything but that guest.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(
    r"^(?:Booting from \S+\.\.\.?)?holdfast-guest: ([a-z]{1,20})\b[^\n]{0,80} at (\d{1,7}\.\d{1,3})s$", re.M
)
_OTHERS = (re.compile(r"^Cloud-init v\. \S+ finished at", re.M), re.compile(r"\blogin: ?$", re.M))
READY = "ready"
SHOWN = ("kernel", "dhcp", "metadata", "sshd", READY)


class Boot(NamedTuple):
    """How far a boot is. `stages`: seconds since the guest's kernel started, by stage."""

    ready: bool
    stages: dict[str, float]

    @property
    def words(self) -> str:
        """`kernel 0.4s, dhcp 0.9s, metadata 1.1s, ready 1.2s`"""
        return ", ".join(f"{name} {at_s:.1f}s" for name, at_s in self.stages.items())


def boot_of(console: str) -> Boot:
    """Read the last boot in a console."""
    text = console.replace("\r", "")
    stages: dict[str, float] = {}
    for match in _LINE.finditer(text):
        name = match[1]
        if name == SHOWN[0]:
            stages = {}  # it booted again: what it said before is another boot's
        if name in SHOWN:
            stages.setdefault(name, float(match[2]))
    return Boot(READY in stages or any(sign.search(text) for sign in _OTHERS), stages)
