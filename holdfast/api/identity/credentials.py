"""EC2 access keys, as /v3/users/{user}/credentials/OS-EC2 and as /v3/credentials of type ec2.

The owner is the caller, whatever the body says, unless an administrator names another; it never changes
(CVE-2020-12691). Only the owner and administrators see a key, and only through OS-EC2 and /v3/credentials,
which have always shown the secret to its owner. A key that was made through an application credential has
that credential's roles and goes with it.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity import views
from holdfast.api.identity.application_credentials import require_may_delegate
from holdfast.api.identity.bodies import filtered, member, text
from holdfast.api.identity.projects import require_project
from holdfast.api.identity.users import require_user
from holdfast.base.errors import BadInput, Forbidden, NotFound, NotSupported, Unauthenticated
from holdfast.control.operations.identity.authority import credentials_for
from holdfast.control.operations.identity.changes import ec2_credential_remove
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.credentials import (
    ec2_credential_by_access,
    ec2_credential_by_id,
    ec2_credential_insert,
    ec2_credential_list,
    ec2_credential_set_key,
)
from holdfast.domain.identity import Ec2Credential

_KEY_CHARS = 128


def ec2_list(call: Call) -> Reply:
    """GET /v3/users/{subject_id}/credentials/OS-EC2"""
    found = call.services.store.read(lambda tx: ec2_credential_list(tx, user_id=call.parameters["subject_id"]))
    return views.listed(call, "credentials", [_ec2_view(call, key) for key in found if _mine(call, key)])


def ec2_create(call: Call) -> Reply:
    """POST /v3/users/{subject_id}/credentials/OS-EC2"""
    project_id = text(call.json(), "tenant_id") or call.credentials.project_id
    key = _create(call, call.parameters["subject_id"], project_id, secrets.token_hex(16), secrets.token_hex(16))
    return Reply(201, {"credential": _ec2_view(call, key)})


def ec2_show(call: Call) -> Reply:
    """GET /v3/users/{subject_id}/credentials/OS-EC2/{access}"""
    return Reply(200, {"credential": _ec2_view(call, call.services.store.read(lambda tx: _by_access(tx, call)))})


def ec2_delete(call: Call) -> Reply:
    """DELETE /v3/users/{subject_id}/credentials/OS-EC2/{access}"""
    require_may_delegate(call)
    call.services.store.write(lambda tx: ec2_credential_remove(tx, _by_access(tx, call).id))
    return Reply(204)


def credentials_list(call: Call) -> Reply:
    """GET /v3/credentials: the caller's own; an administrator sees everybody's."""
    owner = {} if _all(call) else {"user_id": call.credentials.user_id}
    found = [key for key in call.services.store.read(lambda tx: ec2_credential_list(tx, **owner)) if _mine(call, key)]
    return views.listed(call, "credentials", filtered(call, [_view(call, key) for key in found], ("user_id", "type")))


def credential_create(call: Call) -> Reply:
    """POST /v3/credentials"""
    body = member(call, "credential")
    if body.get("type") != "ec2":
        raise NotSupported("Only credentials of type ec2 are supported.")
    access, secret = _blob(body)
    owner = text(body, "user_id") if _all(call) else ""
    project_id = text(body, "project_id")
    key = _create(call, owner or call.credentials.user_id, project_id, access, secret)
    return Reply(201, {"credential": _view(call, key)})


def credential_show(call: Call) -> Reply:
    """GET /v3/credentials/{credential_id}"""
    return Reply(200, {"credential": _view(call, call.services.store.read(lambda tx: _by_id(tx, call)))})


def credential_update(call: Call) -> Reply:
    """PATCH /v3/credentials/{credential_id}: another key pair, for the same owner and project."""
    body = member(call, "credential")
    require_may_delegate(call)

    def change(tx: Tx) -> Ec2Credential:
        old = _by_id(tx, call)
        for name, value in (("user_id", old.user_id), ("project_id", old.project_id), ("type", "ec2")):
            if body.get(name) not in (None, value):
                raise Forbidden(f"The {name} of a credential cannot be changed.")
        if "blob" in body:
            access, secret = _blob(body)
            sealed = call.services.authority.secrets.seal(secret.encode())
            ec2_credential_set_key(tx, old.id, access, sealed)
        return _by_id(tx, call)

    return Reply(200, {"credential": _view(call, call.services.store.write(change))})


def credential_delete(call: Call) -> Reply:
    """DELETE /v3/credentials/{credential_id}"""
    require_may_delegate(call)
    call.services.store.write(lambda tx: ec2_credential_remove(tx, _by_id(tx, call).id))
    return Reply(204)


def _create(call: Call, user_id: str, project_id: str, access: str, secret: str) -> Ec2Credential:
    """Store a key for a user who has a role in the project; a delegated caller stays in its own project."""
    require_may_delegate(call)
    caller = call.credentials
    if not project_id:
        raise BadInput("an access key needs the project that it is for")
    if caller.delegated and (user_id, project_id) != (caller.user_id, caller.project_id):
        raise Forbidden("A delegated token makes access keys for its own user and project only.")
    new_id = hashlib.sha256(access.encode()).hexdigest()
    sealed = call.services.authority.secrets.seal(secret.encode())

    def create(tx: Tx) -> Ec2Credential:
        call.services.authority.token_check(tx, call.headers["x-auth-token"])  # now, not a moment ago
        require_user(tx, user_id)
        require_project(tx, project_id)
        if user_id == caller.user_id:
            _require_role(tx, user_id, project_id)
        key = Ec2Credential(new_id, user_id, project_id, access, sealed, caller.application_credential_id, tx.now_us)
        ec2_credential_insert(tx, key)
        return key

    return call.services.store.write(create)


def _require_role(tx: Tx, user_id: str, project_id: str) -> None:
    """A courtesy to whoever mistyped the project: a key without a role would open nothing."""
    try:
        credentials_for(tx, user_id, project_id)
    except Unauthenticated as err:
        raise NotFound(f"Could not find a role of user {user_id} in project {project_id}.") from err


def _blob(body: dict[str, Any]) -> tuple[str, str]:
    """The access key and secret inside a blob, which is JSON in a text (or plainly JSON)."""
    blob = body.get("blob")
    try:
        document = msgspec.json.decode(blob) if isinstance(blob, str) else blob
    except msgspec.DecodeError as err:
        raise BadInput("Invalid blob in credential.") from err
    pair = (document.get("access"), document.get("secret")) if isinstance(document, dict) else ()
    texts = [part for part in pair if isinstance(part, str) and 0 < len(part) <= _KEY_CHARS and part.isprintable()]
    if len(texts) != 2:
        raise BadInput(f"Invalid blob in credential: access and secret have 1 to {_KEY_CHARS} characters.")
    return texts[0], texts[1]


def _all(call: Call) -> bool:
    return call.credentials.is_admin and not call.credentials.delegated


def _mine(call: Call, key: Ec2Credential) -> bool:
    """Say whether this caller may see the key: a delegated one sees what it made itself."""
    caller = call.credentials
    if caller.delegated:
        made = caller.application_credential_id
        return key.user_id == caller.user_id and not caller.restricted and key.application_credential_id == made
    return caller.is_admin or key.user_id == caller.user_id


def _by_access(tx: Tx, call: Call) -> Ec2Credential:
    key = ec2_credential_by_access(tx, call.parameters["access"])
    if key is None or key.user_id != call.parameters["subject_id"] or not _mine(call, key):
        raise NotFound(f"Could not find credential: {call.parameters['access']}.")
    return key


def _by_id(tx: Tx, call: Call) -> Ec2Credential:
    key = ec2_credential_by_id(tx, call.parameters["credential_id"])
    if key is None or not _mine(call, key):
        raise NotFound(f"Could not find credential: {call.parameters['credential_id']}.")
    return key


def _ec2_view(call: Call, key: Ec2Credential) -> dict[str, Any]:
    return {
        "user_id": key.user_id,
        "tenant_id": key.project_id,
        "access": key.access,
        "secret": call.services.authority.ec2_secret(key),
        "trust_id": None,
        "links": views.self_link(call, f"users/{key.user_id}/credentials/OS-EC2/{key.access}"),
    }


def _view(call: Call, key: Ec2Credential) -> dict[str, Any]:
    blob = {"access": key.access, "secret": call.services.authority.ec2_secret(key)}
    return {
        "id": key.id,
        "user_id": key.user_id,
        "project_id": key.project_id,
        "type": "ec2",
        "blob": msgspec.json.encode(blob).decode(),
        "links": views.self_link(call, f"credentials/{key.id}"),
    }
