"""/v3/groups and who is in them."""

from __future__ import annotations

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.identity import views
from holdfast.api.identity.bodies import filtered, member, own_domain, require_same, text
from holdfast.api.identity.projects import require_domain
from holdfast.api.identity.users import require_user
from holdfast.base import ids
from holdfast.base.errors import NotFound
from holdfast.control.operations.identity.changes import group_remove, member_take
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import (
    group_fetch,
    group_list,
    group_members,
    member_add,
    member_exists,
    noun_insert,
    noun_replace,
)
from holdfast.domain.identity import Group, require_name


def groups_list(call: Call) -> Reply:
    """GET /v3/groups"""
    entries = [views.group(call, group) for group in call.services.store.read(group_list)]
    return views.listed(call, "groups", filtered(call, entries, ("name", "domain_id")))


def group_create(call: Call) -> Reply:
    """POST /v3/groups"""
    body = member(call, "group")
    name = require_name(body.get("name"), "group")

    def create(tx: Tx) -> Reply:
        domain = require_domain(tx, own_domain(call, body))
        group = Group(ids.new_id(), domain.id, name, text(body, "description", most=65_535))
        noun_insert(tx, group)
        return Reply(201, {"group": views.group(call, group)})

    return write_once(call, create)


def group_show(call: Call) -> Reply:
    """GET /v3/groups/{group_id}"""
    return Reply(200, {"group": views.group(call, call.services.store.read(lambda tx: _group(tx, call)))})


def group_update(call: Call) -> Reply:
    """PATCH /v3/groups/{group_id}"""
    body = member(call, "group")

    def change(tx: Tx) -> Group:
        old = _group(tx, call)
        require_same(body, "domain_id", old.domain_id)
        name = require_name(body["name"], "group") if "name" in body else old.name
        description = text(body, "description", old.description, most=65_535)
        new = msgspec.structs.replace(old, name=name, description=description)
        noun_replace(tx, new)
        return new

    return Reply(200, {"group": views.group(call, call.services.store.write(change))})


def group_delete(call: Call) -> Reply:
    """DELETE /v3/groups/{group_id}"""
    call.services.store.write(lambda tx: group_remove(tx, _group(tx, call)))
    return Reply(204)


def members_list(call: Call) -> Reply:
    """GET /v3/groups/{group_id}/users"""
    found = call.services.store.read(lambda tx: group_members(tx, _group(tx, call).id))
    return views.listed(call, "users", filtered(call, [views.user(call, user) for user in found], ("name", "enabled")))


def member_put(call: Call) -> Reply:
    """PUT /v3/groups/{group_id}/users/{subject_id}"""

    def add(tx: Tx) -> None:
        member_add(tx, _group(tx, call).id, require_user(tx, call.parameters["subject_id"]).id)

    call.services.store.write(add)
    return Reply(204)


def member_check(call: Call) -> Reply:
    """GET and HEAD /v3/groups/{group_id}/users/{subject_id}: 204 or 404."""
    group_id, user_id = call.parameters["group_id"], call.parameters["subject_id"]
    if not call.services.store.read(lambda tx: member_exists(tx, group_id, user_id)):
        raise NotFound(f"Could not find user {user_id} in group {group_id}.")
    return Reply(204)


def member_delete(call: Call) -> Reply:
    """DELETE /v3/groups/{group_id}/users/{subject_id}: ends the user's tokens."""
    call.services.store.write(lambda tx: member_take(tx, _group(tx, call), call.parameters["subject_id"]))
    return Reply(204)


def require_group(tx: Tx, group_id: str) -> Group:
    """Return the group, or raise NotFound."""
    if (group := group_fetch(tx, group_id)) is None:
        raise NotFound(f"Could not find group: {group_id}.")
    return group


def _group(tx: Tx, call: Call) -> Group:
    return require_group(tx, call.parameters["group_id"])
