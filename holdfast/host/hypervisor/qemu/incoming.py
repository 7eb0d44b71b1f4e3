"""The receiving end of a move: a QEMU without a guest, which listens until it has one and then waits for a word.

It listens on one address, to whoever has the key of this move, for memory and, where disks are copied, for those.
It opens no disk for itself and says nothing to the network before `activate`: until then the guest may run on
where it came from.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path

from holdfast.base.errors import Conflict, Unavailable
from holdfast.host.hypervisor.driver import Copy, MachineSpec, Passage, Where
from holdfast.host.hypervisor.qemu import directory as home
from holdfast.host.hypervisor.qemu.passage import key_write
from holdfast.host.hypervisor.qemu.volumes import id_of, nodes_of
from holdfast.host.hypervisor.qmp import Qmp

AWAITED = "awaited"  # our end of the credentials; one that was received may be sent on, with others
WAITING = "inmigrate"
ANNOUNCE = {"initial": 50, "max": 550, "rounds": 5, "step": 100}  # milliseconds: QEMU's own; switches learn from it
_BACKLOG = 8


def is_guests(node: str) -> bool:
    """Whether a block node is what a guest sees of a disk or volume: named alike at both ends."""
    return re.fullmatch(r"disk\d+", node) is not None or (node[:1] == "v" and id_of(node) != "")


def _writable(spec: MachineSpec) -> list[str]:
    disks = [f"disk{number}" for number, disk in enumerate(spec.disks) if not disk.read_only]
    return [*disks, *(str(nodes_of(volume)[1]["node-name"]) for volume in spec.volumes)]


def listen(
    monitor: Qmp, directory: Path, spec: MachineSpec, passage: Passage, address: str, owner: home.Owner | None
) -> Where:
    """Let a machine that was started without a guest wait for one; returns where."""
    key_write(directory, passage, owner)
    credentials = {"qom-type": "tls-creds-psk", "id": AWAITED, "dir": str(directory), "endpoint": "server"}
    monitor.execute("object-add", credentials)
    capabilities = [{"capability": "late-block-activate", "state": True}]
    monitor.execute("migrate-set-capabilities", {"capabilities": capabilities})
    monitor.execute("migrate-set-parameters", {"tls-creds": AWAITED, "announce-rounds": 0})
    monitor.execute("migrate-incoming", {"uri": f"tcp:{in_uri(address)}:0"})
    port = _port_of(monitor.execute("query-migrate").get("socket-address", ()))
    if passage.copy is Copy.NONE:
        return Where(address, port)
    return Where(address, port, _offer_disks(monitor, address, _writable(spec)))


def activate(monitor: Qmp) -> None:
    """Run the guest, with the disks its own, and tell the network where it is now."""
    if monitor.execute("query-block-exports"):
        monitor.execute("nbd-server-stop")
    monitor.execute("cont")
    monitor.execute("announce-self", ANNOUNCE)


def in_uri(address: str) -> str:
    """An address of the sixth version goes in brackets."""
    return f"[{address}]" if ":" in address else address


def _offer_disks(monitor: Qmp, address: str, nodes: Sequence[str]) -> int:
    """Serve the disks to the sender; our side makes the socket, since QEMU does not say which port it got."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError as err:
            raise Unavailable(f"nothing can listen on {address}", detail=str(err)) from err
        listener.listen(_BACKLOG)
        monitor.give("disks", listener.fileno())
        at = {"type": "fd", "data": {"str": "disks"}}
        monitor.execute("nbd-server-start", {"addr": at, "tls-creds": AWAITED})
        for node in nodes:
            export = {"type": "nbd", "id": f"export-{node}", "node-name": node, "name": node, "writable": True}
            monitor.execute("block-export-add", export)
        return int(listener.getsockname()[1])


def _port_of(addresses: Sequence[dict[str, str]]) -> int:
    for found in addresses:
        if found.get("port", "").isdigit():
            return int(found["port"])
    raise Conflict("QEMU does not say where it listens")
