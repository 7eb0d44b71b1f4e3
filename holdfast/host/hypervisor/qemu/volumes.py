"""Volumes of a running QEMU: plugged in, taken out and grown over its monitor.

A volume is a file node, a raw node on it and a virtio disk in a port of its own. All three names are made from
its id, so whoever comes next reads from QEMU itself which volumes it has, and where an interrupted act stopped:

    plug:    file node > raw node > disk         each step is left out when it is there already
    unplug:  disk asked to go > the guest lets go > raw node > file node

The file is closed when the last node is gone; until then QEMU holds its lock and no other QEMU can open it. The
guest may refuse or be slow: what is asked is never waited for while the monitor is held, since only one can talk
to it at a time.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from holdfast.base.errors import Conflict, HoldfastError
from holdfast.base.limits import UNPLUG_LOOK_S
from holdfast.host.hypervisor.driver import Volume
from holdfast.host.hypervisor.qmp import Qmp

SERIAL_CHARS = 20  # of a virtio disk, by its standard
_NODE_CHARS = 26  # of base32 for 16 bytes: QEMU's names of nodes end at 31, an id has 36


def bus_of(slot: int) -> str:
    """The name of the port."""
    return f"slot{slot}"


def nodes_of(volume: Volume) -> tuple[dict[str, Any], dict[str, Any]]:
    """The file, and the disk in it: raw, whatever a guest wrote at its beginning."""
    code = _code(volume.id)
    options = {"discard": "unmap", "read-only": False}
    file = {"driver": "file", "node-name": f"f{code}", "filename": str(volume.path), "locking": "on", **options}
    return file, {"driver": "raw", "node-name": f"v{code}", "file": f"f{code}", **options}


def device_of(volume: Volume) -> dict[str, Any]:
    """The disk as the guest meets it."""
    place = {"driver": "virtio-blk-pci", "id": _device(volume.id), "bus": bus_of(volume.slot), "addr": "0x0"}
    return {**place, "drive": f"v{_code(volume.id)}", "serial": volume.id[:SERIAL_CHARS]}


def volumes_open(monitor: Qmp) -> dict[str, int]:
    """Every volume of which at least a node is there, with its size in bytes."""
    sizes: dict[str, int] = {}
    for node in monitor.execute("query-named-block-nodes", {"flat": True}):
        volume_id = id_of(str(node.get("node-name", "")))
        if volume_id:
            sizes[volume_id] = int(node.get("image", {}).get("virtual-size", 0))
    return sizes


def plug(monitor: Qmp, volume: Volume) -> None:
    """Do what is missing; what this call added is taken back when it fails."""
    done: list[tuple[str, dict[str, Any]]] = []
    there = _nodes(monitor)
    try:
        for node in nodes_of(volume):
            if node["node-name"] not in there:
                monitor.execute("blockdev-add", node)
                done.append(("blockdev-del", {"node-name": node["node-name"]}))
        if _device(volume.id) not in _devices(monitor):
            monitor.execute("device_add", device_of(volume))
    except HoldfastError:
        for command, arguments in reversed(done):
            with suppress(HoldfastError):
                monitor.execute(command, arguments)
        raise


def unplug(talk: Callable[[], Qmp], volume_id: str, wait_s: float) -> bool:
    """Ask, and look until the guest let go and the nodes are gone; each look is a conversation of its own."""
    deadline = time.monotonic() + wait_s
    asked = False
    while True:
        with talk() as monitor:
            gone = _device(volume_id) not in _devices(monitor)
            if gone and _close(monitor, volume_id):
                return True
            if not gone and not asked:
                asked = True
                with suppress(Conflict):  # "already in the process of unplug"
                    monitor.execute("device_del", {"id": _device(volume_id)})
        if time.monotonic() >= deadline:
            return False
        time.sleep(UNPLUG_LOOK_S)


def grow(monitor: Qmp, volume_id: str, size_bytes: int) -> None:
    """Never smaller: a file that another act made larger meanwhile is not cut."""
    if 0 < volumes_open(monitor).get(volume_id, 0) < size_bytes:
        monitor.execute("block_resize", {"node-name": f"v{_code(volume_id)}", "size": size_bytes})


def _close(monitor: Qmp, volume_id: str) -> bool:
    """Take the nodes away; False while QEMU still writes what the guest left."""
    there = _nodes(monitor)
    for name in (f"v{_code(volume_id)}", f"f{_code(volume_id)}"):
        if name in there:
            try:
                monitor.execute("blockdev-del", {"node-name": name})
            except Conflict:
                return False
    return True


def _nodes(monitor: Qmp) -> set[str]:
    return {str(node.get("node-name", "")) for node in monitor.execute("query-named-block-nodes", {"flat": True})}


def _devices(monitor: Qmp) -> set[str]:
    """The disks that were given a name, whether a guest uses them or is about to let go of them."""
    found: list[Mapping[str, Any]] = monitor.execute("qom-list", {"path": "/machine/peripheral"})
    return {str(device.get("name", "")) for device in found}


def _device(volume_id: str) -> str:
    return f"volume-{volume_id}"


def _code(volume_id: str) -> str:
    return base64.b32encode(uuid.UUID(volume_id).bytes).decode().rstrip("=").lower()


def id_of(node: str) -> str:
    """The id that a node was named after; empty for one that is no volume's."""
    if len(node) != _NODE_CHARS + 1 or node[0] not in "fv":
        return ""
    try:
        return str(uuid.UUID(bytes=base64.b32decode(node[1:].upper() + "======")))
    except ValueError:
        return ""
