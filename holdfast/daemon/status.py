"""`holdfast status`: what runs here, looked at in the machine and asked of the API."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from holdfast.base import config
from holdfast.base.errors import HoldfastError
from holdfast.base.run import pid_alive
from holdfast.daemon.places import Places
from holdfast.daemon.seats import hosts_here
from holdfast.daemon.supervisor import children_of, read_pid, supervisor_needle


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
    needles += [(child.name, child.needle) for child in children_of(places, settings, (), hosts_here(places))]
    processes = []
    for name, needle in needles:
        pid = read_pid(places.run / f"{name}.pid")
        processes.append({"name": name, "pid": pid if pid and pid_alive(pid, needle) else 0})
    return {"processes": processes, **_api(places, settings)}


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
