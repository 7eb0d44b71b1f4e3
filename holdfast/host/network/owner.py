"""Which state directory a prefix belongs to on this machine: two clouds of one prefix would end each other's network.

One small file per prefix below /run, which names the directory; it goes with the network, and with the machine's boot.
An owner whose directory is gone owns nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.base.errors import Conflict

RUN = Path("/run")


def owner_of(prefix: str, run_folder: Path = RUN) -> Path | None:
    """The directory whose network has this prefix; None where nobody's has."""
    try:
        owner = Path(_file(prefix, run_folder).read_text().strip())
    except OSError:
        return None
    return owner if owner.is_dir() else None


def claim(prefix: str, state: Path, run_folder: Path = RUN) -> None:
    """Take the prefix for a directory; Conflict when another one has it. Repeating it changes nothing."""
    require(prefix, state, run_folder)
    fresh = _file(prefix, run_folder).with_suffix(f".{os.getpid()}")
    fresh.write_text(f"{state}\n")
    os.replace(fresh, _file(prefix, run_folder))


def require(prefix: str, state: Path, run_folder: Path = RUN) -> None:
    """Conflict unless the prefix is free, or belongs to the directory or to one below it."""
    owner = owner_of(prefix, run_folder)
    if owner is not None and not owner.is_relative_to(state):
        raise Conflict(
            f"the network prefix {prefix!r} belongs to the cloud in {owner}; choose another with: "
            "holdfast up --prefix WORD   (and other networks: --private-cidr, --public-cidr)",
            code="prefix_taken",
        )


def release(prefix: str, run_folder: Path = RUN) -> None:
    """Give the prefix back."""
    _file(prefix, run_folder).unlink(missing_ok=True)


def _file(prefix: str, run_folder: Path) -> Path:
    return run_folder / f"{prefix}-owner"
