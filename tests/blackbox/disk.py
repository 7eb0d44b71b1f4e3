"""A small ext4 on a loop device, whose power can be cut: what was not synced until then is gone."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
DISK_MIB = 24
SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN: from here on nothing more reaches the disk


@dataclass
class LoopDisk:
    """A file with a filesystem, and where it is mounted."""

    backing: Path
    mounted: Path

    def make(self) -> None:
        self.mounted.mkdir(exist_ok=True)
        with open(self.backing, "wb") as file:
            file.truncate(DISK_MIB * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.backing)], check=True)
        self.mount()

    def mount(self) -> None:
        """The first time after a cut this replays the journal."""
        subprocess.run(["mount", "-o", "loop", str(self.backing), str(self.mounted)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.mounted)], check=True)

    def cut(self) -> None:
        """The power goes now; whoever still writes gets errors."""
        directory = os.open(self.mounted, os.O_RDONLY)
        fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        os.close(directory)
