"""/v3/users/{user}/application_credentials: a program's share of its owner's rights.

Made by its owner only, for the project of the owner's own token, with roles that this token has. The secret
is in the answer that makes it and nowhere else. What an application credential makes is bounded by it and
goes with it; a restricted one makes nothing.
"""

from __future__ import annotations

import secrets
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity import views
from holdfast.api.identity.bodies import filtered, flag, member, text
from holdfast.base import ids
from holdfast.base.clock import parse_iso
from holdfast.base.errors import BadInput, Forbidden, NotFound, NotSupported
from holdfast.base.limits import PASSWORD_BYTES
from holdfast.control.operations.identity.changes import application_credentials_remove
from holdfast.control.operations.identity.passwords import password_hash
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.credentials import (
    application_credential_fetch,
    application_credential_insert,
    application_credential_list,
)
from holdfast.control.store.identity.roles import role_list
from holdfast.domain.identity import ApplicationCredential, Role, require_name


def application_credentials_list(call: Call) -> Reply:
    """GET .../application_credentials"""

    def read(tx: Tx) -> list[dict[str, Any]]:
        names = {role.id: role.name for role in role_list(tx)}
        found = application_credential_list(tx, user_id=call.parameters["subject_id"])
        return [views.application_credential(call, one, names) for one in found]

    return views.listed(call, "application_credentials", filtered(call, call.services.store.read(read), ("name",)))


def application_credential_create(call: Call) -> Reply:
    """POST .../application_credentials"""
    body = member(call, "application_credential")
    require_may_delegate(call)
    if body.get("access_rules"):
        raise NotSupported("Access rules of application credentials are not supported; leave them out.")
    name = require_name(body.get("name"), "application credential")
    secret = text(body, "secret", most=PASSWORD_BYTES) or secrets.token_urlsafe(64)
    stored = password_hash(secret)
    project_id = call.project_id

    def create(tx: Tx) -> tuple[ApplicationCredential, list[Role]]:
        owner = call.services.authority.token_check(tx, call.headers["x-auth-token"]).credentials  # now, not before
        roles = [role for role in role_list(tx) if role.name in owner.roles]
        new = ApplicationCredential(
            id=ids.new_id().replace("-", ""),
            user_id=owner.user_id,
            project_id=project_id,
            name=name,
            description=text(body, "description", most=65_535),
            secret_hash=stored,
            role_ids=_role_ids(body.get("roles"), roles),
            unrestricted=flag(body, "unrestricted", False),
            expires_us=_expires_us(tx, body, owner.application_credential_id),
            parent_id=owner.application_credential_id,
            created_us=tx.now_us,
        )
        application_credential_insert(tx, new)
        return new, roles

    new, roles = call.services.store.write(create)
    shown = views.application_credential(call, new, {role.id: role.name for role in roles})
    return Reply(201, {"application_credential": {**shown, "secret": secret}})


def application_credential_show(call: Call) -> Reply:
    """GET .../application_credentials/{credential_id}"""

    def read(tx: Tx) -> dict[str, Any]:
        names = {role.id: role.name for role in role_list(tx)}
        return views.application_credential(call, _own(tx, call), names)

    return Reply(200, {"application_credential": call.services.store.read(read)})


def application_credential_delete(call: Call) -> Reply:
    """DELETE .../application_credentials/{credential_id}: with all that was made through it."""
    require_may_delegate(call)

    def remove(tx: Tx) -> None:
        found = _own(tx, call)
        if call.credentials.application_credential_id not in ("", found.id, found.parent_id):
            raise Forbidden("An application credential may end itself and what it made, nothing else.")
        application_credentials_remove(tx, [found.id])

    call.services.store.write(remove)
    return Reply(204)


def access_rules_list(call: Call) -> Reply:
    """GET .../access_rules: there are none."""
    return views.listed(call, "access_rules", [])


def require_may_delegate(call: Call) -> None:
    """Refuse tokens that may not make or end credentials: restricted ones, and those of access keys."""
    if call.credentials.restricted:
        raise Forbidden("A restricted token cannot manage credentials.")


def _own(tx: Tx, call: Call) -> ApplicationCredential:
    """The credential of the user in the path: whoever else's is not there."""
    found = application_credential_fetch(tx, call.parameters["credential_id"])
    if found is None or found.user_id != call.parameters["subject_id"]:
        raise NotFound(f"Could not find Application Credential: {call.parameters['credential_id']}.")
    return found


def _role_ids(wanted: Any, held: list[Role]) -> list[str]:
    """The ids of the roles asked for, all of which the token must have; without any, all that it has."""
    if not wanted:
        return [role.id for role in held]
    if not isinstance(wanted, list) or not all(isinstance(entry, dict) for entry in wanted):
        raise BadInput("roles are a list of objects with an id or a name")
    found = []
    for entry in wanted:
        same = [r for r in held if entry.get("id") == r.id or ("id" not in entry and entry.get("name") == r.name)]
        if not same:
            raise BadInput("Invalid application credential: it may only have roles that its owner's token has.")
        found.append(same[0].id)
    return found


def _expires_us(tx: Tx, body: dict[str, Any], parent_id: str) -> int | None:
    """When it ends: as asked, but never after the one that makes it."""
    expires_us = None
    if wanted := text(body, "expires_at"):
        try:
            expires_us = parse_iso(wanted)
        except ValueError as err:
            raise BadInput("expires_at is not an ISO 8601 instant") from err
        if expires_us <= tx.now_us:
            raise BadInput("expires_at is in the past")
    parent = application_credential_fetch(tx, parent_id) if parent_id else None
    ends = [end for end in (expires_us, parent.expires_us if parent else None) if end is not None]
    return min(ends, default=None)
