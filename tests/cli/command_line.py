"""Runs command lines as a user does: what was printed, what was complained about, and the exit status."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from holdfast.cli.main import run


@dataclass(frozen=True)
class Ran:
    """What became of one command line."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def holdfast(*words: object) -> Ran:
    """Run `holdfast WORDS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run([str(word) for word in words])
        except SystemExit as end:  # argparse: help, and a command line that is wrong
            status = int(end.code or 0)
    return Ran(status, out.getvalue(), err.getvalue())
