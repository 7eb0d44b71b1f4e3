"""What a machine is seen to do, from its monitor's word while it lives and from what it left when it ended.

QEMU removes its pid file when it ends by itself, and cannot when it is killed: that is how a guest that
turned itself off while no agent ran is told from one that crashed. In doubt a machine was killed: a wish
to be off is only believed when nothing speaks against it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from holdfast.base.limits import QEMU_LOG_BYTES
from holdfast.host.hypervisor.driver import Observed, Reason, Run
from holdfast.host.hypervisor.qemu.directory import SPEC_FILE
from holdfast.host.hypervisor.qemu.files import QEMU_LOG, REASON_FILE, tail_or_nothing
from holdfast.host.hypervisor.qemu.incoming import WAITING
from holdfast.host.hypervisor.qemu.outgoing import HALTED
from holdfast.host.hypervisor.qemu.processes import PID_FILE, Process

_PAUSED = {
    "paused": Reason.NONE,
    "prelaunch": Reason.NONE,
    WAITING: Reason.RECEIVING,
    HALTED: Reason.SENT,
    "io-error": Reason.NOSPACE,  # QEMU stops a guest for a full disk only; other errors go to the guest
    "internal-error": Reason.INTERNAL_ERROR,
    "guest-panicked": Reason.INTERNAL_ERROR,
}
_SIGNALLED = b"terminating on signal"  # SIGTERM ends QEMU in good order, but it was not the guest's wish
_SMALL_BYTES = 64 << 10


def observed_running(process: Process, status: str | None, received: bool) -> Observed:
    """A living process; `status` is its monitor's word, None when it was silent.

    `received`: its guest came from elsewhere and was not activated yet.
    """
    if status is None:
        return Observed(process.instance_id, Run.RUNNING, process.pid, Reason.MONITOR_SILENT)
    if status in _PAUSED:
        reason = Reason.RECEIVED if received and status != WAITING else _PAUSED[status]
        return Observed(process.instance_id, Run.PAUSED, process.pid, reason)
    return Observed(process.instance_id, Run.RUNNING, process.pid)


def observed_stopped(directory: Path, boot_id: str) -> Observed:
    """A directory without a process."""
    return Observed(directory.name, Run.STOPPED, 0, _reason_ended(directory, boot_id))


def _reason_ended(directory: Path, boot_id: str) -> Reason:
    with suppress(ValueError):
        if recorded := _read(directory / REASON_FILE).decode("ascii", "replace"):
            return Reason(recorded)
    if not (directory / SPEC_FILE).exists():
        return Reason.START_FAILED  # whoever started it was killed before there was anything to start
    if (directory / PID_FILE).is_symlink() or (directory / PID_FILE).exists():
        return Reason.KILLED if _boot_of(directory) == boot_id else Reason.HOST_RESTART
    if _SIGNALLED in tail_or_nothing(directory / QEMU_LOG, QEMU_LOG_BYTES):
        return Reason.KILLED
    return Reason.GUEST_SHUTDOWN


def _boot_of(directory: Path) -> str:
    with suppress(ValueError, AttributeError):
        return str(json.loads(_read(directory / SPEC_FILE)).get("boot_id"))
    return ""


def _read(path: Path) -> bytes:
    return tail_or_nothing(path, _SMALL_BYTES)
