"""`holdfast audit`: intent and store, asked of the control plane, and reality, looked at on this machine.

Reality is read from /proc, the kernel and the disks, never from our own reports.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast.base import config
from holdfast.base.errors import HoldfastError
from holdfast.base.ids import is_id
from holdfast.base.limits import AUDIT_LASTS_S, AUDIT_PAUSE_S
from holdfast.client.session import Session
from holdfast.daemon.agent import control_of, resolvers
from holdfast.daemon.first_rows import session_of
from holdfast.daemon.places import Places
from holdfast.daemon.seats import hosts_here, network_of, seat_of, space_of
from holdfast.daemon.storage import storage_of
from holdfast.domain.desired import HostUpdate, Power
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.link import Link
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.keeper.lease import INCARNATION_FILE, read_incarnation
from holdfast.host.network import namespace

Found = tuple[str, str, str]  # code, object, words


def audit(options: argparse.Namespace) -> int:
    """Print every finding; 0 when there is none."""
    places = Places(Path(options.state).absolute())
    settings = config.load(places.state)
    session = None if settings.role == "host" else session_of(places, settings, "admin")
    findings = _lasting(lambda: _look(places, settings, session))
    if getattr(options, "json", False):
        print(json.dumps([{"code": code, "object": which, "words": words} for code, which, words in findings]))
    else:
        for code, which, words in findings:
            print(f"{code:<22} {which}  {words}")
        print("nothing is out of order" if not findings else f"{len(findings)} findings; see docs/operators/audit.md")
    return 1 if findings else 0


def _lasting(look: Callable[[], list[Found]]) -> list[Found]:
    """What is so for AUDIT_LASTS_S: a guest that is just starting or going is out of order for a moment."""
    found, until_s = look(), time.monotonic() + AUDIT_LASTS_S
    while found and time.monotonic() < until_s:
        time.sleep(AUDIT_PAUSE_S)
        again = set(look())
        found = [finding for finding in found if finding in again]
    return found


def _look(places: Places, settings: config.Settings, session: Session | None) -> list[Found]:
    """Without a session, on a machine that joined: what is in the store is audited where the control plane is."""
    audited = session.get("/debug/v1/audit")["findings"] if session is not None else ()
    found = [(f["code"], f["object"], f["words"]) for f in audited]
    found += list(_doubled(places))
    for name, host_id in hosts_here(places).items():
        if settings.hypervisor != "simulated":
            found += list(machine_audit(places, settings, name, host_id))
    return found


def machine_audit(places: Places, settings: config.Settings, name: str, host_id: str) -> Iterator[Found]:
    """What this machine shows that the desired state of the host does not explain, and the other way round."""
    home = places.host(name)
    try:
        control = control_of(places, settings, name, host_id)
        update = Link(control, lambda: read_incarnation(home / INCARNATION_FILE)).desired(0, 0)
    except HoldfastError as err:
        yield "host-link", name, err.message
        return
    if update is None:
        return
    yield from _processes(home, update)
    yield from files_audit(home, update)
    seat = seat_of(places, name)
    if seat is not None and not space_of(seat):
        yield "namespace-missing", seat.space, f"host {name} should be in it"
    else:
        yield from namespace.inside(space_of(seat), lambda: _network(places, settings, name, host_id, update))


def _doubled(places: Places) -> Iterator[Found]:
    """What runs twice, whichever hosts of this machine it runs on."""
    homes = [places.host(name).resolve() for name in hosts_here(places)]
    running = Counter(process.instance_id for home in homes for process in processes_of(home))
    for instance_id, count in sorted(running.items()):
        if count > 1:
            yield "process-doubled", instance_id, f"{count} QEMU processes run it"


def _processes(home: Path, update: HostUpdate) -> Iterator[Found]:
    running = {process.instance_id for process in processes_of(home.resolve())}
    wanted = {machine.instance_id: machine for machine in update.machines if machine.present}
    for instance_id in sorted(running):
        if instance_id not in wanted:
            yield "process-unknown", instance_id, "a QEMU process runs it and nobody asked for it"
    for instance_id, machine in wanted.items():
        if machine.power is Power.RUNNING and instance_id not in running:
            yield "process-missing", instance_id, "it should run and no QEMU process does"


def files_audit(home: Path, update: HostUpdate) -> Iterator[Found]:
    """What lies on the disk of a host and should not, and the other way round.

    In a directory that hosts share, most of what is there is other hosts'; what is missing there is missing anywhere.
    """
    storage, wanted = storage_of(home), {machine.instance_id for machine in update.machines}
    own = storage.kept is not None
    for directory in (home / "machines", home / "reached", *([storage.disks] if own else [])):
        for path in sorted(directory.glob("*")):
            if is_id(path.name) and path.name not in wanted:
                yield "file-unknown", str(path), "it belongs to no instance of this host"
    volumes = {volume.id: volume for volume in update.volumes}
    there = {path.stem: path for path in storage.volumes.glob("*.raw")}
    for volume_id in sorted(there.keys() - volumes.keys()) if own else ():
        yield "file-unknown", str(there[volume_id]), "it belongs to no volume of this host"
    for volume_id, volume in sorted(volumes.items()):
        if volume.made and volume.present and volume_id not in there:
            yield "file-missing", volume_id, "the volume was made, and its file is not there"


def _network(places: Places, settings: config.Settings, name: str, host_id: str, update: HostUpdate) -> list[Found]:
    desk = Desk(host_id)
    desk.apply(update)
    running = {process.instance_id for process in processes_of(places.host(name).resolve())}
    network = network_of(places, settings, name, resolvers())
    try:
        return [(drift.code, drift.object, drift.words) for drift in network.drift(desk.whole(), running)]
    finally:
        network.close()
