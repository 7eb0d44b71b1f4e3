"""Nova's key pairs: a user's own public keys. A private key is in one reply and nowhere else.

That is why a generated key is never remembered for an idempotent repeat: the repeat is answered with 409.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.compute.requests import query_known, text
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.routes import ANY_TOKEN, Route
from holdfast.base import ids
from holdfast.base.clock import iso_micros
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import KEYPAIR_PUBLIC_BYTES, PAGE_ROWS
from holdfast.control.operations.keypair import (
    SSH,
    X509,
    key_material_new,
    keypair_admit,
    keypair_generate,
    keypair_import,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.keypair import keypair_delete, keypair_fetch, keypairs_list
from holdfast.domain.instance import Keypair

_RULE: Final = "os_compute_api:os-keypairs"
_OLD_NAME: Final = r"[_\- a-zA-Z0-9]+"
_NAME: Final = r"[_\-@. a-zA-Z0-9]+"  # since 2.92
_TYPED, _FOR_OTHERS, _PAGED, _IMPORT_ONLY = 2, 10, 35, 92


def _user_id(call: Call, asked: str, verb: str) -> str:
    """Whose keys: the caller's, or somebody's that the policy lets the caller act for."""
    user_id = asked or call.credentials.user_id
    call.authorise(f"{_RULE}:{verb}", {"user_id": user_id})
    return user_id


def _asked_user(call: Call) -> str:
    return call.argument("user_id") if call.version >= _FOR_OTHERS else ""


def _view(call: Call, row: Keypair) -> dict[str, Any]:
    shown = {"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint}
    return {**shown, "type": row.kind} if call.version >= _TYPED else shown


def _checks(call: Call) -> dict[str, requests.Check]:
    pattern = text(1, pattern=_NAME if call.version >= _IMPORT_ONLY else _OLD_NAME)
    checks: dict[str, requests.Check] = {
        "name": lambda field, value: pattern(field, requests.name(field, value)),
        "public_key": text(0, KEYPAIR_PUBLIC_BYTES),
    }
    if call.version >= _TYPED:
        checks["type"] = requests.choice(SSH, X509)
    if call.version >= _FOR_OTHERS:
        checks["user_id"] = text()
    return checks


def keypair_create(call: Call) -> Reply:
    """POST os-keypairs: import a public key, or before 2.92 have a pair made. 200 before 2.2, then 201."""
    required = ("name", "public_key") if call.version >= _IMPORT_ONLY else ("name",)
    wanted = requests.body_of(call, "keypair", _checks(call), required)
    user_id = _user_id(call, wanted.get("user_id", ""), "create")
    name, kind, public_key = wanted["name"], wanted.get("type", SSH), wanted.get("public_key")
    status = 201 if call.version >= _TYPED else 200
    if public_key is None:
        return Reply(status, {"keypair": _generated(call, user_id, name, kind)})

    def change(tx: Tx) -> Reply:
        row = keypair_import(tx, user_id, call.project_id, name, public_key, kind)
        return Reply(status, {"keypair": {**_view(call, row), "user_id": user_id}})

    return write_once(call, change)


def _generated(call: Call, user_id: str, name: str, kind: str) -> dict[str, Any]:
    if kind != SSH:
        raise BadInput("Keypair data is invalid: certificates are not made here; import one with public_key")
    store = call.services.store
    store.read(lambda tx: keypair_admit(tx, user_id, call.project_id, name))  # before any work is done for it
    material = key_material_new()
    row, private_key = store.write(lambda tx: keypair_generate(tx, user_id, call.project_id, name, material))
    return {**_view(call, row), "user_id": user_id, "private_key": private_key}


def keypairs_index(call: Call) -> Reply:
    """GET os-keypairs."""
    query_known(call, ("user_id", "limit", "marker"))
    user_id = _user_id(call, _asked_user(call), "index")
    if call.version < _PAGED:
        rows = call.services.store.read(lambda tx: keypairs_list(tx, user_id, limit=PAGE_ROWS))
        return Reply(200, {"keypairs": [{"keypair": _view(call, row)} for row in rows]})
    limit, marker = requests.page_limit(call), call.argument("marker")

    def read(tx: Tx) -> list[Keypair]:
        if marker and keypair_fetch(tx, user_id, marker) is None:
            raise BadInput(f"Marker {marker[:80]} could not be found.")
        return keypairs_list(tx, user_id, marker, limit)

    rows = call.services.store.read(read)
    body: dict[str, Any] = {"keypairs": [{"keypair": _view(call, row)} for row in rows]}
    if rows and (following := requests.next_links(call, "os-keypairs", len(rows), rows[-1].name)):
        body["keypairs_links"] = following
    return Reply(200, body)


def keypair_show(call: Call) -> Reply:
    """GET os-keypairs/NAME."""
    query_known(call, ("user_id",))
    user_id, name = _user_id(call, _asked_user(call), "show"), call.parameters["name"]
    row = call.services.store.read(lambda tx: keypair_fetch(tx, user_id, name))
    if row is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}")
    shown = {
        **_view(call, row),
        "user_id": user_id,
        "id": ids.number_of(f"{user_id} {name}"),
        "created_at": iso_micros(row.created_us).rstrip("Z"),
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
    return Reply(200, {"keypair": shown})


def keypair_remove(call: Call) -> Reply:
    """DELETE os-keypairs/NAME. 202 before 2.2, then 204."""
    query_known(call, ("user_id",))
    user_id, name = _user_id(call, _asked_user(call), "delete"), call.parameters["name"]

    def change(tx: Tx) -> Reply:
        if not keypair_delete(tx, user_id, name):
            raise NotFound(f"Keypair {name} not found for user {user_id}")
        return Reply(204 if call.version >= _TYPED else 202)

    return call.services.store.write(change)


RULES = {f"{_RULE}:{verb}": "role:admin or user_id:%(user_id)s" for verb in ("index", "show", "create", "delete")}
ROUTES = (
    Route("GET", "/v2.1/os-keypairs", keypairs_index, ANY_TOKEN),
    Route("POST", "/v2.1/os-keypairs", keypair_create, ANY_TOKEN),
    Route("GET", "/v2.1/os-keypairs/{name}", keypair_show, ANY_TOKEN),
    Route("DELETE", "/v2.1/os-keypairs/{name}", keypair_remove, ANY_TOKEN),
)
