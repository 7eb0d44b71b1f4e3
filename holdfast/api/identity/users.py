"""/v3/users. A password goes in and never comes out."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity import views
from holdfast.api.identity.bodies import extra, filtered, flag, member, own_domain, require_same, text
from holdfast.api.identity.projects import require_domain
from holdfast.base import ids
from holdfast.base.errors import BadInput, Conflict, NotFound, Unauthenticated
from holdfast.base.limits import PASSWORD_BYTES
from holdfast.control.operations.identity.changes import user_change, user_remove
from holdfast.control.operations.identity.claims import WORDS
from holdfast.control.operations.identity.passwords import password_hash
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import groups_of_user, noun_insert, project_list, user_fetch, user_list
from holdfast.control.store.identity.roles import targets_of_user
from holdfast.domain.identity import Target, User, require_name

_KNOWN = {
    *("id", "name", "domain_id", "description", "enabled", "default_project_id", "password", "original_password"),
    *("password_hash", "password_expires_at", "options", "federated", "links"),
}
_FILTERS = ("name", "domain_id", "enabled", "default_project_id")


def users_list(call: Call) -> Reply:
    """GET /v3/users"""
    exact = {name: call.argument(name) for name in ("name", "domain_id") if call.argument(name)}
    found = call.services.store.read(lambda tx: user_list(tx, **exact))
    return views.listed(call, "users", filtered(call, [views.user(call, user) for user in found], _FILTERS))


def user_create(call: Call) -> Reply:
    """POST /v3/users

    Without an idempotency key on purpose: it keeps a plain digest of the body, and so of the password. A
    repeat meets the Conflict on the name.
    """
    body = member(call, "user")
    name, stored = require_name(body.get("name"), "user"), _stored(body)

    def create(tx: Tx) -> User:
        user = User(
            id=ids.new_id(),
            domain_id=require_domain(tx, own_domain(call, body)).id,
            name=name,
            description=text(body, "description", most=65_535),
            enabled=flag(body, "enabled", True),
            default_project_id=text(body, "default_project_id"),
            password_hash=stored,
            extra=extra(body, _KNOWN),
            created_us=tx.now_us,
        )
        noun_insert(tx, user)
        return user

    return Reply(201, {"user": views.user(call, call.services.store.write(create))})


def user_show(call: Call) -> Reply:
    """GET /v3/users/{subject_id}"""
    return Reply(200, {"user": views.user(call, call.services.store.read(lambda tx: _user(tx, call)))})


def user_update(call: Call) -> Reply:
    """PATCH /v3/users/{subject_id}"""
    body = member(call, "user")
    stored = _stored(body)

    def change(tx: Tx) -> User:
        old = _user(tx, call)
        require_same(body, "domain_id", old.domain_id)
        require_same(body, "id", old.id)
        new = msgspec.structs.replace(
            old,
            name=require_name(body["name"], "user") if "name" in body else old.name,
            description=text(body, "description", old.description, most=65_535),
            enabled=flag(body, "enabled", old.enabled),
            default_project_id=text(body, "default_project_id", old.default_project_id),
            password_hash=stored or old.password_hash,
            extra=extra(body, _KNOWN, old.extra),
        )
        user_change(tx, old, new)
        return new

    return Reply(200, {"user": views.user(call, call.services.store.write(change))})


def user_delete(call: Call) -> Reply:
    """DELETE /v3/users/{subject_id}"""
    call.services.store.write(lambda tx: user_remove(tx, _user(tx, call)))
    return Reply(204)


def password_change(call: Call) -> Reply:
    """POST /v3/users/{subject_id}/password: by whoever knows the old one. Ends every token of the user."""
    body = member(call, "user")
    original = text(body, "original_password", most=PASSWORD_BYTES)
    user = call.services.store.read(lambda tx: _user(tx, call))
    if not call.services.authority.passwords.verify(user.password_hash, original):
        raise Unauthenticated(WORDS)
    if not (stored := _stored(body)):
        raise BadInput("Expecting to find password in user.")

    def change(tx: Tx) -> None:
        now = _user(tx, call)
        if now.password_hash != user.password_hash:
            raise Conflict("The password was changed meanwhile.")
        user_change(tx, now, msgspec.structs.replace(now, password_hash=stored))

    call.services.store.write(change)
    return Reply(204)


def user_projects(call: Call) -> Reply:
    """GET /v3/users/{subject_id}/projects: enabled or not, wherever the user has a role."""

    def read(tx: Tx) -> list[Any]:
        targets = targets_of_user(tx, _user(tx, call).id)
        found = [target_id for kind, target_id in targets if kind is Target.PROJECT]
        if call.credentials.delegated and not call.credentials.is_admin:
            found = [target_id for target_id in found if target_id == call.credentials.project_id]
        return project_list(tx, id=found, is_domain=False)

    entries = [views.project(call, project) for project in call.services.store.read(read)]
    return views.listed(call, "projects", filtered(call, entries, ("name", "domain_id", "enabled")))


def user_groups(call: Call) -> Reply:
    """GET /v3/users/{subject_id}/groups"""
    groups = call.services.store.read(lambda tx: groups_of_user(tx, _user(tx, call).id))
    entries = [{**views.group(call, group), "membership_expires_at": None} for group in groups]
    return views.listed(call, "groups", filtered(call, entries, ("name",)))


def require_user(tx: Tx, user_id: str) -> User:
    """Return the user, or raise NotFound."""
    if (user := user_fetch(tx, user_id)) is None:
        raise NotFound(f"Could not find user: {user_id}.")
    return user


def _user(tx: Tx, call: Call) -> User:
    return require_user(tx, call.parameters["subject_id"])


def _stored(body: dict[str, Any]) -> str:
    """What is stored for the password in the body; empty when there is none. Slow, so never in a transaction."""
    if body.get("password") is None:
        return ""
    return password_hash(text(body, "password", most=PASSWORD_BYTES))
