"""The server's side of a volume: telling its host what it is to have, and reading what it has."""

from __future__ import annotations

from holdfast.control.operations.act import Work
from holdfast.control.operations.server import acts as server
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_change, instance_fetch
from holdfast.domain.instance import Instance, InstanceState, Observation
from holdfast.domain.observed import Phase
from holdfast.domain.volume import Attachment

_GONE = (InstanceState.DELETING, InstanceState.DELETED)


def machine_changed(tx: Tx, instance_id: str) -> int:
    """Send a server's record to its host again; returns its new generation."""
    row = instance_fetch(tx, instance_id)
    return instance_change(tx, row).generation if row and row.state not in _GONE else 0


def machine_has(work: Work, attachment: Attachment, size_gib: int) -> str:
    """What is missing until the machine has the volume in this size; empty when nothing is."""
    row, seen, missing = _seen(work, attachment)
    if missing or row is None or seen is None or seen.phase == Phase.STOPPED:
        return missing
    had_gib = dict(seen.volumes or ()).get(attachment.volume_id, 0)
    if had_gib >= size_gib:
        return ""
    return f"host {server.host_name(work, row)} to plug it in{_because(seen)}"


def machine_let_go(work: Work, attachment: Attachment) -> str:
    """What is missing until the machine is without the volume; empty when nothing is."""
    row, seen, missing = _seen(work, attachment)
    if missing or row is None or seen is None or attachment.volume_id not in dict(seen.volumes or ()):
        return missing
    return f"the guest of server {row.id} to let go of it{_because(seen)}"


def _seen(work: Work, attachment: Attachment) -> tuple[Instance | None, Observation | None, str]:
    """The server, what is seen of it, and what is missing until that can be relied on."""
    row = instance_fetch(work.tx, attachment.instance_id)
    if row is None or row.state is InstanceState.DELETED:
        return None, None, ""
    if row.state is InstanceState.DELETING:
        return row, None, f"server {row.id} to be gone"
    seen = server.reached(work, row, work.data.get("generation", 0))
    if seen is None or seen.phase not in (Phase.RUNNING, Phase.PAUSED, Phase.STOPPED) or seen.volumes is None:
        return row, seen, f"host {server.host_name(work, row)} to see to server {row.id}"
    return row, seen, ""


def _because(seen: Observation) -> str:
    return f": {seen.volume_problem}" if seen.volume_problem else ""
