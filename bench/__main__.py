"""`python -m bench`: measure, print a table, write JSON. `--quick` takes a minute; without it three.

Benchmarks that need the simulated cloud share one, in the order below; the others bring up their own. One that
fails is named in the table and in the exit status, and the others are measured all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import commands, evacuation, guests, idle, images, kills, machine, network, scale, servers, tokens, yardstick
from bench.cloud import ROOT, Cloud, cloud_up
from bench.load import Figures
from bench.targets import table


class Benchmark(NamedTuple):
    """One benchmark; `run(cloud, size)` measures. `sizes` are the full one and that of --quick."""

    name: str
    run: Callable[[Cloud, int], Awaitable[Figures]]
    sizes: tuple[int, int]


class OwnCloud(NamedTuple):
    """A benchmark that brings up what it needs."""

    name: str
    run: Callable[[int], Awaitable[Figures]]
    sizes: tuple[int, int]


async def _start(_: int) -> Figures:
    return await commands.start()


async def _delete(cloud: Cloud, _: int) -> Figures:
    return await servers.delete(cloud)


async def _kills(cloud: Cloud, _: int) -> Figures:
    return await kills.kills(cloud)


OWN = (
    OwnCloud("bare", yardstick.endpoint, (4000, 1000)),
    OwnCloud("start", _start, (1, 1)),
    OwnCloud("guests", guests.guests, (5, 2)),
    OwnCloud("network", network.network, (200, 40)),
    OwnCloud("hosts", scale.idle_hosts, (90, 30)),
    OwnCloud("dead_host", scale.dead_host, (1000, 200)),
    OwnCloud("evacuation", evacuation.evacuation, (20, 4)),
)
LONG = ("hosts", "dead_host", "evacuation")  # measured when they are asked for
SHARED = (
    Benchmark("idle", idle.idle, (10, 3)),
    Benchmark("commands", commands.commands, (10, 5)),
    Benchmark("tokens", tokens.tokens, (500, 100)),
    Benchmark("create_none", lambda cloud, n: servers.create(cloud, "none", n), (480, 100)),
    Benchmark("create_auto", lambda cloud, n: servers.create(cloud, "auto", n), (480, 100)),
    Benchmark("ports", servers.ports, (480, 100)),
    Benchmark("lists", servers.lists, (1000, 1000)),
    Benchmark("delete", _delete, (1, 1)),
    Benchmark("images", images.images, (512, 64)),
    Benchmark("kills", _kills, (1, 1)),
)
NAMES = tuple(benchmark.name for benchmark in (*OWN, *SHARED))


class Run:
    """What was measured so far."""

    def __init__(self, quick: bool) -> None:
        self.results: dict[str, Figures] = {}
        self.failed: dict[str, str] = {}
        self._quick = quick

    def measure(self, name: str, sizes: tuple[int, int], measuring: Callable[[int], Awaitable[Figures]]) -> None:
        """Run one benchmark, print its figures; a failure is kept and printed."""
        began_s = time.perf_counter()

        async def measured() -> Figures:
            return await measuring(sizes[1] if self._quick else sizes[0])

        try:
            self.results[name] = asyncio.run(measured())
        except Exception as err:  # one benchmark's failure costs only its own figures
            self.failed[name] = f"{type(err).__name__}: {err}"[:500]
            print(f"{name:<13} FAILED {self.failed[name]}", flush=True)
            return
        took_s = time.perf_counter() - began_s
        print(f"{table({name: self.results[name]})}\n{name:<13} took {took_s:.1f} s", flush=True)


def main() -> int:
    """Measure what was asked for; 1 when something could not be measured."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # clouds are removed on the way out
    wanted, run = options.only or NAMES, Run(options.quick)
    about = machine.describe()
    print(" ".join(f"{name}={value}" for name, value in about.items()), flush=True)
    for own in OWN:
        if own.name in LONG and not options.only:
            continue
        if own.name in wanted and (own.name != "guests" or options.only or _guests_possible()):
            run.measure(own.name, own.sizes, own.run)
    if any(benchmark.name in wanted for benchmark in SHARED):
        with cloud_up() as cloud:
            for benchmark in SHARED:
                if benchmark.name in wanted:
                    run.measure(benchmark.name, benchmark.sizes, _on(cloud, benchmark))
    _write(options.json, {"machine": about, "quick": options.quick, "results": run.results, "failed": run.failed})
    return 1 if run.failed else 0


def _on(cloud: Cloud, benchmark: Benchmark) -> Callable[[int], Awaitable[Figures]]:
    async def measuring(size: int) -> Figures:
        try:
            return await benchmark.run(cloud, size)
        finally:
            cloud.close()

    return measuring


def _guests_possible() -> bool:
    possible = os.geteuid() == 0 and shutil.which("qemu-system-x86_64") is not None
    if not possible:
        print("guests        left out: real guests need root and QEMU")
    return possible


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Holdfast on this machine.")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go (default: bench/results)")
    return parser.parse_args()


def _write(path: Path | None, document: dict[str, Any]) -> None:
    if path is None:
        directory = ROOT / "bench" / "results"
        directory.mkdir(exist_ok=True)
        path = directory / time.strftime("%Y%m%d-%H%M%S.json")
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    raise SystemExit(main())
