"""Many calls from several clients at once, and what is said of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Figures = dict[str, float | int | str]  # one benchmark's result by name; the unit is the end of the name


@dataclass
class Load:
    """What a load took."""

    times_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def per_s(self) -> float:
        return len(self.times_s) / self.wall_s

    def ms(self, part: float) -> float:
        """A quantile of the single calls: 0.5 is the median."""
        ordered = sorted(self.times_s)
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000, 2)


async def load(count: int, clients: int, call: Callable[[int], Awaitable[object]]) -> Load:
    """Run `call(0) ... call(count - 1)`, `clients` at a time. The first that raises ends it all."""
    numbers, done = iter(range(count)), Load()

    async def client() -> None:
        for number in numbers:
            began_s = time.perf_counter()
            await call(number)
            done.times_s.append(time.perf_counter() - began_s)

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    done.wall_s = time.perf_counter() - began_s
    return done


def median_ms(times_s: list[float]) -> float:
    return round(statistics.median(times_s) * 1000, 2)
