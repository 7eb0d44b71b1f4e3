"""Nova's server groups: instances that must or should be together or apart."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.policy import ADMIN, MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.base import ids
from holdfast.base.errors import BadInput, NotFound
from holdfast.control.store.database import Tx
from holdfast.control.store.quota import quota_require
from holdfast.control.store.server_group import (
    server_group_count,
    server_group_delete,
    server_group_fetch,
    server_group_insert,
    server_group_members,
    server_groups_list,
)
from holdfast.domain.instance import ServerGroup

_RULE: Final = "os_compute_api:os-server-groups"
_HARD, _SOFT = ("anti-affinity", "affinity"), ("soft-anti-affinity", "soft-affinity")
_OWNED, _SOFTER, _ONE_POLICY = 13, 15, 64


def _view(call: Call, row: ServerGroup, members: list[tuple[str, str]]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": row.id, "name": row.name}
    if call.version >= _ONE_POLICY:
        rules = {"max_server_per_host": row.max_per_host} if row.max_per_host > 1 else {}
        shown |= {"policy": row.policy, "rules": rules}
    else:
        shown |= {"policies": [row.policy], "metadata": {}}
    shown["members"] = [instance_id for instance_id, _ in members]
    if call.version >= _OWNED:
        shown |= {"project_id": row.project_id, "user_id": row.user_id}
    return shown


def _seen(tx: Tx, call: Call, verb: str) -> ServerGroup:
    """The group in the path, if it is the caller's to see."""
    group_id = call.parameters["group_id"]
    row = server_group_fetch(tx, group_id)
    if row is None or not call.may(f"{_RULE}:{verb}", {"project_id": row.project_id}):
        raise NotFound(f"Instance group {group_id} could not be found.")
    return row


def groups_index(call: Call) -> Reply:
    """GET os-server-groups."""
    requests.query_known(call, ("all_projects", "limit", "offset"))
    everybody = "all_projects" in dict(call.query) and call.may(f"{_RULE}:index:all_projects")
    project_id = None if everybody else call.project_id
    offset, limit = requests.query_number(call, "offset", 0), requests.page_limit(call)

    def read(tx: Tx) -> list[dict[str, Any]]:
        rows = server_groups_list(tx, project_id)[offset : offset + limit]
        members = server_group_members(tx, [row.id for row in rows])
        return [_view(call, row, members[row.id]) for row in rows]

    return Reply(200, {"server_groups": call.services.store.read(read)})


def group_show(call: Call) -> Reply:
    """GET os-server-groups/ID."""

    def read(tx: Tx) -> Reply:
        row = _seen(tx, call, "show")
        return Reply(200, {"server_group": _view(call, row, server_group_members(tx, [row.id])[row.id])})

    return call.services.store.read(read)


def _wanted(call: Call) -> tuple[str, str, int]:
    """Name, policy, and how many may share a host."""
    if call.version < _ONE_POLICY:
        known = _HARD + _SOFT if call.version >= _SOFTER else _HARD
        checks = {"name": requests.name, "policies": _policies(known)}
        body = requests.body_of(call, "server_group", checks, ("name", "policies"))
        return body["name"], body["policies"], 1
    checks = {"name": requests.name, "policy": requests.choice(*_HARD, *_SOFT), "rules": _rules}
    body = requests.body_of(call, "server_group", checks, ("name", "policy"))
    rules = body.get("rules", {})
    if rules and body["policy"] != "anti-affinity":
        raise BadInput("Only anti-affinity policy supports rules.")
    return body["name"], body["policy"], rules.get("max_server_per_host", 1)


def _policies(known: tuple[str, ...]) -> requests.Check:
    def check(field: str, value: Any) -> str:
        if not isinstance(value, list) or len(value) != 1:
            requests.refuse(field, value, "It must be a list of one policy")
        found: str = requests.choice(*known)(field, value[0])
        return found

    return check


def _rules(field: str, value: Any) -> dict[str, int]:
    return requests.mapping(field, value, {"max_server_per_host": requests.integer(1)})


def group_create(call: Call) -> Reply:
    """POST os-server-groups. 200, as Nova."""
    name, policy, max_per_host = _wanted(call)
    project_id = call.project_id

    def change(tx: Tx) -> Reply:
        quota_require(tx, project_id, "server_groups", server_group_count(tx, project_id))
        user_id = call.credentials.user_id
        row = ServerGroup(ids.new_id(), project_id, user_id, name, policy, max_per_host, tx.now_us)
        server_group_insert(tx, row)
        return Reply(200, {"server_group": _view(call, row, [])})

    return write_once(call, change)


def group_remove(call: Call) -> Reply:
    """DELETE os-server-groups/ID. 204; its members stay where they are."""

    def change(tx: Tx) -> Reply:
        server_group_delete(tx, _seen(tx, call, "delete").id)
        return Reply(204)

    return call.services.store.write(change)


RULES = {
    f"{_RULE}:index": READER,
    f"{_RULE}:index:all_projects": ADMIN,
    f"{_RULE}:show": READER,
    f"{_RULE}:create": MEMBER,
    f"{_RULE}:delete": MEMBER,
}
ROUTES = (
    Route("GET", "/v2.1/os-server-groups", groups_index, f"{_RULE}:index"),
    Route("POST", "/v2.1/os-server-groups", group_create, f"{_RULE}:create"),
    Route("GET", "/v2.1/os-server-groups/{group_id}", group_show, f"{_RULE}:show"),
    Route("DELETE", "/v2.1/os-server-groups/{group_id}", group_remove, f"{_RULE}:delete"),
)
