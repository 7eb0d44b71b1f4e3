"""The sending end of a move, step by step; each look reads from QEMU itself where an interrupted one stopped.

    mirror each disk > all in step > memory > [the guest halts > mirrors end > devices] > sent

Memory is copied before the switch, never after it: post-copy would lose the guest with the line. Until `sent` QEMU
lets the guest run on by itself when anything fails; after it never by itself. With disks to copy, QEMU waits
halted for us to end the mirrors; without, it asks nobody: an agent that was killed cannot leave a guest halted.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.limits import (
    MOVE_BYTES_PER_S,
    MOVE_CANCEL_S,
    MOVE_DOWNTIME_MS,
    MOVE_LOOK_S,
    MOVE_SWITCH_S,
)
from holdfast.host.hypervisor.driver import Copy, Passage, Sending, SendState, Where
from holdfast.host.hypervisor.qemu.incoming import in_uri, is_guests
from holdfast.host.hypervisor.qmp import Qmp

CREDENTIALS = "passage"
HALTED = "postmigrate"
GOING_ON = {"setup", "active", "pre-switchover", "device", "cancelling", "wait-unplug"}
_MIRROR = "mirror-"


def advance(monitor: Qmp, directory: Path, passage: Passage, where: Where) -> Sending:
    """Do what is next; while the guest is halted for it, stay until that is over or its bound."""
    deadline = time.monotonic() + MOVE_SWITCH_S
    while True:
        status, jobs = _status(monitor, passage.id), mirrors(monitor)
        broken = [str(job["error"]) for job in jobs if "error" in job]
        if broken and status != "completed":
            return Sending(SendState.FAILED, reason=f"a disk could not be copied: {broken[0]}")
        if status in ("failed", "cancelled", "cancelling"):
            return look(monitor, passage.id)
        if status == "none":
            jobs = _prepared(monitor, directory, passage, where, jobs)
            if all(job["status"] == "ready" for job in jobs):
                _memory_start(monitor, passage, where)
        elif status == "pre-switchover":
            _mirrors_end(monitor, jobs)
        late = time.monotonic() >= deadline
        if late and status == "pre-switchover":
            return Sending(SendState.FAILED, reason="the last of a disk was not copied in time")
        if late or status not in ("pre-switchover", "device"):
            return look(monitor, passage.id)
        time.sleep(MOVE_LOOK_S)


def look(monitor: Qmp, passage_id: str) -> Sending:
    """How far it is."""
    status, seen = _status(monitor, passage_id), monitor.execute("query-migrate")
    memory = seen.get("ram", {})
    left, total = int(memory.get("remaining", 0)), int(memory.get("total", 0))
    if status == "completed":
        return Sending(SendState.SENT, 0, total, int(seen.get("downtime", 0)))
    if status in GOING_ON:
        return Sending(SendState.SENDING, left, total, int(seen.get("expected-downtime", 0)))
    if status in ("failed", "cancelled"):
        return Sending(SendState.FAILED, reason=str(seen.get("error-desc", "")) or "the other end went away")
    jobs = mirrors(monitor)
    total = sum(int(job.get("total-progress", 0)) for job in jobs)
    return Sending(SendState.COPYING, total - sum(int(job.get("current-progress", 0)) for job in jobs), total)


def cancel(monitor: Qmp, passage_id: str) -> bool:
    """Stop it and remove what it made; False when it was sent already. Afterwards the guest runs on here."""
    deadline = time.monotonic() + MOVE_CANCEL_S
    if monitor.execute("query-migrate").get("status") in GOING_ON:
        monitor.execute("migrate_cancel")
    while (status := str(monitor.execute("query-migrate").get("status", "none"))) in GOING_ON:
        _bounded(deadline)
    if status == "completed" and _status(monitor, passage_id) == status:
        return False
    for line in monitor.execute("query-yank"):  # a mirror waits for an answer for ever, also when it is cancelled
        if str(line.get("node-name", "")).startswith(_MIRROR):
            monitor.execute("yank", {"instances": [line]})
    while jobs := mirrors(monitor):
        for job in jobs:
            with suppress(Conflict):  # it changes while we look
                if job["status"] == "concluded":
                    monitor.execute("job-dismiss", {"id": job["id"]})
                else:
                    monitor.execute("block-job-cancel", {"device": job["id"], "force": True})
        _bounded(deadline)
    clean(monitor)
    return True


def clean(monitor: Qmp) -> None:
    """Remove our ends of the connections."""
    for node in _nodes(monitor):
        if node.startswith(_MIRROR):
            monitor.execute("blockdev-del", {"node-name": node})
    if CREDENTIALS in _objects(monitor):
        monitor.execute("migrate-set-parameters", {"tls-creds": ""})
        monitor.execute("object-del", {"id": CREDENTIALS})


def mirrors(monitor: Qmp) -> list[dict[str, Any]]:
    """The copies of disks, ended ones too: those are kept until somebody has read how they ended."""
    return [job for job in monitor.execute("query-jobs") if str(job.get("id", "")).startswith(_MIRROR)]


def _status(monitor: Qmp, passage_id: str) -> str:
    """QEMU's word on this passage: it keeps the end of the last one until the next begins."""
    status = str(monitor.execute("query-migrate").get("status", "none"))
    named = monitor.execute("query-migrate-parameters").get("tls-authz", "")
    return status if named == passage_id or status in GOING_ON else "none"


def _prepared(
    monitor: Qmp, directory: Path, passage: Passage, where: Where, jobs: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What is missing: our credentials, and a mirror for each disk; returns all mirrors."""
    if CREDENTIALS not in _objects(monitor):
        credentials = {"qom-type": "tls-creds-psk", "id": CREDENTIALS, "dir": str(directory), "endpoint": "client"}
        monitor.execute("object-add", {**credentials, "username": passage.id})
    if passage.copy is Copy.NONE:
        return []
    known, there = {job["id"] for job in jobs}, _nodes(monitor)
    server = {"type": "inet", "host": where.address, "port": str(where.disks_port)}
    for node in [name for name, read_only in there.items() if is_guests(name) and not read_only]:
        name = f"{_MIRROR}{node}"
        if name in known:
            continue
        if name not in there:
            remote = {"driver": "nbd", "node-name": name, "server": server, "export": node, "tls-creds": CREDENTIALS}
            monitor.execute("blockdev-add", remote)
        job = {"job-id": name, "device": node, "target": name, "sync": passage.copy.value, "speed": MOVE_BYTES_PER_S}
        monitor.execute("blockdev-mirror", {**job, "auto-dismiss": False})
    return mirrors(monitor)


def _nodes(monitor: Qmp) -> dict[str, bool]:
    """Every named node, and whether it is read-only."""
    listed = monitor.execute("query-named-block-nodes", {"flat": True})
    return {str(node.get("node-name", "")): bool(node.get("ro", True)) for node in listed}


def _objects(monitor: Qmp) -> list[str]:
    return [str(item.get("name", "")) for item in monitor.execute("qom-list", {"path": "/objects"})]


def _memory_start(monitor: Qmp, passage: Passage, where: Where) -> None:
    wanted = {"auto-converge": True, "pause-before-switchover": passage.copy is not Copy.NONE}
    capabilities = [{"capability": name, "state": state} for name, state in wanted.items()]
    monitor.execute("migrate-set-capabilities", {"capabilities": capabilities})
    bounds = {"downtime-limit": MOVE_DOWNTIME_MS, "max-bandwidth": MOVE_BYTES_PER_S}
    # a sender asks nobody's leave: there the name of whom to ask is ours, and tells whose end is seen
    monitor.execute("migrate-set-parameters", {"tls-creds": CREDENTIALS, "tls-authz": passage.id, **bounds})
    monitor.execute("migrate", {"uri": f"tcp:{in_uri(where.address)}:{where.port}"})


def _mirrors_end(monitor: Qmp, jobs: list[dict[str, Any]]) -> None:
    """The guest is halted: let each mirror write the last and end, and then go on. A failed one was seen before."""
    for job in jobs:
        with suppress(Conflict):
            if job["status"] == "ready":
                monitor.execute("block-job-cancel", {"device": job["id"]})
    if all(job["status"] == "concluded" for job in jobs):
        monitor.execute("migrate-continue", {"state": "pre-switchover"})


def _bounded(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise Unavailable("a move that was cancelled does not end")
    time.sleep(MOVE_LOOK_S)
