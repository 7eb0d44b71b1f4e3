"""Drains: a host emptied so that it can be patched, with a verdict for each of its servers."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.operator.hosts import flag_of, host_named
from holdfast.base.clock import SECOND_US, iso_micros
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import DRAIN_MAX_S, DRAIN_S
from holdfast.control.operations.host.drain import (
    drain_verdicts,
    host_drain_begin,
    host_drain_cancel,
    host_drain_last,
)
from holdfast.control.store.database import Tx
from holdfast.domain.host import Host
from holdfast.domain.operation import Operation, OperationState


def drain_begin(call: Call) -> Reply:
    """POST hosts/NAME/drain {"timeout_s", "live_only"}: begun, or what goes on already. 202."""
    timeout_s, live_only = call.json().get("timeout_s", DRAIN_S), flag_of(call, "live_only")
    if type(timeout_s) is not int or not 1 <= timeout_s <= DRAIN_MAX_S:
        raise BadInput(f"timeout_s must be a whole number from 1 to {DRAIN_MAX_S}")

    def change(tx: Tx) -> Reply:
        host = host_named(tx, call.parameters["host"])
        act = host_drain_begin(tx, host, call.credentials, call.request_id, timeout_s, live_only)
        return Reply(202, _view(tx, host, act))

    return call.services.store.write(change)


def drain_show(call: Call) -> Reply:
    """GET hosts/NAME/drain: the one that goes on, or the last one."""

    def look(tx: Tx) -> Reply:
        host = host_named(tx, call.parameters["host"])
        act = host_drain_last(tx, host.id)
        if act is None:
            raise NotFound(f"host {host.name} was not drained lately; next: holdfast host drain {host.name}")
        return Reply(200, _view(tx, host, act))

    return call.services.store.read(look)


def drain_cancel(call: Call) -> Reply:
    """DELETE hosts/NAME/drain: what has moved stays where it is; the host is open again if the drain closed it. 204."""

    def change(tx: Tx) -> Reply:
        host_drain_cancel(tx, host_named(tx, call.parameters["host"]))
        return Reply(204)

    return call.services.store.write(change)


def _view(tx: Tx, host: Host, act: Operation) -> dict[str, Any]:
    left_s = max(act.data["until_us"] - tx.now_us, 0) / SECOND_US if act.state is OperationState.OPEN else 0
    shown = {
        "id": act.id,
        "host": host.name,
        "state": act.state.value,
        "left_s": round(left_s, 1),
        "waiting_for": act.waiting_for or None,
        "created_at": iso_micros(act.created_us),
        "updated_at": iso_micros(act.updated_us),
        "servers": [msgspec.to_builtins(verdict) for verdict in drain_verdicts(tx, act)],
    }
    return {"drain": shown}
