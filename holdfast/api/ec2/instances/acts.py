"""Acts on instances: start, stop, reboot, terminate, and the console of one.

An act names any number of instances and is accepted for all of them or for none. What is there already (a
stop of a stopped one, a second terminate) is done, so a repeat is never an error.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.instances.found import server_allow, server_named, servers_named
from holdfast.api.ec2.instances.views import change_view, state_of
from holdfast.api.ec2.lookup import INSTANCE
from holdfast.api.http.call import Call
from holdfast.base.errors import Conflict, NotSupported
from holdfast.base.limits import EC2_CONSOLE_BYTES
from holdfast.control.operations.server.acts import act_begin
from holdfast.control.operations.server.delete import server_delete_begin
from holdfast.control.store.console import console_text
from holdfast.control.store.database import Tx
from holdfast.domain.desired import Power
from holdfast.domain.server import Server

_P = "os_compute_api:servers:"
Act = Callable[[Call, Tx, Server, str], str]
"""Begins an act on an instance that is in a state; returns its state then."""


def instances_start(call: Call, members: Members) -> Members:
    """StartInstances."""
    return {"StartingInstances": _each(call, members, f"{_P}start", _start)}


def instances_stop(call: Call, members: Members) -> Members:
    """StopInstances: by the power button, with Force by the plug."""
    if members.get("Hibernate"):
        raise NotSupported("Instances cannot hibernate in this cloud.")
    hard = bool(members.get("Force")) or bool(members.get("SkipOsShutdown"))

    def stop(call: Call, tx: Tx, server: Server, state: str) -> str:
        if state in ("stopped", "stopping"):
            return state
        _require(server, state, "stopped", "running")
        row = server.instance
        act_begin(tx, row, "server_stop", call.credentials, call.request_id, power=Power.STOPPED, soft=not hard)
        return "stopping"

    return {"StoppingInstances": _each(call, members, f"{_P}stop", stop)}


def instances_reboot(call: Call, members: Members) -> Members:
    """RebootInstances."""
    _each(call, members, f"{_P}reboot", _reboot)
    return {}


def instances_terminate(call: Call, members: Members) -> Members:
    """TerminateInstances: always accepted, whatever goes on."""
    return {"TerminatingInstances": _each(call, members, f"{_P}delete", _terminate)}


def console_output(call: Call, members: Members) -> Members:
    """GetConsoleOutput: the last that the guest wrote, also after it is gone."""

    def look(tx: Tx) -> tuple[str, int]:
        row = server_named(call, tx, members["InstanceId"], "os_compute_api:os-console-output").instance
        return console_text(tx, row.id), tx.now_us

    text, now_us = call.services.store.read(look)
    kept = text.encode()[-EC2_CONSOLE_BYTES:].decode(errors="ignore")  # without half a character at its start
    output = base64.b64encode(kept.encode()).decode()
    return {"InstanceId": members["InstanceId"], "Timestamp": now_us, "Output": output}


def _each(call: Call, members: Members, rule: str, act: Act) -> list[Members]:
    def change(tx: Tx) -> list[Members]:
        answers = []
        for server in servers_named(call, tx, members["InstanceIds"]):
            server_allow(call, server, rule, changes=True)
            before = state_of(server)
            answers.append(change_view(server, before, act(call, tx, server, before)))
        return answers

    return call.services.store.write(change)


def _start(call: Call, tx: Tx, server: Server, state: str) -> str:
    if state in ("running", "pending"):
        return state
    _require(server, state, "started", "stopped")
    row = server.instance
    if row.power is Power.PAUSED:
        act_begin(tx, row, "server_unpause", call.credentials, call.request_id, power=Power.RUNNING)
    else:
        act_begin(tx, row, "server_start", call.credentials, call.request_id, power=Power.RUNNING, soft=False)
    return "pending"


def _reboot(call: Call, tx: Tx, server: Server, state: str) -> str:
    if server.act == "server_reboot":
        return state
    _require(server, state, "rebooted", "running")
    row = server.instance
    changes = {"power": Power.RUNNING, "boot": row.boot + 1, "soft": True}
    act_begin(tx, row, "server_reboot", call.credentials, call.request_id, **changes)
    return state


def _terminate(call: Call, tx: Tx, server: Server, state: str) -> str:
    if state == "terminated":
        return state
    server_delete_begin(tx, server.instance, call.credentials, call.request_id)
    return "shutting-down"


def _require(server: Server, state: str, done: str, needed: str) -> None:
    """Raise Conflict unless the instance is in the state that the act needs, on a host, with nothing going on."""
    instance_id = INSTANCE.id_of(server.instance.id)
    if state != needed or not server.instance.host_id:
        message = f"The instance '{instance_id}' is not in a state from which it can be {done}."
        raise Conflict(message, code="IncorrectInstanceState")
    if server.act:
        message = f"The instance '{instance_id}' is being worked on. Try again when that is done."
        raise Conflict(message, code="IncorrectState")


ACTIONS = {
    "StartInstances": Action(f"{_P}start", instances_start),
    "StopInstances": Action(f"{_P}stop", instances_stop),
    "RebootInstances": Action(f"{_P}reboot", instances_reboot),
    "TerminateInstances": Action(f"{_P}delete", instances_terminate),
    "GetConsoleOutput": Action("os_compute_api:os-console-output", console_output),
}
