"""Each process killed with -9 in the middle of 24 accepted builds: how many become ACTIVE.

A client whose request broke off repeats it with the same Idempotency-Key, as a client may; a connection that is
refused ends the benchmark.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from dataclasses import dataclass, field

from bench import servers
from bench.client import Answer
from bench.cloud import Cloud, Failed
from bench.load import Figures, load
from holdfast.host.hypervisor.simulated import Knobs, set_knobs

BUILDS, KILLED_AFTER, CLIENTS = 24, 12, 8
START_S = 0.2  # of a simulated guest: builds are under way when the process dies
REPEATS = 20
PROCESSES = ("control", "agent", "keeper", "supervisor")


@dataclass
class Builds:
    """What was accepted, and what clients met."""

    accepted: list[str] = field(default_factory=list)
    resets: int = 0


async def kills(cloud: Cloud) -> Figures:
    """Servers ACTIVE of 24, and seconds from the kill until the last of them was, for each process."""
    await cloud.login()
    set_knobs(cloud.host_directory, Knobs(start_s=START_S))
    figures: Figures = {}
    try:
        for process in PROCESSES:
            figures |= await _kill(cloud, process)
    finally:
        set_knobs(cloud.host_directory, Knobs())
    return figures


async def _kill(cloud: Cloud, process: str) -> Figures:
    body, builds = await servers.server_body(cloud, "auto"), Builds()
    killed_s = 0.0

    async def one(number: int) -> None:
        nonlocal killed_s
        if number == KILLED_AFTER:
            killed_s = time.perf_counter()
            os.kill(cloud.pids()[process], signal.SIGKILL)
        answer = await post_until_answered(cloud, body, builds)
        builds.accepted.append(answer.json["server"]["id"])

    await load(BUILDS, CLIENTS, one)
    if process == "supervisor":
        await asyncio.to_thread(cloud.up)
    active = 0
    for server_id in builds.accepted:
        try:
            await servers.until_active(cloud, server_id)
            active += 1
        except Failed:
            continue
    return {
        f"{process}_active_of_{BUILDS}": active,
        f"{process}_distinct": len(set(builds.accepted)),
        f"{process}_all_active_after_s": round(time.perf_counter() - killed_s, 2),
        f"{process}_requests_broken": builds.resets,
    }


async def post_until_answered(cloud: Cloud, body: object, builds: Builds) -> Answer:
    """POST a server; a request that breaks off is repeated with the same key."""
    headers = {"idempotency-key": str(uuid.uuid4())}
    for _ in range(REPEATS):
        try:
            return await cloud.call("POST", servers.SERVERS, body, want=202, headers=headers)
        except ConnectionRefusedError:
            raise
        except OSError:
            builds.resets += 1
    raise Failed(f"a request broke off {REPEATS} times")
