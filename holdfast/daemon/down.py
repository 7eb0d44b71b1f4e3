"""`holdfast down` stops a cloud and keeps everything; `holdfast destroy` removes every trace and proves it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.base import config
from holdfast.base.errors import BadInput, Conflict
from holdfast.base.limits import DOWN_GRACE_S, GUESTS_STOPPED_AT_ONCE
from holdfast.base.run import pids_of
from holdfast.daemon import clouds_yaml
from holdfast.daemon.phases import Phases
from holdfast.daemon.places import Places
from holdfast.daemon.seats import fabric_of, hosts_here, network_of, prefixes, seat_of, seats_of, space_of
from holdfast.daemon.supervisor import children_of, stop_all, supervisor_stop
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.network import namespace
from holdfast.host.network.apply import HostNetwork
from holdfast.host.network.owner import owner_of
from holdfast.host.network.plan.fabric import Seat
from holdfast.host.network.remains import Inventory


def down(options: argparse.Namespace) -> int:
    """Stop the processes, the guests (power button first) and the network; `up` starts the same guests again."""
    places, phases = Places(Path(options.state).absolute()), Phases(bool(getattr(options, "json", False)))
    if not places.state.exists():
        phases.say(f"there is no cloud in {places.state}")
        return 0
    _stop(places, config.load(places.state), phases, DOWN_GRACE_S)
    phases.say("Stopped. 'holdfast up' starts it again with the same guests; 'holdfast destroy' removes every trace.")
    return 0


def destroy(options: argparse.Namespace) -> int:
    """Remove every process, namespace, link, rule, mount and file; 0 only when none was found afterwards."""
    places, phases = Places(Path(options.state).absolute()), Phases(bool(getattr(options, "json", False)))
    if not places.state.exists():
        phases.say(f"there is no cloud in {places.state}")
        return 0
    _is_ours(places)
    if not options.yes:
        raise BadInput(
            f"destroy removes every instance, disk, image and key of the cloud in {places.state}; "
            "if that is meant: holdfast destroy --yes",
            code="not_confirmed",
        )
    settings = config.load(places.state)
    seats = seats_of(places)
    ours = [prefix for prefix in prefixes(settings, seats) if _has_prefix(places, prefix)]
    _stop(places, settings, phases, grace_s=0)
    with phases.phase("files") as told:
        path = Path(settings.clouds_yaml) if settings.clouds_yaml else clouds_yaml.default_path()
        clouds_yaml.remove(path, places.state)
        shutil.rmtree(places.state)
        told.words = f"{places.state} and the entries in {path}"
    with phases.phase("proof") as told:
        left = remains(places, settings, ours, seats)
        if left:
            raise Conflict(f"this is still here: {', '.join(left)}", code="remains")
        told.words = "no process, namespace, link, table or file of this cloud is left"
    if settings.store:  # other replicas may use it
        phases.say("The database is left as it is: drop it there before another cloud is made in it.")
    return 0


def _is_ours(places: Places) -> None:
    """A directory that is not a cloud's is never removed, whatever `--state` says."""
    if not (places.state / "hosts").is_dir() or not (places.state / "keys").is_dir():
        raise BadInput(f"{places.state} is not the state directory of a cloud: nothing was removed", code="not_a_cloud")


def _stop(places: Places, settings: config.Settings, phases: Phases, grace_s: float) -> None:
    with phases.phase("processes") as told:
        supervisor_stop(places)
        for child in children_of(places, settings):  # of a supervisor that was killed
            stop_all(child.needle)
        told.words = "supervisor, control, agent, keeper"
    if settings.hypervisor == "simulated":
        return
    with phases.phase("guests") as told:
        stopped = sum(_guests_stop(places.host(name), grace_s) for name in hosts_here(places))
        told.words = f"{stopped} stopped"
    with phases.phase("network") as told:
        seats, named = seats_of(places), prefixes(settings, seats_of(places))
        if not any(_has_prefix(places, prefix) for prefix in named):
            told.words = f"none: this cloud has nothing named {settings.prefix}"
            return
        for name in hosts_here(places):
            left = namespace.inside(space_of(seat_of(places, name)), partial(_network_end, places, settings, name))
            if left:
                raise Conflict(f"the network is not gone: {left}", code="network_remains")
        fabric = fabric_of(places, settings, seats)
        if fabric is not None and (remaining := fabric.remove()):
            raise Conflict(f"what was between the hosts is not gone: {remaining}", code="network_remains")
        told.words = f"everything named {', '.join(named)}"


def _network_end(places: Places, settings: config.Settings, name: str) -> Inventory:
    """Remove one host's network, from inside the host's namespace; returns what is left."""
    return network_of(places, settings, name).destroy()


def _has_prefix(places: Places, prefix: str) -> bool:
    """Whether what carries the prefix is this cloud's: one that never came up shares the default with another."""
    owner = owner_of(prefix)
    return owner is not None and owner.is_relative_to(places.state.resolve())


def _guests_stop(home: Path, grace_s: float) -> int:
    driver = Qemu(home, lambda _: -1, accelerator="tcg")
    running = [machine.instance_id for machine in driver.machines().values() if machine.pid]
    with ThreadPoolExecutor(GUESTS_STOPPED_AT_ONCE) as pool:
        list(pool.map(lambda instance_id: driver.stop(instance_id, grace_s), running))
    return len(running)


def remains(places: Places, settings: config.Settings, ours: Sequence[str], seats: Sequence[Seat]) -> list[str]:
    """Whatever of this cloud can still be found on the machine; of the network only where the prefix was its own."""
    left = [f"process {pid}" for pid in pids_of(f"{places.state}/") + pids_of(f"\0{places.state}\0")]
    if places.state.exists():
        left.append(str(places.state))
    with TemporaryDirectory() as elsewhere:  # below the state directory it would make that one again
        for prefix in ours:
            found = HostNetwork(prefix, Path(elsewhere)).found()
            left += [str(found)] if found else []
    return left + [seat.space for seat in seats if space_of(seat)]
