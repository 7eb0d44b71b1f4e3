"""PostgreSQL of the tests' own: in temporary directories, on sockets there, ended with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import eventually

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _as_postgres(name: str, *argv: str) -> None:
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*prefix, str(BINARIES[-1] / name), *argv], check=True, capture_output=True, cwd="/")


@dataclass(frozen=True)
class Server:
    """One server, which listens on a socket in its directory only."""

    home: Path
    settings: str = ""

    @property
    def url(self) -> str:
        return f"postgresql://holdfast@/postgres?host={self.home}"

    @property
    def socket(self) -> Path:
        return self.home / ".s.PGSQL.5432"

    def start(self) -> None:
        # its segments are files of its own: those in /dev/shm would outlive a server that is killed
        options = f"-k {self.home} -c listen_addresses='' -c fsync=off -c dynamic_shared_memory_type=mmap"
        options += f" -c max_connections=60 {self.settings}"
        self._control("-w", "-o", options, "-l", str(self.home / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Nothing, when it does not run."""
        if (self.home / "data" / "postmaster.pid").exists():
            self._control("-w", "-m", mode, "stop")

    def kill(self) -> None:
        """As if its machine had lost its power: nobody is told, and it does not come back by itself."""
        pid = int((self.home / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ended = [pid, *map(int, children)]
        for each in ended:
            os.kill(each, signal.SIGKILL)
        eventually(lambda: not any(_runs(each) for each in ended))
        for left in (self.home / "data" / "postmaster.pid", self.socket, Path(f"{self.socket}.lock")):
            left.unlink()

    def promote(self) -> None:
        self._control("-w", "promote")

    def _control(self, *argv: str) -> None:
        _as_postgres("pg_ctl", "-D", str(self.home / "data"), *argv)


def _runs(pid: int) -> bool:
    """Whether a process is there; one that only nobody waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def server(settings: str = "") -> Iterator[Server]:
    """Yield a server with an empty database."""
    with _home() as home:
        _as_postgres("initdb", "-D", str(home / "data"), "-A", "trust", "-U", "holdfast", "-N", "-E", "UTF8")
        yield from _running(Server(home, settings))


@contextmanager
def standby(primary: Server, name: str) -> Iterator[Server]:
    """Yield a server that follows another one, under this name."""
    with _home() as home:
        where = f"host={primary.home} user=holdfast dbname=postgres application_name={name}"
        _as_postgres("pg_basebackup", "-D", str(home / "data"), "-R", "-X", "stream", "-c", "fast", "-d", where)
        yield from _running(Server(home))


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="hf-pg-"))
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    try:
        yield home
    finally:
        shutil.rmtree(home)


def _running(made: Server) -> Iterator[Server]:
    try:
        made.start()
        yield made
    finally:
        made.stop()
