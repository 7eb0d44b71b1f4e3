"""`holdfast list` must stay cheap: what it may not import, held by name and not by a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NEVER = {
    "asyncio",
    "boto3",
    "click",
    "cryptography",
    "dataclasses",
    "holdfast.api",
    "holdfast.control",
    "holdfast.daemon",
    "holdfast.domain",
    "holdfast.host",
    "holdfast.validate",
    "inspect",
    "logging",
    "msgspec",
    "openstack",
    "requests",
    "shutil",
    "sqlalchemy",
    "starlette",
    "subprocess",
    "tomllib",
    "uuid",
    "uvicorn",
    "xml",
}


def imported_by(words: list[str], state: Path) -> set[str]:
    """Every module that a command line has imported when it ended."""
    code = "import sys; from holdfast.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    argv = [sys.executable, "-P", "-c", code, *words]
    environment = {"PYTHONPATH": str(ROOT), "HOLDFAST_STATE": str(state), "PATH": "/usr/bin:/bin"}
    return set(subprocess.run(argv, capture_output=True, check=True, text=True, env=environment).stdout.split())


def test_list_imports_nothing_that_it_does_not_need(here: Path) -> None:
    assert not imported_by(["list"], here) & NEVER


def test_a_login_and_a_failure_import_no_more(here: Path, tmp_path: Path) -> None:
    (here / "client" / "tokens.json").unlink(missing_ok=True)
    assert not imported_by(["list", "--json"], here) & NEVER
    assert not imported_by(["list"], tmp_path) & NEVER


def test_what_is_held_here_would_be_seen(here: Path) -> None:
    assert {"subprocess", "uuid"} <= imported_by(["launch", "--count", "0"], here)
