"""The keeper's two loops: one asks for the lease and may hang in it, the other counts down and never does.

    asking:    renew > write lease.json > wait a third of the lease
    counting:  look at the lease > lapsed and enforced: kill -9 every QEMU of this host, again and again

A restarted keeper begins with lease.json, so one that died with an enforced lease behind its deadline ends
the guests before it asks for anything. Whatever else happens, nothing is killed under a lease that does not
enforce, and nothing that is not a QEMU of this state directory.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import Conflict, HoldfastError
from holdfast.base.limits import KEEPER_LOOK_S
from holdfast.base.log import get
from holdfast.host.hypervisor.driver import Reason
from holdfast.host.hypervisor.qemu.files import trim_logs, write_reason
from holdfast.host.hypervisor.qemu.processes import MACHINES, held, kill, processes_of
from holdfast.host.keeper.lease import (
    INCARNATION_FILE,
    LEASE_FILE,
    Grant,
    boot_id,
    boot_time_s,
    decide,
    read_grant,
    read_incarnation,
    standing,
    write_grant,
)
from holdfast.host.keeper.watchdog import Watchdog

log = get(__name__)

LOCK_FILE = "keeper.lock"


@dataclass(slots=True)
class Known:
    """What the two loops share: each field has one writer, the asking loop."""

    grant: Grant | None
    tried_s: float
    trouble: str = ""  # the last failure to renew; logged when it changes


def take_lock(state: Path) -> int:
    """Be the only keeper of this state directory for as long as we live; raises Conflict."""
    handle = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(handle)
        raise Conflict(f"another keeper keeps {state}") from err
    return handle


def keep(state: Path, renew: Callable[[dict[str, object]], tuple[float, bool]], watchdog: Watchdog) -> None:
    """Count down for ever, beside a thread that renews."""
    this_boot, lock = boot_id(), take_lock(state)
    known = Known(read_grant(state / LEASE_FILE), tried_s=0.0)
    epoch = int(boot_time_s() * 1000)  # grows with every keeper of one boot
    asking = threading.Thread(target=_ask, args=(state, renew, known, this_boot, epoch), daemon=True)
    pause = threading.Event()
    try:
        look(state, known.grant, this_boot, watchdog)
        asking.start()
        while asking.is_alive():
            pause.wait(KEEPER_LOOK_S)
            look(state, known.grant, this_boot, watchdog)
    finally:
        os.close(lock)


def look(state: Path, grant: Grant | None, this_boot: str, watchdog: Watchdog) -> None:
    """One look at the lease, and what follows from it."""
    now_s = boot_time_s()
    lease = standing(grant, now_s, this_boot)
    left = end_guests(state) if decide(grant, now_s, now_s, this_boot).end_guests else 0
    watchdog.keep(armed=lease.enforce, healthy=lease.may_run or left == 0)
    trim_all(state)


def end_guests(state: Path) -> int:
    """Kill every QEMU of this host, and return how many were found: some may take a moment to be gone."""
    found = processes_of(state)
    for process in found:
        with held(process, state) as handle:
            if handle is not None:
                write_reason(state / MACHINES / process.instance_id, Reason.LEASE_LAPSED)
                kill(handle)
                log.warn("guest_ended", instance=process.instance_id, pid=process.pid, reason="the lease has lapsed")
    return len(found)


def trim_all(state: Path) -> None:
    """Bound the guests' logs, for while no agent runs."""
    try:
        names = os.listdir(state / MACHINES)
    except FileNotFoundError:
        return
    for name in names:
        trim_logs(state / MACHINES / name)


def _ask(
    state: Path, renew: Callable[[dict[str, object]], tuple[float, bool]], known: Known, this_boot: str, epoch: int
) -> None:
    pause = threading.Event()
    while True:
        wait_s = decide(known.grant, known.tried_s, boot_time_s(), this_boot).renew_in_s
        if wait_s > 0 and known.tried_s > 0:
            pause.wait(min(wait_s, KEEPER_LOOK_S))
            continue
        known.tried_s = boot_time_s()
        try:
            words = {"boot_id": this_boot, "keeper_epoch": epoch}
            valid_s, enforce = renew({**words, "incarnation": read_incarnation(state / INCARNATION_FILE)})
        except HoldfastError as err:
            _note(known, f"{err.message} {err.detail}".strip())
            continue
        grant = Grant(this_boot, known.tried_s, valid_s, enforce)
        known.grant = grant
        _note(known, "")
        try:
            write_grant(state / LEASE_FILE, grant)
        except OSError as err:
            log.error("lease_not_written", reason=str(err))


def _note(known: Known, trouble: str) -> None:
    if trouble != known.trouble:
        known.trouble = trouble
        if trouble:
            log.warn("lease_not_renewed", reason=trouble)
        else:
            log.info("lease_renewed")
