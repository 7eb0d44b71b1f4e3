"""A server as the APIs show it: the instance, what its host sees, and the act that is going on.

OpenStack's three words (status, vm_state, task_state) and EC2's one are computed here from those facts, for
both APIs alike; nothing of this is stored. Only words that clients know are used: Terraform gives up on any
other (CLIENTS.md 2.2).
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.domain.desired import Power
from holdfast.domain.instance import Instance, InstanceState
from holdfast.domain.observed import Phase
from holdfast.domain.volume import AttachedView


class ServerAddress(msgspec.Struct, frozen=True):
    """One address of a server: fixed, or floating in front of a fixed one."""

    network_id: str
    network_name: str
    port_id: str
    mac: str
    address: str
    version: int
    floating: bool


class Server(msgspec.Struct, frozen=True):
    """One instance with everything that a view needs."""

    instance: Instance
    phase: str  # last seen by its host; empty: not yet
    reason: str
    act: str  # kind of the open operation; empty: none
    step: str
    addresses: tuple[ServerAddress, ...] = ()
    groups: tuple[str, ...] = ()  # names of its security groups
    host_name: str = ""
    host_up: bool = False
    volumes: tuple[AttachedView, ...] = ()


TASK: Final = {
    "server_create": "spawning",
    "server_delete": "deleting",
    "server_start": "powering-on",
    "server_stop": "powering-off",
    "server_pause": "pausing",
    "server_unpause": "unpausing",
    "server_rebuild": "rebuilding",
    "server_evacuate": "rebuilding",
    "server_capture": "image_snapshot",
    "server_migrate": "resize_migrating",
    "server_live_migrate": "migrating",
    "server_resize": "resize_migrating",
    "server_revert": "resize_reverting",
}
SETTLED: Final = {Power.RUNNING: "ACTIVE", Power.STOPPED: "SHUTOFF", Power.PAUSED: "PAUSED"}
BEFORE: Final = {
    "server_start": "SHUTOFF",
    "server_stop": "ACTIVE",
    "server_pause": "ACTIVE",
    "server_unpause": "PAUSED",
    "server_rebuild": "REBUILD",
    "server_migrate": "RESIZE",
    "server_live_migrate": "MIGRATING",
    "server_resize": "RESIZE",
    "server_revert": "REVERT_RESIZE",
}
"""What is shown while an act goes on: a stop is not done because it was asked for."""

VM_STATE: Final = {
    "BUILD": "building",
    "ACTIVE": "active",
    "REBOOT": "active",
    "HARD_REBOOT": "active",
    "REBUILD": "active",
    "MIGRATING": "active",
    "RESIZE": "active",
    "REVERT_RESIZE": "resized",
    "VERIFY_RESIZE": "resized",
    "SHUTOFF": "stopped",
    "PAUSED": "paused",
    "ERROR": "error",
    "DELETED": "deleted",
}
_POWER_STATE: Final = {Phase.RUNNING: 1, Phase.PAUSED: 3, Phase.STOPPED: 4}


def status(server: Server) -> str:
    """Nova's status."""
    row = server.instance
    if row.state is InstanceState.DELETED:
        return "DELETED"
    if row.state is InstanceState.BUILDING or (row.state is InstanceState.DELETING and not row.launched_us):
        return "ERROR" if row.fault else "BUILD"
    if server.act == "server_reboot":
        return "REBOOT" if row.soft else "HARD_REBOOT"
    if server.act in BEFORE:
        return BEFORE[server.act]
    if row.state is InstanceState.FAILED or row.fault:
        return "ERROR"
    return "VERIFY_RESIZE" if row.old_flavor else SETTLED[row.power]


def vm_state(server: Server) -> str:
    return VM_STATE[status(server)]


def task_state(server: Server) -> str | None:
    """Nova's task_state: what is going on."""
    if server.act == "server_create" and server.step != "spawn":
        return "scheduling"
    if server.act == "server_reboot":
        return "rebooting" if server.instance.soft else "rebooting_hard"
    if not server.act and server.instance.state is InstanceState.DELETING:
        return "deleting"
    return TASK.get(server.act)


def power_state(server: Server) -> int:
    """Nova's number: 0 nothing, 1 running, 3 paused, 4 shut down."""
    return _POWER_STATE.get(Phase(server.phase), 0) if server.phase else 0
