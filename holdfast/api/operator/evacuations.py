"""Evacuations: those of a whole host begun or foreseen, and every one with its step and its reason."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.operator.hosts import flag_of, host_named, words_of
from holdfast.base.clock import iso_micros
from holdfast.base.errors import BadInput
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.operations.host.evacuation import Verdict, host_evacuate, host_evacuation_foreseen
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.instance import instance_names
from holdfast.control.store.operation import evacuations_list
from holdfast.domain.operation import Operation


def host_leave(call: Call) -> Reply:
    """POST hosts/NAME/evacuate {"dry_run", "rebuild", "target"}: a verdict per server, in the order of their turns.

    202 when begun, 200 for a dry run, which changes nothing and may be asked of a host that is alive.
    """
    dry_run, rebuild, target = flag_of(call, "dry_run"), flag_of(call, "rebuild"), words_of(call, "target")
    settings = call.services.settings

    def look(tx: Tx) -> Reply:
        host = host_named(tx, call.parameters["host"])
        return Reply(200, _told(host_evacuation_foreseen(tx, settings, host, target, rebuild)))

    def change(tx: Tx) -> Reply:
        host = host_named(tx, call.parameters["host"])
        if host.is_up(tx.now_us):
            raise BadInput(
                f"host {host.name} is alive: it reported lately. To see what would happen: "
                f"holdfast evacuate {host.name} --dry-run",
                code="host_alive",
            )
        told = host_evacuate(tx, settings, host, call.credentials, call.request_id, target, rebuild)
        return Reply(202, _told(told))

    return call.services.store.read(look) if dry_run else call.services.store.write(change)


def _told(verdicts: list[Verdict]) -> dict[str, Any]:
    return {"servers": [msgspec.to_builtins(verdict) for verdict in verdicts]}


def evacuations_index(call: Call) -> Reply:
    """GET evacuations?open=true: the newest first, PAGE_ROWS at most."""
    open_only = call.argument("open") == "true"

    def look(tx: Tx) -> Reply:
        acts = evacuations_list(tx, open_only, PAGE_ROWS)
        hosts, names = host_names(tx), instance_names(tx, [act.resource_id for act in acts])
        return Reply(200, {"evacuations": [_view(act, hosts, names) for act in acts]})

    return call.services.store.read(look)


def _view(act: Operation, hosts: dict[str, str], names: dict[str, str]) -> dict[str, Any]:
    source, host = act.data.get("source", ""), act.data.get("host_id", "")
    return {
        "id": act.id,
        "server_id": act.resource_id,
        "server": names.get(act.resource_id, ""),
        "state": act.state.value,
        "step": act.step,
        "priority": act.priority,
        "source": hosts.get(source, source),
        "host": hosts.get(host, host) or None,
        "waiting_for": act.waiting_for or None,
        "reason": act.error or None,
        "created_at": iso_micros(act.created_us),
        "updated_at": iso_micros(act.updated_us),
    }
