"""What `up` tells while it works: one line per phase with its time, or one JSON event per line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.base.errors import HoldfastError


@dataclass(slots=True)
class Told:
    """What the phase has to say when it ends."""

    words: str = ""
    level: str = "ok"  # ok, or note: something the operator should know


class Phases:
    """Prints phases as they end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json, self._began = as_json, time.monotonic()

    @contextmanager
    def phase(self, name: str) -> Iterator[Told]:
        """Time a phase; a failure is told with its reason and goes on upwards."""
        began, told = time.monotonic(), Told()
        try:
            yield told
        except HoldfastError as err:
            self._line("FAIL", name, err.message, time.monotonic() - began)
            raise
        self._line(told.level, name, told.words, time.monotonic() - began)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """A line for people; not part of the JSON events."""
        if not self._as_json:
            print(text, flush=True)

    def event(self, **fields: object) -> None:
        """An event for programs."""
        if self._as_json:
            print(json.dumps(fields), flush=True)

    def _line(self, level: str, name: str, words: str, seconds: float) -> None:
        self.event(phase=name, result=level.lower(), detail=words, seconds=round(seconds, 2))
        stamp = "" if sys.stdout.isatty() else time.strftime("%H:%M:%S ")
        self.say(f"{stamp}  {level:<5} {name:<10} {words:<88} {seconds:5.1f}s")
