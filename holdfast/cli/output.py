"""What a command prints: tables and lines for people, one JSON document or one event per line for programs.

Colour and moving lines only on a terminal. Whatever came from elsewhere is written without control characters.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from holdfast.base.limits import PROGRESS_LINE_S
from holdfast.client.text import one_line

_COLOURS = {"ok": "\x1b[32m", "note": "\x1b[33m", "failed": "\x1b[31m"}
_PLAIN, _CLEAR = "\x1b[0m", "\r\x1b[K"


class Output:
    """Where a command writes. With `as_json` nothing but JSON reaches standard output."""

    def __init__(self, as_json: bool = False, stream: TextIO | None = None, program: str = "holdfast") -> None:
        self.as_json, self.program = as_json, program  # the program as the next command must be typed
        self._stream = stream or sys.stdout
        self.live = not as_json and self._stream.isatty()
        self._colour = self.live and "NO_COLOR" not in os.environ
        self._waiting = False
        self._progress_s = time.monotonic()

    def document(self, value: Any) -> None:
        """The answer of a command, as JSON."""
        self._write(json.dumps(value, indent=None if not self._stream.isatty() else 1) + "\n")

    def line(self, text: str = "") -> None:
        """One line for people; nothing with --json."""
        if not self.as_json:
            self._settle()
            self._write(one_line(text) + "\n")

    def raw(self, text: str) -> None:
        """Text that is safe already, as it is."""
        self._settle()
        self._write(text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Columns as wide as they must be; the last one is not padded."""
        cells = [list(head), *([one_line(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        for row in cells:
            self._write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")

    def event(self, kind: str, **fields: Any) -> None:
        """One event of a longer act, for programs; nothing for people, who get `phase`."""
        if self.as_json:
            self._write(json.dumps({"event": kind, "at_s": round(time.time(), 3), **fields}) + "\n")

    def phase(self, mark: str, name: str, words: str, took_s: float, **fields: Any) -> None:
        """A phase that ended: `ok  running  qemu pid 4711  0.4s`; without a terminal the time of day is in front."""
        self.event("phase", result=mark, phase=name, detail=one_line(words), elapsed_s=round(took_s, 2), **fields)
        if self.as_json:
            return
        self._settle()
        shown = f"{_COLOURS[mark]}{mark:<4}{_PLAIN}" if self._colour else f"{mark:<4}"
        clock = "" if self.live else time.strftime("%Y-%m-%dT%H:%M:%S ", time.localtime(time.time()))
        self._write(f"{clock}  {shown}  {name:<10}{one_line(words):<44} {took_s:6.1f}s\n")

    def waiting(self, text: str) -> None:
        """What is being waited for, on a line that the next one overwrites; on a terminal only."""
        if self.live:
            self._write(f"{_CLEAR}  ...   {one_line(text)}")
            self._waiting = True

    def progress(self, text: str) -> None:
        """How far a long act is: `waiting` on a terminal, elsewhere a line each PROGRESS_LINE_S."""
        if self.live or self.as_json or time.monotonic() < self._progress_s + PROGRESS_LINE_S:
            self.waiting(text)
            return
        self._progress_s = time.monotonic()
        self.line(f"{time.strftime('%Y-%m-%dT%H:%M:%S')}  {text}")

    def _settle(self) -> None:
        if self._waiting:
            self._write(_CLEAR)
            self._waiting = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def age(seconds: float) -> str:
    """`42s`, `7m`, `3h`, `12d`: how old, as short as possible."""
    whole = max(0, int(seconds))
    for unit, size, limit in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if whole < limit:
            return f"{whole // size}{unit}"
    return f"{whole // 86_400}d"
