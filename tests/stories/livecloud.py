"""A cloud with all of its processes, brought up by the program's own `up` from this source tree.

Everything it has is below one directory and under one kernel prefix, and it is gone when its test ends.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.client.session import Session
from tests.stories.bareguest import package_cache

ROOT = Path(__file__).resolve().parent.parent.parent
ENTRY = "from holdfast.cli.main import main; main()"
COMMAND_S = 180
NOBODY = 65_534
MODULES = {part: f"holdfast.daemon.{part}" for part in ("supervisor", "control", "agent")} | {
    "keeper": "holdfast.host.keeper"
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LiveCloud:
    """One state directory and what runs for it."""

    room: Path
    flags: tuple[str, ...]  # of `up`
    port: int = field(default_factory=free_port)
    told: dict[str, str] = field(default_factory=dict)  # settings that its commands have in their environment

    @property
    def state(self) -> Path:
        return self.room / "state"

    @property
    def home(self) -> Path:
        return self.room / "home"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", ENTRY, "--state", str(self.state), *words]

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST_", "OS_", "XDG_"))}
        kept |= {f"HOLDFAST_{name.upper()}": value for name, value in self.told.items()}
        return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(self.home), "HOLDFAST_PACKAGES": str(package_cache())}

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command."""
        self.home.mkdir(exist_ok=True)
        out = subprocess.PIPE
        return subprocess.Popen(self.command(*words), env=self.environment(), stdout=out, stderr=out, cwd="/")

    def run(self, *words: str, status: int = 0, bound_s: float = COMMAND_S) -> str:
        """Run a command to its end, which must be the expected one; returns all that it said."""
        process = self.start(*words)
        out, err = process.communicate(timeout=bound_s)
        said = (out + err).decode()
        assert process.returncode == status, f"{words} ended with {process.returncode}: {said}"
        return said

    def up(self, *more: str) -> str:
        return self.run("up", "--port", str(self.port), *self.flags, *more)

    def pids(self) -> dict[str, int]:
        """supervisor, control, agent, keeper: the pid of each, 0 for none; of several hosts' one."""
        return {part: next(iter(self.pids_of(part)), 0) for part in MODULES}

    def pids_of(self, part: str, host: str = "") -> list[int]:
        """The processes that are this part of the cloud, of one host or of all: their own command lines say so."""
        found = []
        for pid in self.processes():
            words = _words(pid)
            named = not host or host in (Path(word).name for word in words)
            if named and words[1:4] == ["-m", MODULES[part], "--state"]:
                found.append(pid)
        return found

    def alive(self, name: str) -> bool:
        """Whether that process runs."""
        return bool(self.pids_of(name))

    def kill(self, name: str) -> int:
        """kill -9; returns the pid."""
        (pid,) = self.pids_of(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def session(self, user: str = "demo") -> Session:
        known = json.loads((self.state / "credentials.json").read_text())["users"][user]
        session = Session(f"http://127.0.0.1:{self.port}")
        session.login(user, known["password"], known["project"])
        return session

    def remove(self) -> None:
        """Leave nothing, whatever state the cloud is in; a destroy that fails fails the test, after the processes."""
        if not self.state.exists():
            return
        try:
            if (self.state / "hosts").is_dir():
                self.run("destroy", "--yes")
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Every process whose command line names the state directory."""
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        return [pid for pid in pids if pid != os.getpid() and any(str(self.state) in word for word in _words(pid))]


def _words(pid: int) -> list[str]:
    """Its command line; a process that is gone has none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


@dataclass
class Caller:
    """One client with one connection, which repeats what broke off, and remembers what it met."""

    port: int
    token: str
    refused: int = 0
    broken: int = 0
    failures: list[str] = field(default_factory=list)
    connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, key: str = "", repeats: int = 50) -> tuple[int, Any]:
        """The answer, after as many repeats as it takes; any status of 500 or more is written down."""
        headers = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        data = None if body is None else json.dumps(body)
        for _ in range(repeats):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                text = answer.read()
            except ConnectionRefusedError:
                self.refused += 1
                self.close()
                continue
            except (OSError, http.client.HTTPException):
                self.broken += 1
                self.close()
                continue
            if answer.status >= 500:
                self.failures.append(f"{method} {path}: {answer.status} {text[:300]!r}")
            return answer.status, json.loads(text) if text else None
        raise AssertionError(f"{method} {path} broke off {repeats} times")

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
