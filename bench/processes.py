"""What processes cost, read from /proc: processor time and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds of one process so far, its threads included, its children not; 0 for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def started_s(pid: int) -> float:
    """The instant at which a process began, to the hundredth of a second."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / TICKS_PER_S


def pss_bytes(pid: int) -> int:
    """Memory of one process, shared pages counted in proportion; 0 for one that is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(b"Pss:")) * 1024


class CpuUsed:
    """Processor seconds of some processes since this was made."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._before = {pid: cpu_s(pid) for pid in pids}

    def stop_s(self) -> float:
        return sum(cpu_s(pid) - before for pid, before in self._before.items())
