"""Counts, every 100 ms, on how many processes each guest runs: from the kernel, never from the product.

Several hosts of one machine share one kernel, so their QEMU processes are in one /proc. One that QEMU's own lock on the
disk turns away is a process for a moment and runs nothing: a copy runs where its process holds the lock of a writer.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

PERIOD_S = 0.1
WRITES = 101  # the byte that QEMU locks in an image for the permission to write; the kernel joins it with others
STOPPED = {"T", "Z", "X"}  # frozen by us, or dead


def guests() -> dict[str, list[int]]:
    """The pids of the QEMU processes of each uuid."""
    found: dict[str, list[int]] = defaultdict(list)
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"qemu-system-x86_64") and b"-uuid" in words:
                found[words[words.index(b"-uuid") + 1].decode()].append(int(name))
    return found


def runs(pid: int) -> bool:
    """Whether it goes on, and may write to a disk."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state in STOPPED:
            return False
        return any(locks_to_write(path.read_text()) for path in Path(f"/proc/{pid}/fdinfo").iterdir())
    except OSError:
        return False  # it ended while we looked


def locks_to_write(fdinfo: str) -> bool:
    ranges = [line.split()[-2:] for line in fdinfo.splitlines() if "OFDLCK" in line]
    return any(int(first) <= WRITES and (last == "EOF" or int(last) >= WRITES) for first, last in ranges)


class Sampler:
    """Looks until it is stopped; `doubles` are the samples in which a guest ran twice."""

    def __init__(self) -> None:
        self.samples, self.met, self.doubles = 0, 0, list[str]()
        self.seen = set[str]()  # the guests that ever had a process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(PERIOD_S):
            self.samples += 1
            for uuid, pids in guests().items():
                self.seen.add(uuid)
                if len(pids) > 1:
                    self.met += 1  # two processes: one of them should be about to be turned away, or to end
                    running = [pid for pid in pids if runs(pid)]
                    if len(running) > 1:
                        self.doubles.append(f"{uuid} runs as {running}")
