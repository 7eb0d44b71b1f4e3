"""A cloud in a temporary directory: brought up by the program's own `up`, removed also when a benchmark failed.

It runs from this source tree whatever is installed, on a free port, with a home and kernel names of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import Answer, Http
from holdfast.base import config
from holdfast.base.run import pids_of
from holdfast.daemon.places import Places
from holdfast.daemon.supervisor import children_of, supervisor_needle

ROOT = Path(__file__).resolve().parent.parent
ENTRY = "from holdfast.cli.main import main; main()"
MICROVERSION = "2.90"
PREFIX, PRIVATE_CIDR, PUBLIC_CIDR = "hfbn", "10.72.0.0/16", "172.24.72.0/24"
COMMAND_S = 300


class Failed(Exception):
    """The cloud did something else than what is measured."""


@dataclass
class Cloud:
    """One state directory, and ways to speak to what runs in it."""

    state: Path
    home: Path
    port: int
    simulated: bool
    token: str = ""
    http: Http | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST_", "OS_", "AWS_", "XDG_"))}
        return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(self.home)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", ENTRY, "--state", str(self.state), *words]

    def run(self, *words: str) -> str:
        """Run one `holdfast` command to its end; raises Failed with what it said."""
        done = subprocess.run(self.command(*words), env=self.environment, capture_output=True, timeout=COMMAND_S)
        if done.returncode != 0:
            raise Failed(f"holdfast {words[0]} ended with {done.returncode}: {(done.stderr or done.stdout).decode()}")
        return done.stdout.decode()

    def up(self, *more: str) -> float:
        """Bring it up, with more flags; returns the seconds that took."""
        kind = ["--hypervisor", "simulated" if self.simulated else "qemu", "--port", str(self.port)]
        names = ["--prefix", PREFIX, "--private-cidr", PRIVATE_CIDR, "--public-cidr", PUBLIC_CIDR]
        began_s = time.perf_counter()
        self.run("up", *kind, *names, *more)
        return time.perf_counter() - began_s

    def pids(self) -> dict[str, int]:
        """Those processes by part: supervisor, control, agent, keeper; of several hosts' one."""
        return {name.partition("-")[0]: pid for name, pid in self.processes().items()}

    def processes(self) -> dict[str, int]:
        """The processes of the cloud that run, by name: supervisor, control, agent-HOST, keeper-HOST."""
        children = children_of(Places(self.state), config.load(self.state))
        needles = {"supervisor": supervisor_needle(self.state)} | {child.name: child.needle for child in children}
        return {name: pid for name, needle in needles.items() for pid in pids_of(needle)}

    @property
    def host_directory(self) -> Path:
        return next((self.state / "hosts").iterdir())

    # the API

    async def login(self) -> None:
        """Speak for the first project from now on."""
        self.http = Http("127.0.0.1", self.port)
        answer = await self.http.request("POST", "/identity/v3/auth/tokens", self.login_body())
        if answer.status != 201:
            raise Failed(f"login: {answer.status} {answer.body[:200]!r}")
        self.token = answer.headers["x-subject-token"]

    def login_body(self) -> dict[str, Any]:
        password = json.loads((self.state / "credentials.json").read_text())["users"]["demo"]["password"]
        domain = {"name": "Default"}
        user = {"name": "demo", "domain": domain, "password": password}
        scope = {"project": {"name": "demo", "domain": domain}}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}

    async def call(self, method: str, path: str, body: Any = None, want: int = 200, **more: Any) -> Answer:
        """One request with the token; raises Failed for another status than the wanted one."""
        assert self.http is not None
        headers = {"x-auth-token": self.token, "x-openstack-nova-api-version": MICROVERSION, **more.pop("headers", {})}
        answer = await self.http.request(method, path, body, headers, **more)
        if answer.status != want:
            raise Failed(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer

    def close(self) -> None:
        if self.http is not None:
            self.http.close()
            self.http = None

    def destroy(self) -> None:
        """Remove it all, by its own command, and by hand whatever that left."""
        self.close()
        if self.state.exists():
            with suppress(Failed, subprocess.TimeoutExpired):
                self.run("destroy", "--yes")
        if self.state.exists():
            with suppress(OSError, ValueError):
                for pid in self.pids().values():
                    if str(self.state).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)


@contextmanager
def cloud_directory(simulated: bool = True) -> Iterator[Cloud]:
    """A cloud that is not up yet."""
    room = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    os.chmod(room, 0o711)  # an unprivileged QEMU reaches its disks below
    (room / "home").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cloud = Cloud(room / "state", room / "home", port, simulated)
    try:
        yield cloud
    finally:
        cloud.destroy()
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def cloud_up() -> Iterator[Cloud]:
    """A cloud with the simulated hypervisor that is up."""
    with cloud_directory() as cloud:
        cloud.up()
        yield cloud
