"""What is to be looked at, what was seen, and what was said: the agent's three lists, shared by its threads.

A machine is handed to one worker at a time; one that becomes due again meanwhile is handed out again after.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from holdfast.host.hypervisor.driver import Observed

W = TypeVar("W")


class Due:
    """Machines that somebody should look at, each once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._busy: set[str] = set()

    def add(self, instance_ids: list[str]) -> None:
        with self._changed:
            self._waiting.update(dict.fromkeys(instance_ids))
            self._changed.notify_all()

    def take(self, timeout_s: float) -> str | None:
        """Return the next machine that nobody works on; None after the timeout."""
        with self._changed:
            if not (free := self._free()):
                self._changed.wait(timeout_s)
                free = self._free()
            if free:
                del self._waiting[free]
                self._busy.add(free)
            return free

    def done(self, instance_id: str) -> None:
        with self._changed:
            self._busy.discard(instance_id)
            if instance_id in self._waiting:
                self._changed.notify()

    def _free(self) -> str | None:
        return next((instance_id for instance_id in self._waiting if instance_id not in self._busy), None)


class Seen:
    """What each machine does, as a look at all of them found it, or as the worker left it that changed it last.

    A look takes its time. What a worker left meanwhile is newer: else a machine that was just removed would be there
    again until the next look, and be reported as one that nobody asked for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._machines: dict[str, Observed] = {}
        self._newer: set[str] = set()  # than the look that goes on

    def look(self, machines: Callable[[], Mapping[str, Observed]]) -> None:
        """Look at all of them; raises what `machines` raises, and knows then what it knew. One look at a time."""
        with self._lock:
            self._newer.clear()
        found = dict(machines())
        with self._lock:
            for instance_id in self._newer:
                found.pop(instance_id, None)
            self._machines = found | {i: self._machines[i] for i in self._newer if i in self._machines}

    def put(self, instance_id: str, seen: Observed | None) -> None:
        """A worker has left it so; None: it is gone."""
        with self._lock:
            self._newer.add(instance_id)
            if seen is None:
                self._machines.pop(instance_id, None)
            else:
                self._machines[instance_id] = seen

    def of(self, instance_id: str) -> Observed | None:
        with self._lock:
            return self._machines.get(instance_id)

    def instance_ids(self) -> list[str]:
        with self._lock:
            return list(self._machines)


class Said(Generic[W]):
    """The last word on each thing, and which words the control plane has not heard yet.

    `key` names what a word is about; `then` is called when there is a new one.
    """

    def __init__(self, key: Callable[[W], str], then: Callable[[], None] | None = None) -> None:
        self._key, self._then = key, then
        self._changed = threading.Condition()
        self._words: dict[str, W] = {}
        self._unheard: set[str] = set()
        self._news = False  # something else than a machine is new

    def changed(self) -> None:
        """Something of the host that is no machine changed: it is to be reported soon."""
        with self._changed:
            self._news = True
            self._changed.notify_all()

    def take_news(self) -> bool:
        with self._changed:
            news, self._news = self._news, False
            return news

    def say(self, report: W) -> None:
        key = self._key(report)
        with self._changed:
            if self._words.get(key) == report:
                return
            self._words[key] = report
            self._unheard.add(key)
            self._changed.notify_all()
        if self._then is not None:
            self._then()

    def forget(self, report: W) -> None:
        """Drop a word that was heard, unless it changed meanwhile."""
        key = self._key(report)
        with self._changed:
            if self._words.get(key) == report:
                del self._words[key]

    def wait(self, timeout_s: float) -> None:
        """Return when there is something unheard, or after the timeout."""
        with self._changed:
            if not self._unheard and not self._news:
                self._changed.wait(timeout_s)

    def unheard(self) -> tuple[W, ...]:
        """Take what is unheard; whoever fails to deliver it gives it back with `again`."""
        with self._changed:
            taken = tuple(self._words[i] for i in self._unheard if i in self._words)
            self._unheard.clear()
            return taken

    def again(self, reports: tuple[W, ...]) -> None:
        with self._changed:
            self._unheard.update(self._key(report) for report in reports)

    def everything(self) -> tuple[W, ...]:
        with self._changed:
            return tuple(self._words.values())

    def of(self, key: str) -> W | None:
        with self._changed:
            return self._words.get(key)
