"""The ten steps that prove a cloud (seed 001), in their order, timed, and cleaned up after.

A step fails at its first error: no call is ever repeated, waiting is looking again at something that answers. When
one of the first seven fails the rest of them are skipped; the last three remove what was made, always, unless the
failed guest is to be kept. A side (EC2, OpenStack) says how each step is done; nothing here knows an API.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from holdfast.base.errors import Conflict, HoldfastError
from holdfast.client.text import one_line

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
STEPS, FIRST_REMOVING = 10, 8


class NothingToDo(Exception):
    """A step that has nothing to remove: what it would remove was never made."""


class Side(Protocol):
    """One client's way to do the ten steps. It remembers what it made; removing is safe when nothing was made."""

    def key_create(self) -> None: ...
    def image_find(self) -> None: ...
    def server_run(self) -> None: ...
    def server_wait(self) -> None: ...
    def port_open(self) -> None: ...
    def address_find(self) -> list[str]: ...
    def command_run(self) -> None: ...
    def server_remove(self) -> None: ...
    def port_close(self) -> None: ...
    def key_delete(self) -> None: ...

    @property
    def server_id(self) -> str: ...
    @property
    def key_path(self) -> Path: ...
    def console(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Result:
    """One step of one loop of one client."""

    client: int
    loop: int
    number: int
    step: str
    outcome: str
    took_s: float
    words: str = ""
    console: str = ""


class Addresses:
    """Who holds which address now, over all clients: two living guests never hold the same one (seed 001, 002)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, str] = {}

    def hold(self, address: str, server_id: str) -> None:
        """Record a holder; raises Conflict when another living guest has the address."""
        with self._lock:
            other = self._holders.setdefault(address, server_id)
        if other != server_id:
            raise Conflict(f"address {address} is held by {other} and by {server_id} at once", code="address_twice")

    def let_go(self, server_id: str) -> None:
        """The guest is about to be removed: its addresses may be handed out."""
        with self._lock:
            self._holders = {address: holder for address, holder in self._holders.items() if holder != server_id}


@dataclass(slots=True)
class Loop:
    """One client going once through the steps."""

    side: Side
    addresses: Addresses
    client: int
    number: int
    tell: Callable[[Result], None]
    keep_failed: bool = False
    stop: threading.Event = field(default_factory=threading.Event)  # set: begin nothing more, remove what is there
    results: list[Result] = field(default_factory=list)

    def run(self) -> list[Result]:
        """Do the steps and return what became of each."""
        steps = self._steps()
        for number, (name, act) in enumerate(steps, 1):
            removing = number >= FIRST_REMOVING
            skip = (self.failed and self.keep_failed) if removing else (self.failed or self.stop.is_set())
            kept = f"kept; the guest's key is {self.side.key_path}" if removing else ""
            self._record(number, name, *((SKIPPED, 0.0, kept) if skip else self._do(act)))
        return self.results

    @property
    def failed(self) -> bool:
        return any(result.outcome == FAILED for result in self.results)

    def _steps(self) -> list[tuple[str, Callable[[], None]]]:
        side = self.side
        return [
            ("create key pair", side.key_create),
            ("find image", side.image_find),
            ("run instance", side.server_run),
            ("wait for running", side.server_wait),
            ("open port 22", side.port_open),
            ("find address", self._address),
            ("ssh a command", side.command_run),
            ("terminate", self._remove),
            ("close port 22", side.port_close),
            ("delete key pair", side.key_delete),
        ]

    def _address(self) -> None:
        for address in self.side.address_find():
            self.addresses.hold(address, self.side.server_id)

    def _remove(self) -> None:
        self.addresses.let_go(self.side.server_id)
        self.side.server_remove()

    def _do(self, act: Callable[[], None]) -> tuple[str, float, str]:
        began_s = time.monotonic()
        try:
            act()
            outcome, words = OK, ""
        except NothingToDo:
            outcome, words = SKIPPED, ""
        except HoldfastError as err:
            outcome, words = FAILED, one_line(f"{err.code}: {err.message}")
        except Exception as err:  # the boundary of a step: an answer that makes no sense is a finding, not our end
            outcome, words = FAILED, one_line(f"{type(err).__name__}: {err}")
        return outcome, time.monotonic() - began_s, words

    def _record(self, number: int, name: str, outcome: str, took_s: float, words: str) -> None:
        console = self._console() if outcome == FAILED else ""
        result = Result(self.client, self.number, number, name, outcome, took_s, words, console)
        self.results.append(result)
        self.tell(result)

    def _console(self) -> str:
        if not self.side.server_id:
            return ""
        try:
            return self.side.console()
        except Exception as err:  # the failure that is being reported matters more than this one
            return f"no console: {one_line(err)}"


def wait_until(look: Callable[[], bool], timeout_s: float, pause_s: float, failure: str) -> None:
    """Look until it is true; raises HoldfastError with `failure` when it is not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > deadline_s:
            raise HoldfastError(f"{failure} after {timeout_s:.0f} s", code="not_in_time")
        time.sleep(pause_s)
