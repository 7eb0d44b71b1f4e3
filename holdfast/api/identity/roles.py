"""/v3/roles and the grants: who has which role on a project, a domain or the system.

One handler serves every shape of grant; what the path names (`on_project`, `on_domain`, `for_user`,
`for_group`, OS-INHERIT) says which assignment is meant.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.identity import views
from holdfast.api.identity.bodies import filtered, member, text
from holdfast.api.identity.groups import require_group
from holdfast.api.identity.projects import require_domain, require_project
from holdfast.api.identity.users import require_user
from holdfast.base import ids
from holdfast.base.errors import Forbidden, NotFound, NotSupported
from holdfast.control.operations.identity.changes import assignment_take, role_remove
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.roles import (
    assignment_add,
    assignment_exists,
    assignment_list,
    role_fetch,
    role_list,
    role_store,
)
from holdfast.domain.credentials import IMPLIED
from holdfast.domain.identity import ROLES, SYSTEM, Actor, Assignment, Role, Target, require_name


def roles_list(call: Call) -> Reply:
    """GET /v3/roles"""
    found = call.services.store.read(lambda tx: role_list(tx, call.argument("domain_id")))
    return views.listed(call, "roles", filtered(call, [views.role(call, role) for role in found], ("name",)))


def role_create(call: Call) -> Reply:
    """POST /v3/roles"""
    body = member(call, "role")
    name = require_name(body.get("name"), "role")
    if body.get("domain_id"):
        raise NotSupported("This cloud has no roles that belong to a domain.")

    def create(tx: Tx) -> Reply:
        role = Role(ids.new_id(), "", name, text(body, "description", most=65_535))
        role_store(tx, role)
        return Reply(201, {"role": views.role(call, role)})

    return write_once(call, create)


def role_show(call: Call) -> Reply:
    """GET /v3/roles/{role_id}"""
    return Reply(200, {"role": views.role(call, call.services.store.read(lambda tx: _role(tx, call)))})


def role_update(call: Call) -> Reply:
    """PATCH /v3/roles/{role_id}: the roles that policies speak of keep their names."""
    body = member(call, "role")

    def change(tx: Tx) -> Role:
        old = _role(tx, call)
        name = require_name(body["name"], "role") if "name" in body else old.name
        if name != old.name and old.name in ROLES:
            raise Forbidden(f"The role {old.name} cannot be renamed.")
        new = msgspec.structs.replace(old, name=name, description=text(body, "description", old.description))
        role_store(tx, new)
        return new

    return Reply(200, {"role": views.role(call, call.services.store.write(change))})


def role_delete(call: Call) -> Reply:
    """DELETE /v3/roles/{role_id}: ends the tokens of all who had it."""

    def remove(tx: Tx) -> None:
        role = _role(tx, call)
        if role.name in ROLES:
            raise Forbidden(f"The role {role.name} cannot be deleted.")
        role_remove(tx, role)

    call.services.store.write(remove)
    return Reply(204)


def grants_list(call: Call) -> Reply:
    """GET .../roles: the roles given right there."""

    def read(tx: Tx) -> list[Role]:
        wanted = _grant(tx, call)
        same = msgspec.structs.asdict(wanted)
        del same["role_id"]
        given = {found.role_id for found in assignment_list(tx, **same)}
        return [role for role in role_list(tx) if role.id in given]

    return views.listed(call, "roles", [views.role(call, role) for role in call.services.store.read(read)])


def grant_put(call: Call) -> Reply:
    """PUT .../roles/{role_id}: idempotent."""

    def give(tx: Tx) -> None:
        role = _role(tx, call)
        assignment_add(tx, msgspec.structs.replace(_grant(tx, call), role_id=role.id))

    call.services.store.write(give)
    return Reply(204)


def grant_check(call: Call) -> Reply:
    """HEAD and GET .../roles/{role_id}: 204 or 404."""

    def given(tx: Tx) -> bool:
        return assignment_exists(tx, msgspec.structs.replace(_grant(tx, call), role_id=_role(tx, call).id))

    if not call.services.store.read(given):
        raise NotFound(f"Could not find role assignment with role: {call.parameters['role_id']}.")
    return Reply(204)


def grant_delete(call: Call) -> Reply:
    """DELETE .../roles/{role_id}: ends the tokens for that target."""

    def take(tx: Tx) -> None:
        assignment_take(tx, msgspec.structs.replace(_grant(tx, call), role_id=_role(tx, call).id))

    call.services.store.write(take)
    return Reply(204)


def inferences_list(call: Call) -> Reply:
    """GET /v3/role_inferences: which role implies which; fixed in this cloud."""
    roles = {role.name: role for role in call.services.store.read(role_list)}
    rules = [
        {"prior_role": _short(call, roles[prior]), "implies": [_short(call, roles[implied])]}
        for prior, implied in IMPLIED.items()
        if prior in roles and implied in roles
    ]
    return Reply(200, {"role_inferences": rules, "links": views.links(call)})


def implied_list(call: Call) -> Reply:
    """GET /v3/roles/{role_id}/implies"""

    def read(tx: Tx) -> tuple[Role, list[Role]]:
        prior = _role(tx, call)
        return prior, [role for role in role_list(tx) if role.name == IMPLIED.get(prior.name)]

    prior, implied = call.services.store.read(read)
    rule = {"prior_role": _short(call, prior), "implies": [_short(call, role) for role in implied]}
    return Reply(200, {"role_inference": rule, "links": views.links(call)})


def implied_change(call: Call) -> Reply:
    """PUT and DELETE /v3/roles/{role_id}/implies/{implied_id}: refused."""
    raise NotSupported("Which role implies which is fixed in this cloud: admin, manager, member, reader.")


def _short(call: Call, role: Role) -> dict[str, Any]:
    return {"id": role.id, "name": role.name, "links": views.self_link(call, f"roles/{role.id}")}


def _role(tx: Tx, call: Call) -> Role:
    if (role := role_fetch(tx, call.parameters["role_id"])) is None:
        raise NotFound(f"Could not find role: {call.parameters['role_id']}.")
    return role


def _grant(tx: Tx, call: Call) -> Assignment:
    """The assignment that the path means, without its role; NotFound when its actor or target is not there."""
    named = call.parameters
    if "for_user" in named:
        actor, actor_id = Actor.USER, require_user(tx, named["for_user"]).id
    else:
        actor, actor_id = Actor.GROUP, require_group(tx, named["for_group"]).id
    target, target_id = Target.SYSTEM, SYSTEM
    if "on_project" in named:
        target, target_id = Target.PROJECT, require_project(tx, named["on_project"]).id
    if "on_domain" in named:
        target, target_id = Target.DOMAIN, require_domain(tx, named["on_domain"]).id
    return Assignment(actor, actor_id, target, target_id, "", call.path.startswith("/v3/OS-INHERIT/"))
