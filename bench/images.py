"""A large image up and down, beside cp and sha512sum of the same file."""

from __future__ import annotations

import time

from bench import yardstick
from bench.cloud import Cloud, Failed
from bench.load import Figures
from bench.processes import CpuUsed


async def images(cloud: Cloud, mib: int) -> Figures:
    """MB/s of an upload, digests included, and of a download."""
    await cloud.login()
    source = cloud.home / "image"
    yardstick.file_make(source, mib)
    size_mb = source.stat().st_size / 1e6
    figures = {"mib": mib, **yardstick.copy_rates(source)}
    wanted = {"name": "bench-large", "disk_format": "raw", "container_format": "bare"}
    image_id = (await cloud.call("POST", "/image/v2/images", wanted, want=201)).json["id"]
    path = f"/image/v2/images/{image_id}/file"

    used, began_s = CpuUsed(cloud.pids().values()), time.perf_counter()
    await cloud.call("PUT", path, want=204, source=source)
    figures["upload_mb_per_s"] = round(size_mb / (time.perf_counter() - began_s))
    figures["upload_cpu_s"] = round(used.stop_s(), 2)

    got = 0

    def take(data: bytes) -> None:
        nonlocal got
        got += len(data)

    used, began_s = CpuUsed(cloud.pids().values()), time.perf_counter()
    await cloud.call("GET", path, sink=take)
    figures["download_mb_per_s"] = round(size_mb / (time.perf_counter() - began_s))
    figures["download_cpu_s"] = round(used.stop_s(), 2)
    if got != source.stat().st_size:
        raise Failed(f"the download has {got} bytes")
    await cloud.call("DELETE", f"/image/v2/images/{image_id}", want=204)
    source.unlink()
    return figures
