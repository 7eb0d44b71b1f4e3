"""`up` with the simulated hypervisor, and the command line beside a Python that does nothing."""

from __future__ import annotations

from bench import yardstick
from bench.cloud import Cloud, cloud_directory
from bench.load import Figures


async def start() -> Figures:
    """`up` from nothing, and once more."""
    with cloud_directory() as cloud:
        return {"up_s": round(cloud.up(), 2), "second_up_s": round(cloud.up(), 2)}


async def commands(cloud: Cloud, runs: int) -> Figures:
    """`holdfast list`, its token cached as it usually is, and `python -c pass`: medians."""
    bare_ms = yardstick.python_ms(runs)
    cloud.run("list")
    list_ms = yardstick.times_ms(cloud.command("list"), cloud.environment, runs)
    return {"python_ms": bare_ms, "list_ms": list_ms, "list_by_python": round(list_ms / bare_ms, 1)}
