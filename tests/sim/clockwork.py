"""Time, threads and processes of the simulation: one heap of events, one dice, nothing from outside.

The product's threads run as greenlets, one at a time, and give way only where they would wait. `standing_in` puts
stand-ins for the modules `threading` and `time` into the product's modules, so that what runs here is the
product's own loops. A simulated process is a set of such threads that die and freeze together.
"""

from __future__ import annotations

import contextvars
import hashlib
import heapq
import math
import random
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import getcurrent, greenlet

START_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
TOLD_LAST = 60  # events that a violation is shown with
EVENTS_MAX = 200_000  # of one seed; 5,000 are usual: somebody spins


class Killed(BaseException):
    """The process of this thread is gone; nothing may catch it."""


class Violation(BaseException):
    """Something that must never be was seen; nothing of the product may catch it."""


class Loop:
    """Events in their order. Two events at one instant happen in the order in which they were made."""

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.seed, self.dice = seed, random.Random(seed)
        self.now_us, self.events = START_US, 0
        self.store_ahead_us = 0  # of the store's clock, which somebody may set; nobody sets the hosts' clocks
        self.after_each: Callable[[], None] = lambda: None
        self.last: deque[str] = deque(maxlen=TOLD_LAST)
        self._tell, self._heap, self._number = tell, [], 0  # type: ignore[var-annotated]
        self._hash = hashlib.sha256()
        self._hub = getcurrent()

    @property
    def seconds(self) -> float:
        return (self.now_us - START_US) / SECOND_US

    @property
    def store_now_us(self) -> int:
        return self.now_us + self.store_ahead_us

    def note(self, words: str) -> None:
        """Write one line of the seed's story; two runs of a seed write the same lines."""
        line = f"{self.seconds:10.4f} {words}"
        self._hash.update(line.encode())
        self.last.append(line)
        if self._tell:
            self._tell(line)

    def story(self) -> str:
        """A digest of everything that was noted."""
        return self._hash.hexdigest()

    def at(self, delay_s: float, fn: Callable[[], object], process: Process | None = None) -> None:
        """Let something happen later; not at all when its process is dead by then, later still while it is frozen."""
        self._number += 1
        due = self.now_us + max(0, math.ceil(delay_s * SECOND_US))
        heapq.heappush(self._heap, (due, self._number, fn, process))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time go on, until something is true if that is named; returns whether it was."""
        end_us = self.now_us + int(seconds * SECOND_US)
        while self._heap and self._heap[0][0] <= end_us:
            due, _, fn, process = heapq.heappop(self._heap)
            self.now_us = max(self.now_us, due)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise Violation("I19 somebody is busy without end")
            if process is not None:
                if not process.alive:
                    continue
                if process.frozen:
                    process.deferred.append(fn)
                    continue
            fn()
            self.after_each()
            if until is not None and until():
                return True
        self.now_us = max(self.now_us, end_us)
        return until is not None and until()

    def sleep(self, seconds: float) -> None:
        """Give way for a while. Outside of any thread: nothing."""
        wait_for(seconds, [])

    def give_way(self) -> None:
        self._hub.switch()
        thread = current()
        if thread is not None and thread.killed:
            raise Killed


_loop: list[Loop] = []


def loop() -> Loop:
    """The loop of the seed that runs."""
    return _loop[-1]


def current() -> SimThread | None:
    """The simulated thread that runs now."""
    found = getcurrent()
    return found if isinstance(found, SimThread) else None


class Process:
    """Threads that die and freeze together. `ended` is called once when it died by itself."""

    def __init__(self, name: str, owner: Any = None) -> None:
        self.name, self.owner = name, owner
        self.alive, self.frozen = True, False
        self.threads: list[SimThread] = []
        self.deferred: list[Callable[[], object]] = []
        self.died: Callable[[], None] = lambda: None

    def spawn(self, fn: Callable[[], object], name: str = "") -> SimThread:
        thread = SimThread(self, fn, name)
        self.threads = [t for t in self.threads if not t.dead] + [thread]
        loop().at(0, thread.switch, self)
        return thread

    def kill(self) -> None:
        """Every thread ends where it waits, at once."""
        self.alive = self.frozen = False
        running = current()
        for thread in self.threads:
            thread.killed = True
            if thread is not running and not thread.dead and thread:
                thread.parent = getcurrent()
                thread.switch()
        self.threads, self.deferred = [], []

    def freeze(self) -> None:
        self.frozen = self.alive

    def thaw(self) -> None:
        self.frozen = False
        waiting, self.deferred = self.deferred, []
        for fn in waiting:
            loop().at(0, fn, self)


class SimThread(greenlet):
    """A thread of the product."""

    def __init__(self, process: Process, fn: Callable[[], object], name: str) -> None:
        super().__init__(self._body, loop()._hub)
        self.process, self.fn, self.name, self.killed = process, fn, name, False
        self.gr_context = contextvars.copy_context()

    def _body(self) -> None:
        try:
            self.fn()
        except Killed:
            if self.process.alive:  # it was killed in the middle of what it did, and its process with it
                self.process.alive = False
                loop().at(0, self.process.died)
        except Violation:
            raise
        except BaseException as err:
            where = traceback.format_exc(limit=-6)
            raise Violation(f"a thread of {self.process.name} died: {self.name}: {err!r}\n{where}") from err


def wait_for(timeout_s: float | None, waiters: list[Callable[[], bool]]) -> bool:
    """Wait until woken through `waiters`, or for some time; whether it was woken."""
    thread = current()
    if thread is None:
        return False
    if thread.killed:
        raise Killed
    state = {"done": False, "woken": False}

    def resume(woken: bool) -> bool:
        if state["done"]:
            return False
        state["done"], state["woken"] = True, woken
        if woken:
            loop().at(0, thread.switch, thread.process)
        else:
            thread.switch()
        return True

    waiters.append(lambda: resume(True))
    if timeout_s is not None:
        loop().at(timeout_s, lambda: resume(False), thread.process)
    loop().give_way()
    return state["woken"]


class Condition:
    """threading.Condition and Lock, among threads that only give way where they wait."""

    def __init__(self, lock: object = None) -> None:
        self._waiters: list[Callable[[], bool]] = []
        self._turns: list[Callable[[], bool]] = []
        self._holder: object = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        while self._holder is not None:
            if not blocking:
                return False
            wait_for(None, self._turns)
        self._holder = getcurrent()
        return True

    def release(self) -> None:
        self._holder = None
        while self._turns and not self._turns.pop(0)():
            pass

    def __enter__(self) -> Condition:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def wait(self, timeout: float | None = None) -> bool:
        self.release()
        try:
            return wait_for(timeout, self._waiters)
        finally:
            if not getattr(current(), "killed", False):
                self.acquire()

    def notify(self, n: int = 1) -> None:
        while n and self._waiters:
            n -= self._waiters.pop(0)()

    def notify_all(self) -> None:
        self.notify(len(self._waiters))


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._set, self._waiters = False, []  # type: ignore[var-annotated]

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        while self._waiters:
            self._waiters.pop(0)()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            wait_for(timeout, self._waiters)
        return self._set


class Thread:
    """threading.Thread; it belongs to the process of the thread that starts it."""

    def __init__(
        self, target: Any = None, name: str | None = None, args: Any = (), kwargs: Any = None, daemon: object = None
    ) -> None:
        self._fn = lambda: target(*args, **(kwargs or {}))
        self._name = name or getattr(target, "__name__", "thread")
        self._thread: SimThread | None = None

    def start(self) -> None:
        mine = current()
        assert mine is not None, "a thread was started outside of every process"
        self._thread = mine.process.spawn(self._fn, self._name)

    def is_alive(self) -> bool:
        return self._thread is not None and not self._thread.dead

    def join(self, timeout: float | None = None) -> None:
        """Nobody here waits for an end."""


class Timer(Thread):
    """threading.Timer."""

    def __init__(self, interval: float, function: Any) -> None:
        def later() -> None:
            loop().sleep(interval)
            function()

        super().__init__(later, "timer")
        self.daemon = True


class ThreadingStandIn:
    """The module `threading`, for the product's modules."""

    Thread, Timer, Event, Condition, Lock = Thread, Timer, Event, Condition, Condition

    @staticmethod
    def get_ident() -> int:
        return 1


class TimeStandIn:
    """The module `time`: hosts have a clock that never steps, and no other; asking for another is an error."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    @staticmethod
    def monotonic() -> float:
        return loop().seconds + 1000

    @staticmethod
    def time_ns() -> int:
        """Only names the files of queued failures, in their order."""
        return loop().now_us * 1000 + loop().events % 1000

    @staticmethod
    def sleep(seconds: float) -> None:
        if seconds > 0:
            loop().sleep(seconds)


STOOD_IN = ("holdfast.host.agent", "holdfast.host.keeper.keep", "holdfast.host.hypervisor.simulated")
STOOD_IN += ("holdfast.control.operations.engine", "holdfast.control.reconcilers")


@contextmanager
def standing_in(running: Loop) -> Iterator[None]:
    """Inside the block the product's threads, waits and clocks are those of this loop."""
    changed = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith(STOOD_IN):
            for word, real, stand_in in (("threading", threading, ThreadingStandIn), ("time", time, TimeStandIn)):
                if getattr(module, word, None) is real:
                    changed.append((module, word, real))
                    setattr(module, word, stand_in)
    _loop.append(running)
    try:
        yield
    finally:
        _loop.pop()
        for module, word, real in changed:
            setattr(module, word, real)
