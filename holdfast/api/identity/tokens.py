"""/v3/auth: tokens made, shown and ended, and what a token could be scoped to.

Only headers that the route names are read: whatever claims an identity beside the token is ignored. A
subject token that is not valid is 404, as in Keystone; the caller's own is 401.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.services import Services
from holdfast.api.identity import views
from holdfast.api.identity.catalog import catalog_json
from holdfast.base.clock import iso_micros
from holdfast.base.errors import NotFound, Unauthenticated
from holdfast.control.operations.identity.claims import Verified
from holdfast.control.operations.identity.login import Login
from holdfast.control.store.identity.identity import project_list
from holdfast.control.store.identity.roles import revoke, targets_of_user
from holdfast.domain.credentials import Credentials
from holdfast.domain.identity import Target


def credentials_of(services: Services) -> Callable[[str], Credentials]:
    """Return what turns a token into Credentials, or raises Unauthenticated."""
    check = services.authority.check
    return lambda token: check(token).credentials


def token_create(call: Call) -> Reply:
    """POST /v3/auth/tokens: 201 with the token in X-Subject-Token; 401 for every reason in the same words."""
    token, verified = call.services.authority.login(call.decode(Login, "auth"))
    return _reply(call, 201, token, verified)


def token_show(call: Call) -> Reply:
    """GET and HEAD /v3/auth/tokens: the subject token; 404 when it is not valid."""
    token, verified = _subject(call)
    call.authorise("identity:validate_token", _target(verified))
    return _reply(call, 200, token, verified)


def token_delete(call: Call) -> Reply:
    """DELETE /v3/auth/tokens: end the subject token and all that came out of it, here now, elsewhere soon."""
    _, verified = _subject(call)
    call.authorise("identity:revoke_token", _target(verified))
    call.services.store.write(lambda tx: revoke(tx, [f"audit:{verified.claim.lineage[-1]}"]))
    return Reply(204)


def catalog_show(call: Call) -> Reply:
    """GET /v3/auth/catalog"""
    if not call.credentials.roles:
        raise NotFound("An unscoped token has no catalog.")
    return Reply(200, {"catalog": catalog_json(call.services), "links": views.links(call)})


def projects_show(call: Call) -> Reply:
    """GET /v3/auth/projects: enabled projects that this user can ask a token for."""
    return _places(call, "projects", Target.PROJECT)


def domains_show(call: Call) -> Reply:
    """GET /v3/auth/domains"""
    return _places(call, "domains", Target.DOMAIN)


def system_show(call: Call) -> Reply:
    """GET /v3/auth/system"""
    targets = call.services.store.read(lambda tx: targets_of_user(tx, call.credentials.user_id))
    has = any(kind is Target.SYSTEM for kind, _ in targets) and not call.credentials.delegated
    return Reply(200, {"system": [{"all": True}] if has else [], "links": views.links(call)})


def _places(call: Call, name: str, wanted: Target) -> Reply:
    credentials = call.credentials

    def read(tx: Any) -> list[Any]:
        found = [target_id for kind, target_id in targets_of_user(tx, credentials.user_id) if kind is wanted]
        if credentials.delegated:
            found = [target_id for target_id in found if target_id == credentials.project_id]
        return project_list(tx, id=found, is_domain=wanted is Target.DOMAIN, enabled=True)

    view = views.project if wanted is Target.PROJECT else views.domain
    return views.listed(call, name, [view(call, place) for place in call.services.store.read(read)])


def _subject(call: Call) -> tuple[str, Verified]:
    token = call.headers.get("x-subject-token", "")
    try:
        return token, call.services.authority.check(token)
    except Unauthenticated as err:
        raise NotFound("Could not find token.") from err


def _target(verified: Verified) -> dict[str, Any]:
    return {"target.token.user_id": verified.user.id, "user_id": verified.user.id}


def _reply(call: Call, status: int, token: str, verified: Verified) -> Reply:
    body = token_body(verified)
    if verified.roles and not any(key == "nocatalog" for key, _ in call.query):
        body["catalog"] = catalog_json(call.services)
    return Reply(status, {"token": body}, {"X-Subject-Token": token, "Vary": "X-Auth-Token"})


def token_body(verified: Verified) -> dict[str, Any]:
    """The token as Keystone shows it, without the catalogue."""
    claim, user, place = verified.claim, verified.user, verified.place
    body: dict[str, Any] = {
        "methods": claim.methods,
        "user": {
            "id": user.id,
            "name": user.name,
            "domain": {"id": user.domain_id, "name": user.domain_name},
            "password_expires_at": None,
        },
        "audit_ids": claim.audit_ids,
        "expires_at": iso_micros(claim.expires_us),
        "issued_at": iso_micros(claim.issued_us),
    }
    if claim.target is not None:
        body["roles"] = [{"id": role_id, "name": name} for role_id, name in verified.roles]
    if claim.target is Target.SYSTEM:
        body["system"] = {"all": True}
    if place is not None and claim.target is Target.DOMAIN:
        body["domain"] = {"id": place.id, "name": place.name}
    if place is not None and claim.target is Target.PROJECT:
        home = {"id": place.domain_id, "name": place.domain_name}
        body["project"] = {"id": place.id, "name": place.name, "domain": home}
        body["is_domain"] = False
    if (source := verified.application_credential) is not None:
        restricted = not source.unrestricted
        body["application_credential"] = {"id": source.id, "name": source.name, "restricted": restricted}
    return body
