"""Logs that carry who they are about.

`log.info("constant_event", key=value)`: the event is a constant, the facts are fields. What is bound with
`bind` (instance, request, operation, host) is a context variable, so every line written inside, and every
line of a traceback, carries it: one grep for an instance id is its whole story (seed 003, 004).

A log line may be lost (disk full, file gone), and is then counted; it never blocks and never ends a
process. Lines go to a file that we open ourselves: a reader of stdout that dies cannot send us SIGPIPE
(seed 004).
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from holdfast.base.limits import LOG_FILE_BYTES, LOG_VALUE_CHARS

_bound: ContextVar[dict[str, object]] = ContextVar("holdfast_log", default={})  # noqa: B039 (never mutated)


class Sink:
    """Where lines go: standard error until `open_file`, then a file that is cut in two generations."""

    def __init__(self) -> None:
        self.process = "holdfast"
        self.as_json = False
        self.dropped = 0
        self._path: Path | None = None
        self._fd = 2
        self._size = 0

    def open_file(self, path: Path, process: str, as_json: bool = False) -> None:
        """Write to `path` from now on (0640), keeping one older generation of LOG_FILE_BYTES."""
        self.process, self.as_json, self._path = process, as_json, path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            if self._path is not None and self._size > LOG_FILE_BYTES:
                self._rotate(self._path)
            self._size += os.write(self._fd, data)
        except OSError:
            self.dropped += 1

    def _rotate(self, path: Path) -> None:
        os.replace(path, path.with_suffix(path.suffix + ".1"))
        old, self._fd = self._fd, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        os.close(old)
        self._size = 0


sink = Sink()


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Carry these fields on every line logged inside the block, by any function, in this context."""
    token = _bound.set({**_bound.get(), **{k: v for k, v in fields.items() if v}})
    try:
        yield
    finally:
        _bound.reset(token)


def bound() -> dict[str, object]:
    """What is bound now."""
    return _bound.get()


@contextmanager
def into_file(path: Path, process: str) -> Iterator[None]:
    """Write to a file inside the block, and to where it went before after it: for a command, not for a daemon."""
    before = (sink.process, sink.as_json, sink._path, sink._fd, sink._size)
    sink.open_file(path, process)
    try:
        yield
    finally:
        os.close(sink._fd)
        sink.process, sink.as_json, sink._path, sink._fd, sink._size = before


class Log:
    """A named logger. Names are module names; levels are DEBUG, INFO, WARNING, ERROR."""

    def __init__(self, name: str) -> None:
        self._name = name.removeprefix("holdfast.")

    def debug(self, event: str, **fields: object) -> None:
        if os.environ.get("HOLDFAST_DEBUG"):
            self._write("DEBUG", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write("INFO", event, fields)

    def warn(self, event: str, **fields: object) -> None:
        self._write("WARNING", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("ERROR", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log the exception being handled; every traceback line carries the same prefix."""
        self._write("ERROR", event, fields, traceback.format_exc())

    def _write(self, level: str, event: str, fields: dict[str, object], trace: str = "") -> None:
        now = time.time()
        merged = {**_bound.get(), **fields}
        if sink.as_json:
            record = {"time": now, "level": level, "process": sink.process, "name": self._name, "event": event}
            sink.write(json.dumps({**record, **merged, **({"traceback": trace} if trace else {})}, default=str) + "\n")
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
        head = f"{stamp} {os.getpid()} {level} {sink.process}.{self._name} [{_bound.get().get('request', '-')}]"
        if instance := merged.get("instance"):
            head += f" [instance: {instance}]"
        facts = "".join(f" {k}={_plain(v)}" for k, v in merged.items() if k not in ("request", "instance"))
        lines = [f"{head} {event}{facts}", *(f"{head} | {line}" for line in trace.splitlines())]
        sink.write("\n".join(lines) + "\n")


def _plain(value: object) -> str:
    """One field as text without line breaks or control characters: a guest's text must not forge a line."""
    text = str(value)
    if len(text) > LOG_VALUE_CHARS:
        text = text[:LOG_VALUE_CHARS] + "..."
    if text.isprintable() and " " not in text:
        return text or "''"
    return json.dumps(text)


def get(name: str) -> Log:
    """Return the logger of a module: `log = get(__name__)`."""
    return Log(name)
