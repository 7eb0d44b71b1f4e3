"""A control replica: the real application, engine and reconcilers on its own connections to the one store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from holdfast.control.operations.engine import Engine
from holdfast.control.operations.registry import ACTS
from holdfast.control.reconcilers.loop import Reconcilers
from holdfast.daemon.composition import make_application, make_reconcilers, make_services
from tests.client import Answer, Client
from tests.sim.clockwork import Process, loop
from tests.sim.stores import Ground, SimStore


class LoopClock:
    """The clock of a replica."""

    def now_us(self) -> int:
        return loop().store_now_us

    def monotonic_s(self) -> float:
        return loop().seconds + 1000


class _Inline(asyncio.SelectorEventLoop):
    """Runs a handler's work where it is asked for, so that a request is one thing and needs no thread."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as err:
            done.set_exception(err)
        return done


_inline: list[_Inline] = []


def inline() -> _Inline:
    if not _inline:
        _inline.append(_Inline())
    return _inline[0]


class Replica:
    """One replica and its process."""

    def __init__(self, ground: Ground, number: int) -> None:
        self.ground, self.number, self.name = ground, number, f"control-{number}"
        self.store: SimStore = ground.stores[number]
        self.process: Process | None = None
        self.restarts_in_s: Callable[[], float] = lambda: 1.0
        self.crashes = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def start(self) -> None:
        if self.alive:
            return
        self.store.sound()
        self.store.signals._listeners.clear()  # those of the process before
        process = self.process = Process(self.name, self)
        process.died = self.crash
        services = make_services(self.ground.settings, self.store, LoopClock())
        self.application = make_application(services)
        self.engine = Engine(self.store, self.ground.settings, ACTS, self.name)
        self.reconcilers = Reconcilers(make_reconcilers(services))
        process.spawn(self.engine.run_forever, "engine")
        process.spawn(self.reconcilers.run_forever, "reconcilers")
        loop().note(f"{self.name} started")

    def crash(self) -> None:
        """Die now, and come back later."""
        if self.process is None:
            return
        loop().note(f"{self.name} died")
        self.crashes += 1
        self.process.kill()
        self.process = None
        self.application.close()
        loop().at(self.restarts_in_s(), self.start)

    def serve(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Answer one request, in the thread of this replica that calls it."""
        pause, self.store.pause_s = self.store.pause_s, lambda: 0.0  # a request waits before it, not inside
        try:
            return inline().run_until_complete(
                Client(self.application, loop=inline())._request(method, url, body, headers)
            )
        finally:
            self.store.pause_s = pause
