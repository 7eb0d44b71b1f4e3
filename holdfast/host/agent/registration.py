"""Which incarnation of its host this agent speaks for.

Registering begins a new one. The keeper asks for the lease with the number that is in the file, and the file is
written only once the whole desired state of that incarnation is known: a lease never covers an older one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from holdfast.host.keeper.lease import INCARNATION_FILE, boot_id, read_incarnation


class Registration:
    """One host's, shared by the agent's threads."""

    def __init__(self, home: Path) -> None:
        self._file = home / INCARNATION_FILE
        self.boot_id, self.machine = boot_id(), machine_digest(home)
        self.number = 0  # 0: not registered
        self.there = threading.Event()  # set while registered

    def registered(self, number: int) -> None:
        self.number = number
        self.there.set()

    def lost(self) -> None:
        """The control plane speaks to another incarnation, or fenced this one."""
        self.number = 0
        self.there.clear()

    def publish(self) -> None:
        """Let the keeper ask for the lease of this incarnation."""
        if self.number and read_incarnation(self._file) != self.number:
            temporary = self._file.with_suffix(".new")
            temporary.write_text(f"{self.number}\n")
            os.replace(temporary, self._file)


def machine_digest(home: Path) -> str:
    """What tells this host from a copy of its directory: the machine that it is on, and where it is there."""
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""  # a machine without one is told by the path alone
    return hashlib.sha256(f"{machine} {home.resolve()}".encode()).hexdigest()
