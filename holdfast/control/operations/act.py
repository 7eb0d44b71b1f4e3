"""What an act is made of.

A step's `do` looks first and then does at most one thing, all in the one transaction that also records it:
an operation that is killed anywhere is found at the last step that was committed, and `do` may run any
number of times. Nothing outside the store is touched here: a host makes real what the store says, and its
report is what a step waits for. `undo` takes back what `do` wrote, when a later step fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.base.config import Settings
from holdfast.base.errors import Bug, HoldfastError
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_fetch
from holdfast.domain.instance import Instance
from holdfast.domain.operation import Operation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to."""

    kind: str  # next, wait, go
    detail: str = ""
    step: str = ""  # for go: which step is next
    together: bool = False  # for wait: look again when all the others do that wait so, in the order of their priority


NEXT = Outcome("next")


def wait(reason: str, together: bool = False) -> Outcome:
    """Not yet; `reason` is a sentence for whoever asks why."""
    return Outcome("wait", reason, together=together)


def go(step: str, detail: str) -> Outcome:
    """Go on at another step."""
    return Outcome("go", detail, step)


@dataclass(slots=True)
class Work:
    """One run of one operation: its transaction, its row, and its own data, kept when the run ends."""

    tx: Tx
    settings: Settings
    operation: Operation
    data: dict[str, Any]

    def instance(self) -> Instance:
        """The instance that the act is about."""
        row = instance_fetch(self.tx, self.operation.resource_id)
        if row is None:
            raise Bug(f"operation {self.operation.id} is about an instance that has no row")
        return row


def nothing(work: Work) -> None:
    """The undo of a step that wrote nothing of its own."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an act."""

    name: str
    do: Callable[[Work], Outcome]
    undo: Callable[[Work], None] = nothing


@dataclass(frozen=True, slots=True)
class Act:
    """A kind of operation.

    `fail` records the failure on the resource, after the steps were undone; an act without it is never
    given up: it is tried again for as long as it takes.
    """

    kind: str
    steps: tuple[Step, ...]
    fail: Callable[[Work, HoldfastError], None] | None
    deadline_s: int = 0

    def index(self, step: str) -> int:
        return next(i for i, s in enumerate(self.steps) if s.name == step)
