"""Empty a host so that it can be patched: nothing new comes, and each server gets a verdict.

    drain  begin the moves, DRAIN_MOVES at a time and by priority, until each server is gone or has a verdict; at the
           deadline, what is on its way and can be called off is

The act of the host; each server has its own (server/migrate.py). Ended or cancelled, it moves nothing back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict, HoldfastError
from holdfast.base.limits import DRAIN_MOVES
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.host.evacuation import Verdict, in_order
from holdfast.control.operations.host.lease import host_enable
from holdfast.control.operations.server.migrate import Wish, server_migrate_begin, server_move_cancel
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_fetch, host_names
from holdfast.control.store.instance import instance_fetch, instances_of_host
from holdfast.control.store.operation import (
    move_fetch,
    operation_insert,
    operation_open_of,
    operation_supersede,
    operations_of,
)
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import Power
from holdfast.domain.host import Host
from holdfast.domain.instance import Instance, InstanceState, priority_of
from holdfast.domain.operation import Operation, OperationState

log = logs.get(__name__)
KIND = "host_drain"
MOVED, GONE, STAYS = "moved", "gone", "stays"


def _drain(work: Work) -> Outcome:
    rows = in_order(instances_of_host(work.tx, work.operation.resource_id))
    landing = _close_left(work, {row.id for row in rows})
    open_rows = [row for row in rows if row.id not in _verdicts(work)]
    moving = [row for row in open_rows if _is_moving(work, row)]
    open_rows = [row for row in open_rows if row.id not in _verdicts(work)]
    if work.tx.now_us >= work.data["until_us"]:
        for row in open_rows:
            _give_up(work, row, f"it was not moved within {work.data['timeout_s']} s")
        for row in landing:
            _say(work, row.id, row, MOVED, _host_name(work, row), "it is not seen to run there yet")
        return NEXT
    for row in open_rows:
        if len(moving) >= DRAIN_MOVES:
            break
        if row not in moving and _begin(work, row):
            moving.append(row)
    left = [row for row in open_rows if row.id not in _verdicts(work)]
    if not left and not landing:
        return NEXT
    moved = sum(verdict["outcome"] == MOVED for verdict in _verdicts(work).values())
    going = f"{len(moving)} of them on their way, {len(landing)} landing"
    return wait(f"{len(left) + len(landing)} servers, {going}; {moved} have moved")


def _verdicts(work: Work) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = work.data["verdicts"]
    return found


def _close_left(work: Work, here: set[str]) -> list[Instance]:
    """What is not there any more: it moved, or it is gone; returns what has another host and is not seen there yet."""
    landing = []
    for instance_id in [i for i in work.data["seen"] if i not in here and i not in _verdicts(work)]:
        row = instance_fetch(work.tx, instance_id)
        if row is None or row.state in (InstanceState.DELETING, InstanceState.DELETED):
            _say(work, instance_id, row, GONE, reason="it was deleted")
        elif not row.host_id:
            _say(work, instance_id, row, GONE, reason="it waits for room on another host")
        elif operation_open_of(work.tx, instance_id) is not None:
            landing.append(row)
        else:
            _say(work, instance_id, row, MOVED, _host_name(work, row))
    work.data["seen"] = sorted({*work.data["seen"], *here})
    return landing


def _host_name(work: Work, row: Instance) -> str:
    return host_names(work.tx).get(row.host_id, row.host_id)


def _is_moving(work: Work, row: Instance) -> bool:
    begun = work.data["begun"].get(row.id)
    act = move_fetch(work.tx, begun) if begun else None
    if act is None:
        return False
    if act.state is not OperationState.OPEN:
        _say(work, row.id, row, STAYS, reason=act.error or "its move ended and it is there still")
    return act.state is OperationState.OPEN


def _begin(work: Work, row: Instance) -> bool:
    """Begin a move; False, with a verdict if that is final, when there is none to begin now."""
    if row.state in (InstanceState.BUILDING, InstanceState.DELETING) or operation_open_of(work.tx, row.id) is not None:
        return False  # its own act ends first
    by = Credentials(work.operation.user_id, "", "", project_id=row.project_id)
    wish, cold = Wish(live=row.power is not Power.STOPPED), not work.data["live_only"]
    request_id = work.operation.request_id
    try:
        act = work.tx.attempt(
            lambda: server_migrate_begin(work.tx, work.settings, row, wish, by, request_id, cold=cold)
        )
    except HoldfastError as err:
        _say(work, row.id, row, STAYS, reason=err.message)
        return False
    work.data["begun"][row.id] = act.id
    return True


def _give_up(work: Work, row: Instance, reason: str) -> None:
    act = operation_open_of(work.tx, row.id)
    if row.id in work.data["begun"]:
        _call_off(work.tx, row.id, "the drain of its host ended")
    words = f": {act.waiting_for}" if act is not None and act.waiting_for else ""
    _say(work, row.id, row, STAYS, reason=f"{reason}{words}")


def _call_off(tx: Tx, instance_id: str, reason: str) -> None:
    try:
        server_move_cancel(tx, instance_id, reason)
    except Conflict as err:
        log.info("move_not_called_off", instance=instance_id, reason=err.message)


def _say(work: Work, instance_id: str, row: Instance | None, outcome: str, host: str = "", reason: str = "") -> None:
    name, priority = (row.name, priority_of(row)) if row else ("", 0)
    begun = work.data["begun"].get(instance_id, "")
    verdict = Verdict(instance_id, name, priority, outcome, host, begun, reason)
    _verdicts(work)[instance_id] = msgspec.to_builtins(verdict)


DRAIN = Act(KIND, (Step("drain", _drain),), None)


def host_drain_begin(
    tx: Tx, host: Host, credentials: Credentials, request_id: str, timeout_s: int, live_only: bool
) -> Operation:
    """Close a host for new servers and begin to empty it; asked for again, what goes on is the answer.

    `live_only`: no server is ended to be moved. Conflict for a host that does not answer.
    """
    going_on = operation_open_of(tx, host.id)
    if going_on is not None:
        return going_on
    if not host.is_up(tx.now_us):
        raise Conflict(f"host {host.name} does not answer; next: holdfast evacuate {host.name}", code="host_lost")
    if host.enabled:
        host_enable(tx, host.id, False, "it is being drained")
    data: dict[str, Any] = {"until_us": tx.now_us + timeout_s * SECOND_US, "timeout_s": timeout_s}
    data |= {"live_only": live_only, "was_enabled": host.enabled, "verdicts": {}, "begun": {}, "seen": []}
    return operation_insert(
        tx,
        kind=KIND,
        step="drain",
        resource_id=host.id,
        project_id="",
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=0,
        data=data,
    )


def host_drain_cancel(tx: Tx, host: Host) -> Operation:
    """Stop emptying a host; what is on its way and can be is called off, and the host gets new servers as before."""
    act = operation_open_of(tx, host.id)
    if act is None or act.kind != KIND:
        raise Conflict(f"host {host.name} is not being drained")
    for instance_id in act.data["begun"]:
        if instance_id not in act.data["verdicts"]:
            _call_off(tx, instance_id, "the drain of its host was cancelled")
    operation_supersede(tx, host.id, "cancelled")
    now = host_fetch(tx, host.id)
    if act.data["was_enabled"] and now is not None and not now.enabled:
        host_enable(tx, host.id, True)
    return act


def host_drain_last(tx: Tx, host_id: str) -> Operation | None:
    """The drain that goes on, or the last one."""
    return next((act for act in operations_of(tx, host_id) if act.kind == KIND), None)


def drain_verdicts(tx: Tx, act: Operation) -> Sequence[Verdict]:
    """Every server of it, also those that have no verdict yet, whose outcome is empty and whose reason says why."""
    found = [msgspec.convert(words, Verdict) for words in act.data["verdicts"].values()]
    if act.state is OperationState.OPEN:
        named = {verdict.instance_id for verdict in found}
        rows = [row for row in in_order(instances_of_host(tx, act.resource_id)) if row.id not in named]
        found += [Verdict(row.id, row.name, priority_of(row), "", reason=_now(tx, row)) for row in rows]
    return sorted(found, key=lambda verdict: (-verdict.priority, verdict.name, verdict.instance_id))


def _now(tx: Tx, row: Instance) -> str:
    act = operation_open_of(tx, row.id)
    return f"{act.step}: {act.waiting_for}" if act is not None and act.waiting_for else act.step if act else "its turn"
