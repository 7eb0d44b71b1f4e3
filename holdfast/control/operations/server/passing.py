"""The way of a server from its host to another: begun, followed, called off, ended.

A passage holds room on its target from the first moment, and its server stays its owner's until `passage_end`: one
transaction that changes owner, allocation, ports and volumes. A live one is told to both ends (docs/design/023); of a
cold one the source is told to end the server and to leave its disk, and confirms that nothing of it runs there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from holdfast.base import ids
from holdfast.base.limits import MOVE_KEY_BYTES
from holdfast.control.operations.network.port_instance import instance_ports_move
from holdfast.control.operations.server.placing import server_take
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import departed_add, departed_drop
from holdfast.control.store.host import allocation_delete
from holdfast.control.store.instance import instance_change, instance_fetch, observations_delete
from holdfast.control.store.operation import operations_wake
from holdfast.control.store.placement.passage import (
    passage_delete,
    passage_fetch,
    passage_insert,
    passage_update,
    passages_of,
)
from holdfast.control.store.revision import revision_network, revision_next
from holdfast.domain.host import LEFT, Allocation, Host, Passage, PassageKind
from holdfast.domain.instance import Instance
from holdfast.domain.observed import MachineReport, Phase

SAME_DISK, ABOVE_BASE = "none", "top"  # what of a disk is copied, in the words of the record


def passage_begin(tx: Tx, row: Instance, target_id: str, kind: PassageKind, copy: str, room: Allocation) -> Passage:
    """Hold room on a host and tell both of them; the server goes on as it is until they answer."""
    passage_delete(tx, row.id)
    told = instance_change(tx, row)
    live = kind is PassageKind.LIVE
    begun = Passage(
        instance_id=row.id,
        id=ids.new_id(),
        kind=kind,
        source_id=row.host_id,
        target_id=target_id,
        copy=copy,
        key=secrets.token_hex(MOVE_KEY_BYTES) if live else "",
        generation=told.generation,
        revision=revision_next(tx),
        vcpus=room.vcpus,
        memory_mib=room.memory_mib,
        disk_gib=room.disk_gib,
        created_us=tx.now_us,
        updated_us=tx.now_us,
    )
    passage_insert(tx, begun)
    if live:
        revision_network(tx, [target_id])  # it needs the networks before the guest comes
    return begun


def passage_drop(tx: Tx, row: Instance) -> Instance:
    """Call off whatever way a server is on: it stays where it is; returns the new row. On none: the same row."""
    held = passage_fetch(tx, row.id)
    if held is None:
        return row
    passage_delete(tx, row.id)
    if held.kind is PassageKind.RETURN:
        return row
    after = instance_change(tx, row)
    if held.kind is PassageKind.LIVE:
        departed_add(tx, row.id, held.target_id, after.generation, erase=held.copy != SAME_DISK)
        revision_network(tx, [held.target_id])
    return after


def passage_end(tx: Tx, row: Instance, held: Passage, target: Host, **changes: object) -> Instance:
    """The server is its target's from now on; returns the new row."""
    passage_delete(tx, row.id)
    moved = server_take(tx, row, target, **changes)
    observations_delete(tx, [row.id])
    if held.kind is PassageKind.LIVE:
        departed_add(tx, row.id, held.source_id, moved.generation, erase=False)
        departed_drop(tx, row.id, target.id)  # of an earlier try: whoever waits for this one has nothing of it left
    return moved


def passage_leave(tx: Tx, row: Instance) -> Instance:
    """A server that left its host for none: it holds no room, and its ports are on no host; returns the new row."""
    passage_delete(tx, row.id)
    allocation_delete(tx, row.id)
    instance_ports_move(tx, row.id, "")
    return instance_change(tx, row, host_id="", present=False)


def passage_keep_return(tx: Tx, held: Passage, row: Instance, room: Allocation) -> None:
    """Hold room on the host where a server came from, until its owner confirms that it stays where it is now."""
    changes = {"kind": PassageKind.RETURN, "key": "", "target_end": None, "source_state": "", "target_state": ""}
    ways = {"id": ids.new_id(), "source_id": row.host_id, "target_id": room.host_id, "copy": SAME_DISK}
    holds = {"vcpus": room.vcpus, "memory_mib": room.memory_mib, "disk_gib": room.disk_gib}
    passage_insert(tx, msgspec.structs.replace(held, **changes, **ways, **holds, created_us=tx.now_us))


def passages_observed(tx: Tx, host_id: str, machines: Sequence[MachineReport]) -> None:
    """Write down what a host says of the passages that it is an end of; whoever follows them is woken by it."""
    words = {m.instance_id: m for m in machines if m.move is not None or m.phase is Phase.ABSENT}
    for held in passages_of(tx, list(words)).values():
        said = words[held.instance_id]
        changes = _left(held, host_id, said) if held.kind is PassageKind.COLD else _live(held, host_id, said)
        if not changes:
            continue
        passage_update(tx, held, **changes)
        if "target_end" in changes:
            _tell_source(tx, held.instance_id)
        if changes.get("source_state") == LEFT:
            observations_delete(tx, [held.instance_id])
        operations_wake(tx, [held.instance_id])


def _left(held: Passage, host_id: str, said: MachineReport) -> dict[str, object]:
    gone = said.phase is Phase.ABSENT and host_id == held.source_id and said.generation >= held.generation
    return {"source_state": LEFT} if gone and held.source_state != LEFT else {}


def _live(held: Passage, host_id: str, said: MachineReport) -> dict[str, object]:
    move = said.move
    if move is None or move.id != held.id:
        return {}
    found: dict[str, object] = {"reason": move.reason} if move.reason else {}
    if host_id == held.target_id:
        found |= {"target_state": move.state.value}
        found |= {"target_end": move.end} if move.end is not None else {}
    elif host_id == held.source_id:
        found |= {"source_state": move.state.value}
        found |= {"remaining_bytes": move.remaining_bytes, "total_bytes": move.total_bytes}
    return {name: value for name, value in found.items() if getattr(held, name) != value}


def _tell_source(tx: Tx, instance_id: str) -> None:
    """Send the record of the server to its host again, which now says where the other end listens."""
    row = instance_fetch(tx, instance_id)
    if row is not None:
        instance_change(tx, row)
