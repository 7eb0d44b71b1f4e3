"""Servers: list, show, create, change, delete."""

from __future__ import annotations

import re
from typing import Any

from holdfast.api.compute.server_input import access_address, server_wanted, text
from holdfast.api.compute.server_views import links, server_brief, server_detail
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.policy import ADMIN, MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.base.clock import parse_iso
from holdfast.base.errors import BadInput, Conflict, Forbidden, NotFound
from holdfast.base.ids import is_id
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.operations.server.delete import server_delete_begin
from holdfast.control.operations.server.request import servers_accept
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_update
from holdfast.control.store.server import SORTABLE, ServerQuery, server_fetch, servers_list
from holdfast.domain.instance import InstanceState
from holdfast.domain.server import VM_STATE, Server

STATUSES = set(VM_STATE)
_VM_STATES = {
    "active": "ACTIVE",
    "building": "BUILD",
    "error": "ERROR",
    "paused": "PAUSED",
    "resized": "VERIFY_RESIZE",
    "stopped": "SHUTOFF",
}
_SORT_ALIASES = {"name": "display_name", "display_name": "display_name", "id": "uuid", "tenant_id": "project_id"}


def find_server(call: Call, tx: Tx, rule: str = "", deleted: bool = False) -> Server:
    """The server in the path, if the caller may see it and `rule` allows the act; others are NotFound."""
    server_id = call.parameters["server_id"]
    server = server_fetch(tx, server_id) if is_id(server_id) else None
    gone = server is not None and server.instance.state is InstanceState.DELETED and not deleted
    if server is None or gone or not _may_see(call, server):
        raise NotFound(f"Instance {server_id[:64]} could not be found.")
    if rule:
        row = server.instance
        call.authorise(rule, {"project_id": row.project_id, "user_id": row.user_id})
    return server


def _may_see(call: Call, server: Server) -> bool:
    credentials = call.credentials
    return credentials.is_admin or server.instance.project_id == credentials.project_id


def find_unlocked(call: Call, tx: Tx, rule: str) -> Server:
    """The same, for an act that a lock forbids to everybody but administrators."""
    server = find_server(call, tx, rule)
    if server.instance.is_locked and not call.credentials.is_admin:
        raise Conflict(f"Instance {server.instance.id} is locked")
    return server


def servers_show_list(call: Call) -> Reply:
    """GET /servers"""
    return _list(call, detailed=False)


def servers_show_detail(call: Call) -> Reply:
    """GET /servers/detail"""
    return _list(call, detailed=True)


def _list(call: Call, detailed: bool) -> Reply:
    query = server_query(call)
    found = call.services.store.read(lambda tx: servers_list(tx, query))
    base, admin = call.services.settings.endpoint, call.credentials.is_admin
    if detailed:
        rows = [server_detail(server, base, call.version, admin) for server in found]
    else:
        rows = [server_brief(server, base) for server in found]
    body: dict[str, Any] = {"servers": rows}
    if len(found) == query.limit and found:
        kept = "&".join(f"{key}={value}" for key, value in call.query if key != "marker")
        path = "/servers/detail" if detailed else "/servers"
        href = f"{base}/compute/v2.1{path}?{kept}{'&' if kept else ''}marker={found[-1].instance.id}"
        body["servers_links"] = [{"rel": "next", "href": href}]
    return Reply(200, body)


def server_query(call: Call) -> ServerQuery:
    """Read the query string of a list."""
    admin = call.credentials.is_admin
    everyone = admin and call.argument("all_tenants").lower() in ("1", "true", "yes", "on")
    if call.argument("all_tenants") not in ("", "0", "false", "False") and not admin:
        raise Forbidden("Policy doesn't allow os_compute_api:servers:index:get_all_tenants to be performed.")
    asked = call.argument("project_id") or call.argument("tenant_id")
    project = (asked if admin else "") if everyone or (admin and asked) else call.project_id
    deleted = admin and call.argument("deleted").lower() in ("1", "true", "yes", "on")
    return ServerQuery(
        project_id=project,
        user_id=call.argument("user_id") if admin or call.version >= 83 else "",
        ids=tuple(call.arguments("uuid")) or None,
        statuses=_statuses(call),
        name_like=like_of(call.argument("name") or call.argument("display_name")),
        host=(call.argument("host") or call.argument("hypervisor_hostname") or call.argument("node")) if admin else "",
        flavor_id=call.argument("flavor"),
        image_id=call.argument("image").rpartition("/")[2],
        key_name=call.argument("key_name"),
        reservation_id=call.argument("reservation_id"),
        zone=call.argument("availability_zone"),
        changed_after_us=_instant(call, "changes-since"),
        changed_before_us=_instant(call, "changes-before"),
        deleted=deleted,
        tags_all=_tags(call, "tags"),
        tags_any=_tags(call, "tags-any"),
        locked=_locked(call),
        marker=call.argument("marker"),
        limit=_limit(call),
        sort=_sort(call),
    )


def _statuses(call: Call) -> tuple[str, ...]:
    wanted = [word.upper() for word in call.arguments("status")]
    wanted += [_VM_STATES.get(word.lower(), "UNKNOWN") for word in call.arguments("vm_state")]
    return tuple(word if word in STATUSES else "UNKNOWN" for word in wanted)


def like_of(pattern: str) -> str:
    """Turn Nova's regular expression into LIKE: literals, `.`, `.*`, `^` and `$`.

    Other operators are refused: a pattern of a user must not be able to occupy the control plane for minutes.
    """
    if not pattern:
        return ""
    start, end = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    inner = pattern[1 if start else 0 : -1 if end else None]
    pieces: list[str] = []
    for piece in re.findall(r"\\.|\.\*|.", inner, re.DOTALL):
        if piece == ".*":
            pieces.append("%")
        elif piece == ".":
            pieces.append("_")
        elif len(piece) == 1 and piece in "[](){}*+?|^$\\":
            raise BadInput(f"name: only literal text, '.', '.*', '^' and '$' are supported in {pattern[:64]!r}")
        else:
            literal = piece[-1]
            pieces.append(f"\\{literal}" if literal in "%_\\" else literal)
    return ("" if start else "%") + "".join(pieces) + ("" if end else "%")


def _instant(call: Call, name: str) -> int:
    value = call.argument(name)
    if not value:
        return 0
    try:
        return parse_iso(value.replace(" ", "+"))
    except ValueError as err:
        raise BadInput(f"{name}: {value[:64]!r} is not an ISO 8601 time") from err


def _tags(call: Call, name: str) -> tuple[str, ...]:
    value = call.argument(name) if call.version >= 26 else ""
    return tuple(tag for tag in value.split(",") if tag)


def _locked(call: Call) -> bool | None:
    value = call.argument("locked") if call.version >= 73 else ""
    return None if not value else value.lower() in ("1", "true", "yes", "on")


def _limit(call: Call) -> int:
    value = call.argument("limit", str(PAGE_ROWS))
    if not value.isdigit():
        raise BadInput("limit must be a whole number that is not negative")
    return min(int(value), PAGE_ROWS)


def _sort(call: Call) -> tuple[tuple[str, bool], ...]:
    keys = [_SORT_ALIASES.get(key, key) for key in call.arguments("sort_key")] or ["created_at"]
    directions = call.arguments("sort_dir") or ["desc"]
    for key in keys:
        if key not in SORTABLE:
            raise BadInput(f"sort_key: servers cannot be sorted by {key[:64]!r}; possible: {', '.join(SORTABLE)}")
    if any(word not in ("asc", "desc") for word in directions):
        raise BadInput("sort_dir must be asc or desc")
    directions += [directions[-1]] * (len(keys) - len(directions))
    return tuple((key, word == "desc") for key, word in zip(keys, directions, strict=False))


def server_show(call: Call) -> Reply:
    """GET /servers/{id}"""

    def look(tx: Tx) -> Reply:
        server = find_server(call, tx)
        view = server_detail(server, call.services.settings.endpoint, call.version, call.credentials.is_admin)
        if call.version >= 71:
            view["server_groups"] = [server.instance.group_id] if server.instance.group_id else []
        return Reply(200, {"server": view})

    return call.services.store.read(look)


def server_create(call: Call) -> Reply:
    """POST /servers: 202 with the id; the server is then in BUILD until its host reports it running."""

    def change(tx: Tx) -> Reply:
        rows = servers_accept(tx, server_wanted(call, tx), call.credentials, call.request_id)
        if call.json()["server"].get("return_reservation_id"):
            return Reply(202, {"reservation_id": rows[0].reservation_id})
        base, first = call.services.settings.endpoint, rows[0]
        view = {
            "id": first.id,
            "links": links(base, "servers", first.id),
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [{"name": name} for name in first.security_groups or ["default"]],
            "adminPass": "",
        }
        return Reply(202, {"server": view}, {"Location": f"{base}/compute/v2.1/servers/{first.id}"})

    return write_once(call, change)


def server_update(call: Call) -> Reply:
    """PUT /servers/{id}: name, description, hostname."""
    body = call.json().get("server")
    if not isinstance(body, dict) or not body:
        raise BadInput("Invalid input: the body must have an object 'server' with what to change")
    allowed = {"name", "accessIPv4", "accessIPv6", "OS-DCF:diskConfig"}
    allowed |= {"description"} if call.version >= 19 else set()
    allowed |= {"hostname"} if call.version >= 90 else set()
    if unknown := set(body) - allowed:
        raise BadInput(f"Additional properties are not allowed ({', '.join(map(repr, sorted(unknown)))} unexpected)")

    def change(tx: Tx) -> Reply:
        server = find_unlocked(call, tx, "os_compute_api:servers:update")
        changes: dict[str, Any] = {}
        if "name" in body:
            changes["name"] = text(body["name"], "name")
        if "description" in body:
            changes["description"] = text(body["description"] or "", "description", minimum=0)
        for version in (4, 6):
            if f"accessIPv{version}" in body:
                changes[f"access_ipv{version}"] = access_address(body, version)
        if body.get("hostname"):
            changes["hostname"] = text(body["hostname"], "hostname")
        instance_update(tx, server.instance, **changes)
        after = find_server(call, tx)
        base, admin = call.services.settings.endpoint, call.credentials.is_admin
        return Reply(200, {"server": server_detail(after, base, call.version, admin)})

    return call.services.store.write(change)


def server_delete(call: Call) -> Reply:
    """DELETE /servers/{id}: 204; it is then shown with task_state deleting until its host removed it."""

    def change(tx: Tx) -> Reply:
        server = find_unlocked(call, tx, "os_compute_api:servers:delete")
        server_delete_begin(tx, server.instance, call.credentials, call.request_id)
        return Reply(204)

    return call.services.store.write(change)


_P = "os_compute_api:servers:"
ROUTES = (
    Route("GET", "/v2.1/servers", servers_show_list, _P + "index"),
    Route("GET", "/v2.1/servers/detail", servers_show_detail, _P + "detail"),
    Route("POST", "/v2.1/servers", server_create, _P + "create"),
    Route("GET", "/v2.1/servers/{server_id}", server_show, _P + "show"),
    Route("PUT", "/v2.1/servers/{server_id}", server_update, _P + "update"),
    Route("DELETE", "/v2.1/servers/{server_id}", server_delete, _P + "delete"),
)
RULES = {
    _P + "index": READER,
    _P + "detail": READER,
    _P + "show": READER,
    _P + "create": MEMBER,
    _P + "update": MEMBER,
    _P + "delete": MEMBER,
    _P + "create:forced_host": ADMIN,
    "compute:servers:create:requested_destination": ADMIN,
}
