"""Our entries in the user's clouds.yaml: put in and taken out as text, so that nothing else in it changes.

The result is read back before it replaces the file: if it does not say exactly what was there before and our
entries beside it, the file is left alone and the caller says how to use the one in the state directory. So is a file
that has the entries of another cloud of ours which is still there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import yaml

from holdfast.daemon.places import write_private

BEGIN, END = "  # begin holdfast, kept by `holdfast up` of ", "  # end holdfast"


def default_path() -> Path:
    """Where clients look first in a user's home."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "openstack" / "clouds.yaml"


def entries(endpoint: str, region: str, passwords: dict[str, str]) -> dict[str, Any]:
    """`holdfast` for the first project and `holdfast-admin`; both retry what may be retried (CLIENTS.md 5)."""

    def entry(user: str) -> dict[str, Any]:
        return {
            "auth": {
                "auth_url": f"{endpoint}/identity/v3",
                "username": user,
                "password": passwords[user],
                "project_name": user,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": region,
            "identity_api_version": "3",
            "connect_retries": 5,
            "status_code_retries": 5,
        }

    return {"holdfast": entry("demo"), "holdfast-admin": entry("admin")}


def merge(path: Path, ours: dict[str, Any], state: Path) -> bool:
    """Put the entries of the cloud in `state` into the file; False where that would touch anything else."""
    before = path.read_text() if path.exists() else ""
    owner = _owner(before)
    if owner not in (None, state) and owner.is_dir():
        return False
    theirs = _without(before)
    try:
        known = (yaml.safe_load(theirs) or {}) if theirs.strip() else {}
        clouds = known.get("clouds") or {}
        if not isinstance(clouds, dict) or any(name in clouds for name in ours):
            return False
        after = _with(theirs, ours, state)
        if yaml.safe_load(after) != {**known, "clouds": {**clouds, **ours}}:
            return False
    except (yaml.YAMLError, AttributeError):
        return False
    if after != before:
        _replace(path, after)
    return True


def remove(path: Path, state: Path) -> None:
    """Take the entries of the cloud in `state` out again; a file that then says nothing goes too."""
    if not path.exists():
        return
    before = path.read_text()
    if _owner(before) != state:
        return
    after = _without(before)
    if after == before:
        return
    if after.strip() in ("", "clouds:"):
        path.unlink()
    else:
        _replace(path, after)


def _with(text: str, ours: dict[str, Any], state: Path) -> str:
    dumped = yaml.safe_dump(ours, sort_keys=False).splitlines()
    block = [f"{BEGIN}{state}", *(f"  {line}" for line in dumped), END]
    lines = text.splitlines()
    at = next((i for i, line in enumerate(lines) if line.rstrip() == "clouds:"), None)
    if at is None:
        lines.append("clouds:")
        at = len(lines) - 1
    return "\n".join([*lines[: at + 1], *block, *lines[at + 1 :]]) + "\n"


def _owner(text: str) -> Path | None:
    """The state directory whose entries are in the text."""
    begun = next((line for line in text.splitlines() if line.startswith(BEGIN)), None)
    return None if begun is None else Path(begun.removeprefix(BEGIN))


def _without(text: str) -> str:
    lines = text.splitlines()
    begin = next((number for number, line in enumerate(lines) if line.startswith(BEGIN)), None)
    if begin is None or END not in lines:
        return text
    kept = [*lines[:begin], *lines[lines.index(END) + 1 :]]
    return "\n".join(kept) + "\n" if kept else ""


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = path.stat() if path.exists() else None
    write_private(path, text)
    if owner is not None:
        os.chmod(path, stat.S_IMODE(owner.st_mode) & 0o600 or 0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
