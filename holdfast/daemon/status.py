"""`holdfast status`: what runs here, looked at in the machine and asked of the API."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from holdfast.base import config
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import CONTROL_ANSWER_S
from holdfast.base.run import pids_of
from holdfast.daemon.agent import control_of
from holdfast.daemon.places import Places
from holdfast.daemon.seats import hosts_here
from holdfast.daemon.supervisor import children_of, supervisor_needle
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.keeper.lease import LEASE_FILE, read_lease


def status(options: argparse.Namespace) -> int:
    """Print each process, the API's answer and each host; 0 when all of it is well."""
    places = Places(Path(options.state).absolute())
    if not places.state.exists():
        print(f"there is no cloud in {places.state}; make one with: holdfast up")
        return 3
    found = look(places, config.load(places.state))
    if getattr(options, "json", False):
        print(json.dumps(found))
    else:
        for process in found["processes"]:
            print(f"{process['name']:<16} {'pid ' + str(process['pid']) if process['pid'] else 'not running'}")
        print(f"{'api':<16} {found['api']}")
        for host in found["hosts"]:
            print(f"host {host['name']:<11} {host['state']}, {host['status']}, {host['instances']} instances")
    return 0 if found["api"] == "answers" and all(process["pid"] for process in found["processes"]) else 1


def look(places: Places, settings: config.Settings) -> dict[str, Any]:
    """The facts of `status`."""
    needles = [("supervisor", supervisor_needle(places.state))]
    needles += [(child.name, child.needle) for child in children_of(places, settings)]
    processes = []
    for name, needle in needles:
        processes.append({"name": name, "pid": next(iter(pids_of(needle)), 0)})
    asked = _membership if settings.role == "host" else _api
    return {"processes": processes, **asked(places, settings)}


def _membership(places: Places, settings: config.Settings) -> dict[str, Any]:
    """Of a machine that joined: whether its cloud answers it, and gives its host the lease."""
    hosts, answer = [], "did not finish joining; next: holdfast join URL --token TOKEN"
    for name, host_id in hosts_here(places).items():
        home = places.host(name)
        try:
            control_of(places, settings, name, host_id).connect(CONTROL_ANSWER_S).close()
            answer = "answers"
        except HoldfastError as err:
            answer = f"does not answer: {err}"
        left_s = read_lease(home / LEASE_FILE).left_s
        state, lease = ("up", f"lease for {left_s:.0f} s") if left_s else ("down", "no lease")
        hosts.append({"name": name, "state": state, "status": lease, "instances": len(processes_of(home.resolve()))})
    return {"api": answer, "hosts": hosts}


def _api(places: Places, settings: config.Settings) -> dict[str, Any]:
    from holdfast.daemon.first_rows import session_of

    try:
        session = session_of(places, settings, "admin")
        hypervisors = session.get("/compute/v2.1/os-hypervisors/detail?with_servers=true")["hypervisors"]
    except (HoldfastError, OSError) as err:
        return {"api": f"does not answer: {err}", "hosts": []}
    hosts = [
        {
            "name": hypervisor["hypervisor_hostname"],
            "state": hypervisor["state"],
            "status": hypervisor["status"],
            "instances": len(hypervisor.get("servers") or ()),
        }
        for hypervisor in hypervisors
    ]
    return {"api": "answers", "hosts": hosts}
