"""One QEMU is set up and spawned: files, sockets, taps, and then the process that inherits them.

Every descriptor that is opened here is closed here; QEMU has its own copies. That copy of `alive`, locked,
is how the kernel tells that this machine has a process, whatever became of its files.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.base.errors import BadInput
from holdfast.base.limits import KILL_S
from holdfast.base.run import Child, spawn
from holdfast.host.hypervisor.driver import Card, MachineSpec, Probed
from holdfast.host.hypervisor.qemu import directory as home
from holdfast.host.hypervisor.qemu.command import Wiring, command
from holdfast.host.hypervisor.qemu.files import CONSOLE_FILE, QEMU_LOG, open_appending
from holdfast.host.hypervisor.qemu.passage import note_drop
from holdfast.host.hypervisor.qemu.probe import boot_id
from holdfast.host.hypervisor.qemu.processes import PID_FILE


@dataclass(frozen=True, slots=True)
class Host:
    """What was found out about this host."""

    binary: str
    machine_type: str
    probed: Probed
    owner: home.Owner | None


def owner_of(user: str) -> home.Owner:
    """The user that QEMU is to run as; raises BadInput when there is none of that name."""
    try:
        account = pwd.getpwnam(user)
    except KeyError as err:
        raise BadInput(f"no user {user} on this host") from err
    return home.Owner(user, account.pw_uid, account.pw_gid)


def launch(
    spec: MachineSpec, directory: Path, host: Host, open_tap: Callable[[Card], int], waits: bool = False
) -> Child:
    """Spawn the process of `spec`, waiting for a guest from elsewhere if asked to. The caller holds the directory."""
    with ExitStack() as opened:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        alive = _keep(opened, os.open(directory / home.ALIVE_FILE, flags, 0o600))
        home.lock_file(alive, KILL_S, spec.instance_id)
        note_drop(directory)
        home.write_durable(directory / home.SPEC_FILE, _record(spec, host))
        output = _keep(opened, open_appending(directory / QEMU_LOG))
        os.ftruncate(output, 0)
        _make_files(spec, directory, host.owner)
        monitor, debug, console, agent = (
            opened.enter_context(home.listen(directory, name)).fileno() for name in home.SOCKETS
        )
        taps = tuple(_keep(opened, open_tap(card)) for card in spec.cards)
        accelerator = host.probed.accelerator
        wiring = Wiring(host.machine_type, accelerator, directory, monitor, debug, console, agent, taps, waits)
        return spawn(
            command(spec, wiring, host.binary),
            pass_fds=(alive, monitor, debug, console, agent, *taps),
            env={"PATH": os.environ.get("PATH", os.defpath)},  # nothing that our own environment may hold
            output=output,
            user=host.owner.name if host.owner else None,
        )


def _keep(opened: ExitStack, handle: int) -> int:
    opened.callback(os.close, handle)
    return handle


def _record(spec: MachineSpec, host: Host) -> bytes:
    known = {"boot_id": boot_id(), "machine_type": host.machine_type, "accelerator": host.probed.accelerator}
    return json.dumps({**known, "qemu": host.probed.version, "spec": asdict(spec)}, default=str, indent=1).encode()


def _make_files(spec: MachineSpec, directory: Path, owner: home.Owner | None) -> None:
    """Make what QEMU will find: the console goes on where it was, the pid file marks a start that has begun."""
    for name in (CONSOLE_FILE, PID_FILE):
        os.close(open_appending(directory / name))
    if owner is not None:
        for path in (directory, directory / CONSOLE_FILE, directory / PID_FILE, *_files(spec)):
            home.own(path, owner)


def _files(spec: MachineSpec) -> list[Path]:
    return [disk.path for disk in spec.disks] + [volume.path for volume in spec.volumes]
