"""A PostgreSQL of the tests' own: started once per worker, in a temporary directory, ended with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _as_postgres(*argv: str) -> None:
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*prefix, *argv], check=True, capture_output=True, cwd="/")


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of an empty database on a server that listens on a socket in its own directory only."""
    home = Path(tempfile.mkdtemp(prefix="hf-pg-"))
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
    control, data = str(BINARIES[-1] / "pg_ctl"), str(home / "data")
    options = f"-k {home} -c listen_addresses='' -c fsync=off -c max_connections=60"
    try:
        _as_postgres(str(BINARIES[-1] / "initdb"), "-D", data, "-A", "trust", "-U", "holdfast", "-N", "-E", "UTF8")
        _as_postgres(control, "-D", data, "-w", "-o", options, "-l", str(home / "log"), "start")
        yield f"postgresql://holdfast@/postgres?host={home}"
    finally:
        if (home / "data" / "postmaster.pid").exists():
            _as_postgres(control, "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(home)
