"""The host's lease: how long this host may run guests without hearing from the control plane.

The file is written by the keeper alone and read by the agent before it starts anything. A deadline is in
seconds of CLOCK_BOOTTIME: it goes on while the host is suspended and no clock step moves it, and it means
nothing on another boot. A lease that does not enforce only says that the control plane answers.

`decide` is the whole rule for ending guests: only under a lease that enforces, and only once it has lapsed.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.base.limits import KEEPER_FIRST_TRY_S, KEEPER_RENEWALS

LEASE_FILE = "lease.json"
INCARNATION_FILE = "incarnation"  # written by the agent: for which incarnation of the host the lease is asked


@dataclass(frozen=True, slots=True)
class Grant:
    """One answer of the control plane, as it is kept on disk."""

    boot_id: str
    asked_s: float  # boot time when the question was sent: counted from there, the host is never late
    valid_s: float
    enforce: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease as it stands at one moment."""

    known: bool  # some grant was ever received
    enforce: bool
    left_s: float  # 0: lapsed

    @property
    def may_run(self) -> bool:
        """Whether guests may be started: never before the first grant, nor after an enforced one has lapsed."""
        return self.known and (not self.enforce or self.left_s > 0)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the keeper does now."""

    end_guests: bool
    renew_in_s: float


def boot_time_s() -> float:
    """Seconds since the host booted, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """This boot of the host."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def standing(grant: Grant | None, now_s: float, this_boot: str) -> Lease:
    """What a grant is worth now. One of an earlier boot, or from the future, is worth nothing."""
    if grant is None:
        return Lease(known=False, enforce=False, left_s=0.0)
    if grant.boot_id != this_boot or grant.asked_s > now_s:
        return Lease(known=True, enforce=grant.enforce, left_s=0.0)
    return Lease(known=True, enforce=grant.enforce, left_s=max(0.0, grant.asked_s + grant.valid_s - now_s))


def decide(grant: Grant | None, tried_s: float, now_s: float, this_boot: str) -> Decision:
    """Whether to end guests now, and in how many seconds to ask again after the try at `tried_s`."""
    lease = standing(grant, now_s, this_boot)
    if grant is None:
        pause_s: float = KEEPER_FIRST_TRY_S
    else:
        pause_s = grant.valid_s / KEEPER_RENEWALS
        if tried_s > grant.asked_s:  # the last try failed: more of them before the end
            pause_s /= 2
    return Decision(end_guests=lease.known and not lease.may_run, renew_in_s=max(0.0, tried_s + pause_s - now_s))


def read_grant(path: Path) -> Grant | None:
    """The last grant on disk; None when there is none, or none that can be read."""
    try:
        kept = json.loads(path.read_bytes())
        grant = Grant(str(kept["boot_id"]), float(kept["asked_s"]), float(kept["valid_s"]), kept["enforce"] is True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return grant


def write_grant(path: Path, grant: Grant) -> None:
    """Replace the file whole. It is not synced: after a loss of power it is of another boot anyway."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(grant)))
    os.replace(temporary, path)


def read_incarnation(path: Path) -> int:
    """The number in the agent's file; 0 for none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def read_lease(path: Path, now_s: float | None = None) -> Lease:
    """The lease for the agent, at boot time `now_s` (default: now)."""
    return standing(read_grant(path), boot_time_s() if now_s is None else now_s, boot_id())
