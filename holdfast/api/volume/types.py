"""Volume types: there is one, `local`, the disks of the hosts themselves."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.base.errors import NotFound, NotSupported
from holdfast.domain.volume import TYPE_ID, TYPE_NAME

_ANY_READER = "role:reader"
_VIEW: dict[str, Any] = {
    "id": TYPE_ID,
    "name": TYPE_NAME,
    "description": "A file on the disk of one host",
    "extra_specs": {},
    "is_public": True,
    "os-volume-type-access:is_public": True,
    "qos_specs_id": None,
}


def type_require(wanted: Any) -> None:
    """Raise NotFound for a type that there is not; none at all means the only one."""
    if wanted not in (None, "", TYPE_ID, TYPE_NAME, "__DEFAULT__"):
        raise NotFound(f"Volume type with name {str(wanted)[:64]} could not be found.")


def types_index(call: Call) -> Reply:
    """GET types"""
    private_only = call.argument("is_public").lower() in ("false", "0")
    return Reply(200, {"volume_types": [] if private_only else [_VIEW]})


def type_show(call: Call) -> Reply:
    """GET types/ID, and types/default"""
    _known(call, TYPE_ID, "default")
    return Reply(200, {"volume_type": _VIEW})


def specs_index(call: Call) -> Reply:
    """GET types/ID/extra_specs: it has none."""
    _known(call, TYPE_ID)
    return Reply(200, {"extra_specs": {}})


def type_refuse(call: Call) -> Reply:
    """Making and changing types."""
    raise NotSupported(f"This cloud has one volume type, {TYPE_NAME}; types can be neither made nor changed")


def _known(call: Call, *names: str) -> None:
    asked = call.parameters["type_id"]
    if asked not in names:
        raise NotFound(f"Volume type {asked[:64]} could not be found.")


_GET, _MANAGE = "volume_extension:type_get", "volume_extension:types_manage"
ROUTES = (
    Route("GET", "/types", types_index, "volume_extension:type_get_all"),
    Route("POST", "/types", type_refuse, _MANAGE),
    Route("GET", "/types/{type_id}", type_show, _GET),
    Route("PUT", "/types/{type_id}", type_refuse, _MANAGE),
    Route("DELETE", "/types/{type_id}", type_refuse, _MANAGE),
    Route("GET", "/types/{type_id}/extra_specs", specs_index, _GET),
    Route("POST", "/types/{type_id}/extra_specs", type_refuse, _MANAGE),
)
RULES = {"volume_extension:type_get_all": _ANY_READER, _GET: _ANY_READER, _MANAGE: ADMIN}
