"""What the machine does without us: a bare endpoint under the same HTTP server, a process, a copy, a digest.

Every other figure is read against these, since absolute times differ from machine to machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.client import Http
from bench.cloud import ROOT, Failed
from bench.load import Figures, load

BODY = json.dumps({"ok": True, "words": "x" * 400}).encode()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
START_TRIES = 200


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least that an ASGI application can do."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


async def endpoint(calls: int) -> Figures:
    """Calls per second of the bare endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--port", str(port), "--log-level", "critical", "--no-access-log", "--lifespan", "off"]
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", "bench.yardstick:application", *flags], cwd=ROOT)
    try:
        http = Http("127.0.0.1", port)
        await _answering(http)
        figures: Figures = {}
        for clients in (1, 16):
            done = await load(calls, clients, lambda _: http.request("GET", "/"))
            figures[f"bare_{clients}_clients_per_s"] = round(done.per_s, 1)
        http.close()
        return figures
    finally:
        process.kill()
        process.wait()


async def _answering(http: Http) -> None:
    for _ in range(START_TRIES):
        try:
            await http.request("GET", "/")
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise Failed("the yardstick's server did not start")


def python_ms(runs: int) -> float:
    """A Python that does nothing, median."""
    return times_ms([sys.executable, "-c", "pass"], dict(os.environ), runs)


def times_ms(command: list[str], environment: dict[str, str], runs: int) -> float:
    """Start to end of a command, median of some runs."""
    times = []
    for _ in range(runs):
        began_s = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began_s)
    return round(statistics.median(times) * 1000, 1)


def file_make(path: Path, mib: int) -> None:
    """A file of random bytes, in the page cache."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))


def copy_rates(source: Path) -> Figures:
    """MB/s of cp and of sha512sum on a file."""
    size_mb = source.stat().st_size / 1e6
    with tempfile.TemporaryDirectory(dir=source.parent) as room:
        copying_s = _timed(["cp", str(source), f"{room}/copy"])
    digesting_s = _timed(["sha512sum", str(source)])
    return {"cp_mb_per_s": round(size_mb / copying_s), "sha512sum_mb_per_s": round(size_mb / digesting_s)}


def _timed(command: list[str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s
