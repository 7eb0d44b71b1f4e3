"""Tokens: issued for a password, and validated."""

from __future__ import annotations

from bench.client import Answer
from bench.cloud import Cloud
from bench.load import Figures, load
from bench.processes import CpuUsed


async def tokens(cloud: Cloud, count: int) -> Figures:
    """Calls per second and processor time of one call, with 1 and with 16 clients."""
    await cloud.login()
    body = cloud.login_body()

    async def issue(_: int) -> Answer:
        return await cloud.call("POST", "/identity/v3/auth/tokens", body, want=201)

    async def validate(_: int) -> Answer:
        headers = {"x-subject-token": cloud.token}
        return await cloud.call("GET", "/identity/v3/auth/tokens", headers=headers)

    figures: Figures = {}
    for name, call in (("issue", issue), ("validate", validate)):
        for clients in (1, 16):
            used = CpuUsed(cloud.pids().values())
            done = await load(count, clients, call)
            figures[f"{name}_{clients}_clients_per_s"] = round(done.per_s, 1)
            figures[f"{name}_{clients}_clients_cpu_ms"] = round(used.stop_s() / count * 1000, 2)
    return figures
