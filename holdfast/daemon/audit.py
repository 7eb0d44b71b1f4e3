"""`holdfast audit`: intent and store, asked of the control plane, and reality, looked at on this machine.

Reality is read from /proc, the kernel and the disks, never from our own reports.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from holdfast.base import config
from holdfast.base.errors import HoldfastError
from holdfast.base.ids import is_id
from holdfast.daemon.first_rows import session_of
from holdfast.daemon.places import Places
from holdfast.daemon.supervisor import hosts_here
from holdfast.domain.desired import HostUpdate, Power
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.link import Link
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.network.apply import HostNetwork
from holdfast.host.network.plan.host import plan


def audit(options: argparse.Namespace) -> int:
    """Print every finding; 0 when there is none."""
    places = Places(Path(options.state).absolute())
    settings = config.load(places.state)
    session = session_of(places, settings, "admin")
    findings = [(f["code"], f["object"], f["words"]) for f in session.get("/debug/v1/audit")["findings"]]
    for name, host_id in hosts_here(places).items():
        if settings.hypervisor != "simulated":
            findings += list(machine_audit(places, settings, name, host_id))
    if getattr(options, "json", False):
        print(json.dumps([{"code": code, "object": which, "words": words} for code, which, words in findings]))
    else:
        for code, which, words in findings:
            print(f"{code:<22} {which}  {words}")
        print("nothing is out of order" if not findings else f"{len(findings)} findings; see docs/operators/audit.md")
    return 1 if findings else 0


def machine_audit(places: Places, settings: config.Settings, name: str, host_id: str) -> Iterator[tuple[str, str, str]]:
    """What this machine shows that the desired state of the host does not explain, and the other way round."""
    home = places.host(name)
    try:
        update = Link(settings.endpoint, host_id, home / "token").desired(0, 0)
    except HoldfastError as err:
        yield "host-link", name, err.message
        return
    if update is None:
        return
    yield from _processes(home, update)
    yield from _files(home, update)
    yield from _network(settings, home, host_id, update)


def _processes(home: Path, update: HostUpdate) -> Iterator[tuple[str, str, str]]:
    running = Counter(process.instance_id for process in processes_of(home.resolve()))
    wanted = {machine.instance_id: machine for machine in update.machines if machine.present}
    for instance_id, count in running.items():
        if count > 1:
            yield "process-doubled", instance_id, f"{count} QEMU processes run it"
        if instance_id not in wanted:
            yield "process-unknown", instance_id, "a QEMU process runs it and nobody asked for it"
    for instance_id, machine in wanted.items():
        if machine.power is Power.RUNNING and instance_id not in running:
            yield "process-missing", instance_id, "it should run and no QEMU process does"


def _files(home: Path, update: HostUpdate) -> Iterator[tuple[str, str, str]]:
    wanted = {machine.instance_id for machine in update.machines}
    for directory in ("disks", "machines", "reached"):
        for path in sorted((home / directory).glob("*")):
            if is_id(path.name) and path.name not in wanted:
                yield "file-unknown", str(path), "it belongs to no instance of this host"


def _network(settings: config.Settings, home: Path, host_id: str, update: HostUpdate) -> Iterator[tuple[str, str, str]]:
    desk = Desk(host_id)
    desk.apply(update)
    network = HostNetwork(settings.prefix, home / "network")
    try:
        found, planned = network.found(), plan(desk.whole(), settings.prefix)
    finally:
        network.close()
    spaces = {space.name for space in planned.spaces if space.name}
    for name in sorted(set(found.namespaces) - spaces):
        yield "namespace-unknown", name, "no network or router of this host has it"
    for name in sorted(spaces - set(found.namespaces)):
        yield "namespace-missing", name, "a network or router of this host should have it"
