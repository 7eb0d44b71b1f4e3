"""Pulling the plug of one of several hosts of this machine, to see what a cloud does: `holdfast host kill h2`.

Everything of the host is ended with SIGKILL and both of its wires are cut, as a loss of power does; what is on its
disk stays. The supervisor leaves it alone until `holdfast host start h2` puts the plug back.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from holdfast.base import config
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import NETWORK_COMMAND_S
from holdfast.base.run import pids_of, run
from holdfast.daemon.places import Places
from holdfast.daemon.seats import hosts_here, seat_of
from holdfast.daemon.supervisor import host_children
from holdfast.host.hypervisor.qemu.processes import held, kill, processes_of
from holdfast.host.network.plan.fabric import Seat, machine_prefix


def host_kill(state: Path, name: str) -> int:
    """Pull the plug; returns how many guests went with it. Again: nothing."""
    places, settings = Places(state), config.load(state)
    seat = _seat(places, name)
    places.unplugged(name).touch(mode=0o600)
    _wires(settings, seat, "down")
    for child in host_children(places, settings, {name: hosts_here(places)[name]}):
        for pid in pids_of(child.needle):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    home = places.host(name).resolve()
    guests = processes_of(home)
    for process in guests:
        with held(process, home) as handle:
            if handle is not None:
                kill(handle)
    return len(guests)


def host_start(state: Path, name: str) -> None:
    """Put the plug back: the supervisor starts its agent and keeper. It had its plug in: nothing."""
    places = Places(state)
    _wires(config.load(state), _seat(places, name), "up")
    places.unplugged(name).unlink(missing_ok=True)


def _seat(places: Places, name: str) -> Seat:
    if name not in hosts_here(places):
        raise NotFound(f"this machine has no host {name[:80]}; next: holdfast host list")
    seat = seat_of(places, name)
    if seat is None:
        raise BadInput(
            f"host {name} is this machine itself: its plug is not ours to pull. Several hosts on one machine are made "
            "with: holdfast up --hosts 3",
            code="host_is_machine",
        )
    return seat


def _wires(settings: config.Settings, seat: Seat, state: str) -> None:
    own = machine_prefix(settings.prefix)
    for letter in ("u", "p"):
        run(["ip", "link", "set", f"{own}-{letter}{seat.number}", state], timeout_s=NETWORK_COMMAND_S)
