"""What an idle cloud takes: memory, and processor time over some seconds."""

from __future__ import annotations

import asyncio

from bench.cloud import Cloud
from bench.load import Figures
from bench.processes import CpuUsed, pss_bytes

SETTLE_S = 2  # after whatever ran before


async def idle(cloud: Cloud, seconds: int) -> Figures:
    """Memory of each process (shared pages in proportion), and percent of one core."""
    await asyncio.sleep(SETTLE_S)
    pids = cloud.pids()
    used = CpuUsed(pids.values())
    await asyncio.sleep(seconds)
    percent = used.stop_s() / seconds * 100
    memory = {name: pss_bytes(pid) for name, pid in pids.items()}
    figures: Figures = {f"{name}_pss_mb": round(size / 1e6, 1) for name, size in memory.items()}
    return {"pss_mb": round(sum(memory.values()) / 1e6, 1), **figures, "cpu_percent_of_a_core": round(percent, 2)}
