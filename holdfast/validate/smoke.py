"""A smoke test: clients side by side, each going through the ten steps again and again, nothing left behind.

What the project has is listed before and after with the same credentials; anything that is new afterwards is a
failure, whoever made it, unless its name says that another smoke test did.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from holdfast.validate.steps import FAILED, Addresses, Loop, Result, Side

PREFIX = "smoke-"
INTERRUPT_SEEN_S = 0.2  # a signal may reach another thread than the one that waits
Inventory = Callable[[], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is asked for."""

    loops: int = 1
    clients: int = 1
    keep_failed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run. `left`: what it should have removed, and did not."""

    results: list[Result]
    left: list[str]
    took_s: float
    stopped: bool = False  # before its end

    @property
    def failed(self) -> bool:
        return self.stopped or bool(self.left) or any(result.outcome == FAILED for result in self.results)


def smoke_run(
    plan: Plan,
    make_side: Callable[[str], Side],
    inventory: Inventory,
    tell: Callable[[Result], None],
    stop: threading.Event,
) -> Outcome:
    """Run it to the end, or until `stop` is set, which an interrupt does.

    `make_side(name)` is called once per loop, `tell` after each step, one at a time.
    """
    run = f"{PREFIX}{secrets.token_hex(4)}"
    before, began_s = inventory(), time.monotonic()
    addresses, lock = Addresses(), threading.Lock()
    results: list[Result] = []

    def told(result: Result) -> None:
        with lock:
            results.append(result)
            tell(result)

    def client(number: int) -> None:
        for loop in range(1, plan.loops + 1):
            if not stop.is_set():
                side = make_side(f"{run}-{number}-{loop}")
                Loop(side, addresses, number, loop, told, plan.keep_failed, stop).run()

    _all_run([partial(client, number) for number in range(1, plan.clients + 1)], stop)
    left = leftovers(before, inventory(), run)
    return Outcome(results, left, time.monotonic() - began_s, stop.is_set())


def _all_run(clients: list[Callable[[], None]], stop: threading.Event) -> None:
    """Run them side by side to their ends. An interrupt sets `stop`; a second one ends the wait at once.

    Threads are not joined: an interrupted `Thread.join` of Python 3.11 takes a running thread for ended.
    """
    ended: list[int] = []
    news = threading.Event()

    def run(number: int) -> None:
        try:
            clients[number]()
        finally:
            ended.append(number)
            news.set()

    begun = 0
    while len(ended) < begun or begun < len(clients):
        try:
            if begun < len(clients):
                begun += 1
                threading.Thread(target=run, args=(begun - 1,), name=f"client-{begun}", daemon=True).start()
            else:
                news.wait(INTERRUPT_SEEN_S)
                news.clear()
        except KeyboardInterrupt:
            if stop.is_set():
                raise
            stop.set()


def leftovers(before: dict[str, str], after: dict[str, str], run: str) -> list[str]:
    """What is there now and was not before, but for what another smoke test made in the meantime."""
    new = {key: name for key, name in after.items() if key not in before}
    return sorted(key for key, name in new.items() if not name.startswith(PREFIX) or name.startswith(run))
