"""Why is it in this state? The acts of one instance, their steps, what is waited for, and what its host says.

Read-only, and whoever may see the instance may ask. An instance that was deleted can still be asked about,
for as long as its row is kept.
"""

from __future__ import annotations

from typing import Any

from holdfast.base.clock import iso_micros
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_fetch
from holdfast.control.store.instance import observation_fetch
from holdfast.control.store.operation import operation_events, operations_of
from holdfast.domain import server as words
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.server import Server

ACTS_SHOWN = 20


def instance_why(tx: Tx, server: Server) -> dict[str, Any]:
    """The whole story of an instance, newest act first."""
    row = server.instance
    seen = observation_fetch(tx, row.id)
    host = host_fetch(tx, row.host_id) if row.host_id else None
    acts = operations_of(tx, row.id, ACTS_SHOWN)
    return {
        "id": row.id,
        "name": row.name,
        "status": words.status(server),
        "task_state": words.task_state(server),
        "asked": {"state": row.state, "power": row.power, "present": row.present, "generation": row.generation},
        "host": None if host is None else {"name": host.name, "up": host.is_up(tx.now_us), "problems": host.problems},
        "seen": None
        if seen is None
        else {
            "phase": seen.phase,
            "reason": seen.reason,
            "step": seen.step,
            "generation": seen.generation,
            "at": iso_micros(seen.at_us),
        },
        "fault": None if row.fault is None else {"message": row.fault.message, "at": iso_micros(row.fault.at_us)},
        "because": _sentence(server, acts),
        "acts": [_act(tx, act) for act in acts],
    }


def _sentence(server: Server, acts: list[Operation]) -> str:
    """One line for people."""
    going_on = next((act for act in acts if act.state is OperationState.OPEN), None)
    if going_on is not None:
        waiting = f", waiting for {going_on.waiting_for}" if going_on.waiting_for else ""
        return f"{going_on.kind} is at step {going_on.step}{waiting}"
    if server.instance.fault is not None:
        return server.instance.fault.message
    return f"nothing is going on; its host last saw it {server.phase or 'not at all'}"


def _act(tx: Tx, act: Operation) -> dict[str, Any]:
    return {
        "id": act.id,
        "kind": act.kind,
        "state": act.state,
        "step": act.step,
        "request_id": act.request_id,
        "attempts": act.attempts,
        "waiting_for": act.waiting_for,
        "next_try": iso_micros(act.next_at_us) if act.state is OperationState.OPEN else None,
        "error": act.error,
        "error_code": act.error_code,
        "rejected_hosts": act.data.get("rejected", {}),
        "started": iso_micros(act.created_us),
        "updated": iso_micros(act.updated_us),
        "steps": [
            {"step": event.step, "result": event.result, "at": iso_micros(event.at_us), "detail": event.detail}
            for event in operation_events(tx, act.id)
        ],
    }
