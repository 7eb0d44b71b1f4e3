"""The network of the simulation: every call of a host or a user passes it, request and answer each on their own.

A request may be late, lost, doubled, or overtaken by a newer one; an answer may be lost, and is worth nothing after
its caller gave up. Links are cut per host, in one direction or in both, for agent and keeper together or for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.base.errors import Unavailable
from holdfast.base.limits import DESIRED_POLL_S
from holdfast.control.store.revision import HOSTS
from tests.client import Answer
from tests.sim.clockwork import Process, loop, wait_for
from tests.sim.replicas import Replica


@dataclass
class Weather:
    """How the network behaves now."""

    delay_s: float = 0.01  # the most, usually
    late: float = 0.0  # share of messages that take up to late_s
    late_s: float = 30.0
    lost: float = 0.0
    doubled: float = 0.0


@dataclass
class Cut:
    """Which directions of one host's link are cut, for whom."""

    there: set[str] = field(default_factory=set)  # agent, keeper: their requests do not arrive
    back: set[str] = field(default_factory=set)  # their answers do not


class Wire:
    """Between callers and replicas."""

    def __init__(self, replicas: list[Replica], seen: Callable[[str], None]) -> None:
        self.replicas, self.seen = replicas, seen
        self.weather = Weather()
        self.cuts: dict[str, Cut] = {}

    def call(self, who: str, part: str, method: str, url: str, body: bytes, headers: Any, patience_s: float) -> Answer:
        """Ask some replica and wait; Unavailable when no answer came in time. `who` is a host or a user."""
        box: list[Answer] = []
        waiters: list[Callable[[], bool]] = []

        def answered(answer: Answer) -> None:
            if not box:
                box.append(answer)
                if waiters:
                    waiters[0]()

        dice = loop().dice
        copies = 1 + (dice.random() < self.weather.doubled)
        if copies > 1:
            self.seen("message doubled")
        for _ in range(copies):
            if part in self.cuts.get(who, _WHOLE).there or dice.random() < self.weather.lost:
                self.seen("request lost")
                continue
            replica = dice.choice(self.replicas)
            arrive = _Arrival(self, replica, who, part, method, url, body, headers, answered)
            loop().at(self._delay_s(), arrive)
        if not wait_for(patience_s, waiters):
            raise Unavailable("the control plane does not answer", detail=f"{method} {url}")
        return box[0]

    def _delay_s(self) -> float:
        dice = loop().dice
        if self.weather.late and dice.random() < self.weather.late:
            self.seen("message late")
            return dice.random() * self.weather.late_s
        return dice.random() * self.weather.delay_s

    def answer(self, who: str, part: str, answered: Callable[[Answer], None], answer: Answer) -> None:
        if part in self.cuts.get(who, _WHOLE).back or loop().dice.random() < self.weather.lost:
            self.seen("answer lost")
            return
        loop().at(self._delay_s(), lambda: answered(answer))


_WHOLE = Cut()


@dataclass
class _Arrival:
    """A request on its way to one replica."""

    wire: Wire
    replica: Replica
    who: str
    part: str
    method: str
    url: str
    body: bytes
    headers: Any
    answered: Callable[[Answer], None]

    def __call__(self) -> None:
        process = self.replica.process
        if process is None or not process.alive:
            self.wire.seen("request refused")
            self.wire.answer(self.who, self.part, self.answered, Answer(503, {}, b""))
            return
        process.spawn(lambda: self._serve(process), f"{self.method} {self.url}")

    def _serve(self, process: Process) -> None:
        if (pause_s := self.replica.store.pause_s()) > 0:
            loop().sleep(pause_s)
        answer = self._long_poll() if "wait_s=" in self.url else self._once(self.url)
        self.wire.answer(self.who, self.part, self.answered, answer)

    def _once(self, url: str) -> Answer:
        return self.replica.serve(self.method, url, self.body, self.headers)

    def _long_poll(self) -> Answer:
        """As the handler waits: until this replica changes something for hosts, or the time is over."""
        url, _, wait = self.url.partition("wait_s=")
        end_s = loop().seconds + min(float(wait), DESIRED_POLL_S)
        waiters: list[Callable[[], bool]] = []
        end = self.replica.store.signals.listen(HOSTS, lambda: [wake() for wake in waiters])
        try:
            while True:
                answer = self._once(f"{url}wait_s=0")
                left_s = end_s - loop().seconds
                if answer.status != 204 or left_s <= 0:
                    return answer
                waiters.clear()
                wait_for(left_s, waiters)
        finally:
            end()
