"""Nova's instance actions: every operation on a server, and what its steps came to.

An action's id is the id of the request that asked for it. An event's start is the end of the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import Route
from holdfast.base.clock import iso_micros, parse_iso
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.instance import instance_fetch
from holdfast.control.store.operation import operation_by_request, operation_events, operations_of
from holdfast.domain.host import veiled_host
from holdfast.domain.instance import Instance, InstanceState
from holdfast.domain.operation import Operation, OperationEvent, OperationState

_RULE: Final = "os_compute_api:os-instance-actions"
_AFTER_DELETE, _EVENTS_FOR_ALL, _PAGED, _HOSTS, _BEFORE, _DETAILS = 21, 51, 58, 62, 66, 84
_FOREVER_US: Final = 1 << 62
_NOVA_WORDS: Final = {
    "server_capture": "createImage",
    "server_revert": "revertResize",
    "server_live_migrate": "live-migration",
}
_GOOD: Final = ("done", "undone")


def _time(instant_us: int) -> str:
    return iso_micros(instant_us).rstrip("Z")


def action_word(kind: str) -> str:
    """Nova's word for a kind of operation: `server_create` is `create`."""
    return _NOVA_WORDS.get(kind) or kind.removeprefix("server_")


def _instance(tx: Tx, call: Call, verb: str) -> Instance:
    server_id = call.parameters["server_id"]
    row = instance_fetch(tx, server_id)
    if row is None or not call.may(f"{_RULE}:{verb}", {"project_id": row.project_id}):
        raise NotFound(f"Instance {server_id} could not be found.")
    if row.state is InstanceState.DELETED and call.version < _AFTER_DELETE:
        raise NotFound(f"Instance {server_id} could not be found.")
    return row


def _action(call: Call, row: Operation) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "action": action_word(row.kind),
        "instance_uuid": row.resource_id,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "start_time": _time(row.created_us),
        "message": row.error or None,
    }
    return {**shown, "updated_at": _time(row.updated_us)} if call.version >= _PAGED else shown


def _instant(call: Call, argument: str, default: int) -> int:
    text = call.argument(argument)
    if not text:
        return default
    try:
        return parse_iso(text)
    except ValueError as err:
        raise BadInput(
            f"Invalid input for query parameters {argument}. Value: {text[:80]}. It is not a 'date-time'"
        ) from err


def actions_index(call: Call) -> Reply:
    """GET servers/ID/os-instance-actions, newest first."""
    known = ("limit", "marker", "changes-since") + (("changes-before",) if call.version >= _BEFORE else ())
    requests.query_known(call, known, _PAGED)
    paged = call.version >= _PAGED
    since = _instant(call, "changes-since", 0) if paged else 0
    before = _instant(call, "changes-before", _FOREVER_US) if paged else _FOREVER_US
    if since > before:
        raise BadInput("The value of changes-since must be less than or equal to changes-before.")
    limit, marker = (requests.page_limit(call), call.argument("marker")) if paged else (PAGE_ROWS, "")

    def read(tx: Tx) -> list[Operation]:
        row = _instance(tx, call, "list")
        after = operation_by_request(tx, row.id, marker) if marker else None
        if marker and after is None:
            raise BadInput(f"Marker {marker[:80]} could not be found.")
        return operations_of(tx, row.id, limit, after, (since, before))

    rows = call.services.store.read(read)
    body: dict[str, Any] = {"instanceActions": [_action(call, row) for row in rows]}
    if paged and rows:
        collection = f"servers/{call.parameters['server_id']}/os-instance-actions"
        if following := requests.next_links(call, collection, len(rows), rows[-1].request_id):
            body["links"] = following
    return Reply(200, body)


def action_show(call: Call) -> Reply:
    """GET servers/ID/os-instance-actions/REQUEST, with what its steps came to."""

    def read(tx: Tx) -> Reply:
        row = _instance(tx, call, "show")
        request_id = call.parameters["request_id"]
        operation = operation_by_request(tx, row.id, request_id)
        if operation is None:
            raise NotFound(f"Action {request_id} not found")
        shown = _action(call, operation)
        target = {"project_id": row.project_id}
        whole = call.may(f"{_RULE}:events", target)
        if whole or call.version >= _EVENTS_FOR_ALL:
            details = call.version >= _DETAILS and call.may(f"{_RULE}:events:details", target)
            events = operation_events(tx, operation.id)
            shown["events"] = _events(call, operation, events, host_names(tx), whole, details)
        return Reply(200, {"instanceAction": shown})

    return call.services.store.read(read)


def _events(
    call: Call,
    operation: Operation,
    events: Sequence[OperationEvent],
    names: dict[str, str],
    whole: bool,
    details: bool,
) -> list[dict[str, Any]]:
    shown, start_us = [], operation.created_us
    host_id = str(operation.data.get("host_id", ""))
    for event in events:
        good = event.result in _GOOD
        shown.append(
            {
                "event": f"{action_word(operation.kind)}_{event.step}",
                "start_time": _time(start_us),
                "finish_time": _time(event.at_us),
                "result": "Success" if good else "Error",
                **({"traceback": None if good else event.detail or None} if whole else {}),
                **_host(call, operation.project_id, event.host_id, names, whole),
                **({"details": event.detail or None} if details else {}),
            }
        )
        start_us = event.at_us
    if operation.state is OperationState.OPEN:
        going_on = {"start_time": _time(start_us), "finish_time": None, "result": None}
        shown.append(
            {
                "event": f"{action_word(operation.kind)}_{operation.step}",
                **going_on,
                **({"traceback": None} if whole else {}),
                **_host(call, operation.project_id, host_id, names, whole),
                **({"details": operation.waiting_for or None} if details else {}),
            }
        )
    return shown


def _host(call: Call, project_id: str, host_id: str, names: dict[str, str], whole: bool) -> dict[str, Any]:
    """Which host: its name for administrators, for its owner only a word that is the same for the same host."""
    if call.version < _HOSTS:
        return {}
    name = names.get(host_id, host_id)
    veiled = {"hostId": veiled_host(project_id, name)}
    return {**veiled, "host": name} if whole else veiled


RULES = {
    f"{_RULE}:list": READER,
    f"{_RULE}:show": READER,
    f"{_RULE}:events": ADMIN,
    f"{_RULE}:events:details": ADMIN,
}
_ALL: Final = "/v2.1/servers/{server_id}/os-instance-actions"
ROUTES = (
    Route("GET", _ALL, actions_index, f"{_RULE}:list"),
    Route("GET", f"{_ALL}/{{request_id}}", action_show, f"{_RULE}:show"),
)
