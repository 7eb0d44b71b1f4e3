"""Watching a server become useful: scheduled, image, network, running, booted, ssh.

A phase is reported when it has been seen to be true, never before, each with the time since the watch began. A
cloud that does not answer for a moment is waited for; a server in ERROR ends the watch; a guest that runs and
whose ssh is late has not failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.base.errors import Bug, HoldfastError, NotFound, Unavailable
from holdfast.base.limits import CONSOLE_TAIL_LINES
from holdfast.cli.output import Output
from holdfast.client.cloud import Cloud
from holdfast.client.guest import boot_of
from holdfast.client.servers import addresses_of, failure_of, server_console, server_fetch
from holdfast.client.shell import Reach, ssh_answers
from holdfast.client.text import console_text

READY, LATE = "ready", "late"
CONSOLE_SILENT_S = 3  # a running guest that said nothing for this long may have no console of ours


class Broken(HoldfastError):
    """The server cannot become what was asked for."""

    code = "server_broken"


@dataclass(slots=True)
class Watch:
    """One server on its way. `reach_of(address)` says how ssh gets in; None: nobody will ask."""

    cloud: Cloud
    output: Output
    server_id: str
    name: str
    image: str
    wants_public: bool
    reach_of: Callable[[str], Reach] | None
    started_s: float
    wait_s: float
    label: str = ""  # in front of what is said, where several are watched
    server: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    running_s: float = 0.0

    def look(self) -> str | None:
        """Report every phase that has become true; READY, LATE when the time is up and it runs, or None: look again.

        Raises Broken when it cannot become what was asked for.
        """
        for phase, look in self._phases()[len(self.done) :]:
            try:
                if self.phase not in ("booted", "ssh"):
                    self._refresh()
                words = look()
            except Unavailable:
                words = None  # the control plane restarts behind its socket; the guest does not notice
            if words is None:
                return self._late(phase) if self.elapsed_s() >= self.wait_s else None
            self.done.append(phase)
            self.output.phase("ok", phase, self.label + words, self.elapsed_s(), server=self.name, id=self.server_id)
        return READY

    @property
    def phase(self) -> str:
        """What is being waited for."""
        return self._phases()[len(self.done)][0]

    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    def _phases(self) -> list[tuple[str, Callable[[], str | None]]]:
        phases = [
            ("scheduled", self._scheduled),
            ("network", self._network),
            ("image", self._imaged),
            ("running", self._running),
            ("booted", self._booted),
        ]
        return phases if self.reach_of is None else [*phases, ("ssh", self._ssh)]

    def _refresh(self) -> None:
        server = server_fetch(self.cloud, self.server_id)
        if server is None:
            raise NotFound(f"server {self.name!r} is gone: somebody deleted it")
        self.server = server
        if server["status"] == "ERROR":
            raise Broken(f"server {self.name!r} failed: {failure_of(server)}")

    def _scheduled(self) -> str | None:
        if not self.server.get("hostId"):
            return None
        host = self.server.get("OS-EXT-SRV-ATTR:host")
        return f"on {host}" if host else "a host has it"

    def _network(self) -> str | None:
        fixed, public = addresses_of(self.server, "fixed"), addresses_of(self.server, "floating")
        if not fixed or (self.wants_public and not public):
            return None
        return ", ".join([*fixed, *(f"public {address}" for address in public)])

    def _imaged(self) -> str | None:
        return f"{self.image} is on the host" if self._left_build() else None

    def _running(self) -> str | None:
        if self.server["status"] != "ACTIVE":
            return None
        self.running_s = self.elapsed_s()
        return "the host runs it, its console is recorded"

    def _left_build(self) -> bool:
        return self.server["status"] != "BUILD" or bool(self.server.get("OS-EXT-STS:power_state"))

    def _booted(self) -> str | None:
        boot = boot_of(server_console(self.cloud, self.server_id))
        if boot.ready:
            return boot.words or "its console asks for a login"
        silent = not boot.stages and self.elapsed_s() - self.running_s > CONSOLE_SILENT_S
        return "ssh answers, its console says nothing of the boot" if silent and self._lets_in() else None

    def _ssh(self) -> str | None:
        return f"answered as {self._reach().user}@{self._reach().address}" if self._lets_in() else None

    def _lets_in(self) -> bool:
        return self.reach_of is not None and ssh_answers(self._reach())

    def _reach(self) -> Reach:
        if self.reach_of is None:
            raise Bug("nobody may ask this server")
        return self.reach_of((addresses_of(self.server, "floating") or addresses_of(self.server, "fixed"))[0])

    def _late(self, phase: str) -> str:
        if phase not in ("booted", "ssh"):
            raise Broken(f"server {self.name!r} is not {phase} after {self.wait_s:.0f} s")
        words = f"{self.label}running, {phase} not yet (waited {self.wait_s:.0f} s)"
        self.output.phase("note", phase, words, self.elapsed_s(), server=self.name, id=self.server_id)
        return LATE


def console_tail(cloud: Cloud, server_id: str) -> list[str]:
    """The last lines of a console, for the report of a failure; none when nothing can be had."""
    try:
        text = server_console(cloud, server_id, CONSOLE_TAIL_LINES)
    except HoldfastError:
        return []
    return console_text(text).splitlines()[-CONSOLE_TAIL_LINES:]
