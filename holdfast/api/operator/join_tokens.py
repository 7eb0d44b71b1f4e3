"""Tokens that let machines join as hosts."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.base.clock import iso_micros
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.base.limits import JOIN_TOKEN_MAX_S, JOIN_TOKEN_S
from holdfast.control.operations.host.join import join_token_make
from holdfast.control.store.identity.enrolment import join_token_drop, join_tokens
from holdfast.domain.joining import JoinToken, join_token_text


def join_token_create(call: Call) -> Reply:
    """POST join-tokens {"lasts_s"}: a new one; its text is shown this once. 201."""
    lasts_s, services = call.json().get("lasts_s", JOIN_TOKEN_S), call.services
    if type(lasts_s) is not int or not 1 <= lasts_s <= JOIN_TOKEN_MAX_S:
        raise BadInput(f"lasts_s must be a whole number from 1 to {JOIN_TOKEN_MAX_S}")
    if not services.settings.hosts_listen:
        raise Conflict(
            "hosts of other machines have no way in: this control plane listens nowhere for them; "
            "next: sudo holdfast up --hosts-listen ADDRESS",
            code="no_door",
        )
    row, secret = services.store.write(lambda tx: join_token_make(tx, call.credentials.user_id, lasts_s))
    text = join_token_text(services.hosts_authority.fingerprint, secret)
    return Reply(201, {"join_token": {**_view(row), "token": text, "url": services.settings.hosts_endpoint}})


def join_tokens_index(call: Call) -> Reply:
    """GET join-tokens: those that still let somebody in."""
    return Reply(200, {"join_tokens": [_view(row) for row in call.services.store.read(join_tokens)]})


def join_token_remove(call: Call) -> Reply:
    """DELETE join-tokens/ID: from now on it lets nobody in. 204."""
    token_id = call.parameters["token_id"]
    if not call.services.store.write(lambda tx: join_token_drop(tx, token_id)):
        raise NotFound(f"there is no join token {token_id[:80]}; next: holdfast token --list")
    return Reply(204)


def _view(row: JoinToken) -> dict[str, Any]:
    until, created = iso_micros(row.until_us), iso_micros(row.created_us)
    return {"id": row.id, "until": until, "created_at": created, "user_id": row.user_id}
