"""Nova's migrations: a view of the acts that move servers.

An id is a number made from the act's (base/ids.number_of): nothing is kept under it, it is looked up among the acts.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.compute.servers import find_server
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.base import ids
from holdfast.base.clock import iso_micros, parse_iso
from holdfast.base.errors import BadInput, NotFound, NotSupported
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.operations.server.evacuate import KIND as EVACUATE
from holdfast.control.operations.server.migrate import LIVE_KIND, MIGRATE_KIND, server_move_cancel
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.operation import MoveQuery, move_fetch, moves_list
from holdfast.control.store.placement.passage import passages_of
from holdfast.domain.host import Passage
from holdfast.domain.instance import Flavor
from holdfast.domain.operation import Operation, OperationState

_UUIDS, _PAGED, _BEFORE, _OWNERS, _TYPES = 59, 59, 66, 80, 23
_TYPE: Final = {
    MIGRATE_KIND: "migration",
    LIVE_KIND: "live-migration",
    EVACUATE: "evacuation",
    "server_resize": "resize",
}
_ARGUMENTS: Final = {
    *("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type", "limit", "marker"),
    *("changes-since", "changes-before", "user_id", "project_id"),
}
_KIND: Final = {word: kind for kind, word in _TYPE.items()}
_RULE: Final = "os_compute_api:servers:migrations"
RULES = {
    "os_compute_api:os-migrations:index": ADMIN,
    f"{_RULE}:index": ADMIN,
    f"{_RULE}:show": ADMIN,
    f"{_RULE}:delete": ADMIN,
    f"{_RULE}:force_complete": ADMIN,
}


def _status(row: Operation) -> str:
    """Nova's word for how far it is."""
    live = row.kind == LIVE_KIND
    if row.state is OperationState.DONE:
        return "completed" if live else "done" if row.kind == EVACUATE else "finished"
    if row.state is OperationState.OPEN:
        steps = {"claim": "preparing", "pass": "running" if live else "migrating", "land": "post-migrating"}
        return steps.get(row.step, "running")
    return "cancelled" if row.state is OperationState.CANCELLED else "error"


def _view(call: Call, row: Operation, names: dict[str, str]) -> dict[str, Any]:
    source, target = (str(row.data.get(end, "")) for end in ("source", "host_id"))
    target = "" if target == source and row.kind != "server_resize" else target
    shown = {
        "id": ids.number_of(row.id),
        "source_compute": names.get(source, source) or None,
        "source_node": names.get(source, source) or None,
        "dest_compute": names.get(target, target) or None,
        "dest_node": names.get(target, target) or None,
        "dest_host": None,
        "status": _status(row),
        "created_at": iso_micros(row.created_us).rstrip("Z"),
        "updated_at": iso_micros(row.updated_us).rstrip("Z"),
    }
    if call.version >= _UUIDS:
        shown["uuid"] = row.id
    if call.version >= _OWNERS:
        shown |= {"user_id": row.user_id, "project_id": row.project_id}
    return shown


def migrations_index(call: Call) -> Reply:
    """GET os-migrations: every move of a server, the newest first."""
    requests.query_known(call, _ARGUMENTS, _PAGED)
    paged = call.version >= _PAGED
    wanted = call.argument("migration_type")
    kinds = [_KIND[wanted]] if wanted in _KIND else [] if wanted else list(_KIND.values())

    def read(tx: Tx) -> Reply:
        names = host_names(tx)
        marker = move_fetch(tx, call.argument("marker")) if paged and call.argument("marker") else None
        if paged and call.argument("marker") and marker is None:
            raise BadInput(f"Marker {call.argument('marker')[:80]} could not be found.")
        query = MoveQuery(
            kinds,
            call.argument("instance_uuid"),
            _since(call, "changes-since") if paged else 0,
            _since(call, "changes-before") if call.version >= _BEFORE else 0,
            marker,
        )
        rows = [row for row in moves_list(tx, query) if _is_asked_for(call, row, names)]
        rows = rows[: requests.page_limit(call) if paged else PAGE_ROWS]
        body: dict[str, Any] = {"migrations": [_row(call, row, names) for row in rows]}
        if paged and rows and (following := requests.next_links(call, "os-migrations", len(rows), rows[-1].id)):
            body["migrations_links"] = following
        return Reply(200, body)

    return call.services.store.read(read)


def _row(call: Call, row: Operation, names: dict[str, str]) -> dict[str, Any]:
    new, old = row.data.get("flavor"), row.data.get("old_flavor")
    flavors = [ids.number_of(Flavor(**words).id) if isinstance(words, dict) else None for words in (new, old)]
    shown = {**_view(call, row, names), "instance_uuid": row.resource_id}
    shown |= {"new_instance_type_id": flavors[0], "old_instance_type_id": flavors[1]}
    return {**shown, "migration_type": _TYPE[row.kind]} if call.version >= _TYPES else shown


def _since(call: Call, argument: str) -> int:
    if not (text := call.argument(argument)):
        return 0
    try:
        return parse_iso(text)
    except ValueError as err:
        raise BadInput(f"Invalid input for query parameters {argument}. Value: {text[:80]}.") from err


def _is_asked_for(call: Call, row: Operation, names: dict[str, str]) -> bool:
    ends = [names.get(str(row.data.get(end, "")), "") for end in ("source", "host_id")]
    checks = (
        ("host", lambda asked: asked in ends),
        ("source_compute", lambda asked: asked == ends[0]),
        ("status", lambda asked: asked == _status(row)),
        ("user_id", lambda asked: asked == row.user_id),
        ("project_id", lambda asked: asked == row.project_id),
    )
    return all(check(call.argument(name)) for name, check in checks if call.argument(name))


def server_migrations_index(call: Call) -> Reply:
    """GET servers/ID/migrations: the live move that goes on, if one does."""

    def read(tx: Tx) -> Reply:
        server = find_server(call, tx, f"{_RULE}:index")
        return Reply(200, {"migrations": [_live(call, tx, row) for row in _going_on(tx, server.instance.id)]})

    return call.services.store.read(read)


def server_migration_show(call: Call) -> Reply:
    """GET servers/ID/migrations/NUMBER"""

    def read(tx: Tx) -> Reply:
        return Reply(200, {"migration": _live(call, tx, _asked(call, tx, "show"))})

    return call.services.store.read(read)


def server_migration_abort(call: Call) -> Reply:
    """DELETE servers/ID/migrations/NUMBER: the server stays where it is. 202."""

    def change(tx: Tx) -> Reply:
        row = _asked(call, tx, "delete")
        server_move_cancel(tx, row.resource_id, f"called off by user {call.credentials.user_id}")
        return Reply(202)

    return call.services.store.write(change)


def server_migration_act(call: Call) -> Reply:
    """POST servers/ID/migrations/NUMBER/action {"force_complete": null}: not here."""
    requests.wrapped(call, "force_complete")
    call.services.store.read(lambda tx: _asked(call, tx, "force_complete"))
    raise NotSupported("a live migration cannot be forced to its end: it may be called off, and made cold instead")


def _going_on(tx: Tx, instance_id: str) -> list[Operation]:
    return [r for r in moves_list(tx, MoveQuery([LIVE_KIND], instance_id)) if r.state is OperationState.OPEN]


def _asked(call: Call, tx: Tx, verb: str) -> Operation:
    server = find_server(call, tx, f"{_RULE}:{verb}")
    number = call.parameters["migration_id"]
    for row in _going_on(tx, server.instance.id):
        if number in (str(ids.number_of(row.id)), row.id):
            return row
    raise NotFound(f"In-progress live migration {number[:64]} is not found for server {server.instance.id}.")


def _live(call: Call, tx: Tx, row: Operation) -> dict[str, Any]:
    way = passages_of(tx, [row.resource_id]).get(row.resource_id)
    return {**_view(call, row, host_names(tx)), "server_uuid": row.resource_id, **_bytes(way)}


def _bytes(way: Passage | None) -> dict[str, Any]:
    """What is being carried now: QEMU counts disks and memory one after the other."""
    total = way.total_bytes if way and way.total_bytes else None
    left = way.remaining_bytes if way and way.total_bytes else None
    done = total - left if total is not None and left is not None else None
    memory = {"memory_total_bytes": total, "memory_processed_bytes": done, "memory_remaining_bytes": left}
    return {**memory, "disk_total_bytes": None, "disk_processed_bytes": None, "disk_remaining_bytes": None}


_OF: Final = "/v2.1/servers/{server_id}/migrations"
ROUTES = (
    Route("GET", "/v2.1/os-migrations", migrations_index, "os_compute_api:os-migrations:index"),
    Route("GET", _OF, server_migrations_index, f"{_RULE}:index"),
    Route("GET", f"{_OF}/{{migration_id}}", server_migration_show, f"{_RULE}:show"),
    Route("DELETE", f"{_OF}/{{migration_id}}", server_migration_abort, f"{_RULE}:delete"),
    Route("POST", f"{_OF}/{{migration_id}}/action", server_migration_act, f"{_RULE}:force_complete"),
)
