"""Volumes: list, show, create, change, delete, and their properties."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.policy import MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.api.volume.requests import (
    body_object,
    file_query,
    find_volume,
    flag,
    identifier,
    page,
    properties,
    text,
    whole_number,
)
from holdfast.api.volume.types import type_require
from holdfast.api.volume.views import volume_brief, volume_detail, volume_made
from holdfast.base.errors import BadInput, NotFound, NotSupported
from holdfast.control.operations.volume.create import VolumeWanted, volume_create_begin
from holdfast.control.operations.volume.delete import volume_delete_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.listing import VolumeWhole, volumes_count, volumes_list
from holdfast.control.store.volume.rows import row_update

_ABSENT = ("backup_id", "consistencygroup_id", "group_id", "multiattach")


def volumes_index(call: Call) -> Reply:
    """GET volumes"""
    return _list(call, detailed=False)


def volumes_detail(call: Call) -> Reply:
    """GET volumes/detail"""
    return _list(call, detailed=True)


def _list(call: Call, detailed: bool) -> Reply:
    query = file_query(call)
    base = call.services.settings.endpoint

    def look(tx: Tx) -> Reply:
        found = volumes_list(tx, query)
        views = [_detail(call, whole) if detailed else volume_brief(whole, base) for whole in found]
        return Reply(200, page(call, query, "volumes", views, lambda: volumes_count(tx, query)))

    return call.services.store.read(look)


def volumes_summary(call: Call) -> Reply:
    """GET volumes/summary, since 3.12: how many, and how large together."""
    query = file_query(call)

    def look(tx: Tx) -> Reply:
        found = volumes_list(tx, query)
        summary = {"total_count": len(found), "total_size": sum(whole.row.size_gib for whole in found)}
        return Reply(200, {"volume-summary": summary | ({"metadata": {}} if call.version >= 36 else {})})

    return call.services.store.read(look)


def volume_show(call: Call) -> Reply:
    """GET volumes/ID"""
    whole = call.services.store.read(lambda tx: find_volume(call, tx, "volume:get"))
    return Reply(200, {"volume": _detail(call, whole)})


def volume_create(call: Call) -> Reply:
    """POST volumes: 202; it is then `creating` until its host has made it."""
    body = body_object(call, "volume")
    _ = call.project_id
    for word in _ABSENT:
        if body.get(word):
            raise NotSupported(f"{word}: this cloud does not have that")

    def change(tx: Tx) -> Reply:
        type_require(body.get("volume_type"))
        wanted = VolumeWanted(
            name=text("name", body.get("name", body.get("display_name"))),
            description=text("description", body.get("description", body.get("display_description"))),
            size_gib=0 if body.get("size") is None else _size(body["size"]),
            zone=text("availability_zone", body.get("availability_zone")),
            image_id=identifier("imageRef", body.get("imageRef", body.get("image_id"))),
            snapshot_id=identifier("snapshot_id", body.get("snapshot_id")),
            source_id=identifier("source_volid", body.get("source_volid")),
            properties=properties(body.get("metadata")),
        )
        row = volume_create_begin(tx, wanted, call.credentials, call.request_id)
        return Reply(202, {"volume": _made(call, VolumeWhole(row, None, ""))})

    return write_once(call, change)


def _size(value: Any) -> int:
    size_gib = whole_number("size", value)
    if size_gib == 0:
        raise BadInput("Invalid input for field/attribute size: Volume size must be an integer and greater than 0")
    return size_gib


def volume_update(call: Call) -> Reply:
    """PUT volumes/ID: name, description, properties."""
    body = body_object(call, "volume")
    changes: dict[str, Any] = {}
    for field, words in (("name", ("name", "display_name")), ("description", ("description", "display_description"))):
        for word in words:
            if word in body:
                changes[field] = text(field, body[word])
    if "metadata" in body:
        changes["properties"] = properties(body["metadata"])
    if not changes:
        raise BadInput("Invalid input received: nothing that can be changed was named")

    def change(tx: Tx) -> Reply:
        whole = find_volume(call, tx, "volume:update")
        row_update(tx, whole.row, **changes)
        return Reply(200, {"volume": _made(call, find_volume(call, tx, "volume:get"))})

    return call.services.store.write(change)


def volume_delete(call: Call) -> Reply:
    """DELETE volumes/ID: 202; with `cascade` its snapshots go too."""
    cascade = flag("cascade", call.argument("cascade", "false"))

    def change(tx: Tx) -> Reply:
        whole = find_volume(call, tx, "volume:delete")
        volume_delete_begin(tx, whole.row, call.credentials.user_id, call.request_id, cascade)
        return Reply(202)

    return call.services.store.write(change)


def properties_show(call: Call) -> Reply:
    """GET volumes/ID/metadata"""
    whole = call.services.store.read(lambda tx: find_volume(call, tx, "volume:get_volume_metadata"))
    return Reply(200, {"metadata": whole.row.properties})


def properties_add(call: Call) -> Reply:
    """POST volumes/ID/metadata: adds to what is there."""
    items = properties(call.json().get("metadata"))
    return _properties_write(call, "create", lambda old: {**old, **items})


def properties_replace(call: Call) -> Reply:
    """PUT volumes/ID/metadata: these and no others."""
    items = properties(call.json().get("metadata"))
    return _properties_write(call, "update", lambda _: items)


def property_show(call: Call) -> Reply:
    """GET volumes/ID/metadata/KEY"""
    whole = call.services.store.read(lambda tx: find_volume(call, tx, "volume:get_volume_metadata"))
    key = call.parameters["key"]
    if key not in whole.row.properties:
        raise NotFound(f"Volume {whole.row.id} has no metadata with key {key[:64]}.")
    return Reply(200, {"meta": {key: whole.row.properties[key]}})


def property_put(call: Call) -> Reply:
    """PUT volumes/ID/metadata/KEY"""
    key, items = call.parameters["key"], properties(call.json().get("meta"))
    if set(items) != {key}:
        raise BadInput("Request body and URI mismatch")
    reply = _properties_write(call, "update", lambda old: {**old, **items})
    return Reply(reply.status, {"meta": items})


def property_delete(call: Call) -> Reply:
    """DELETE volumes/ID/metadata/KEY"""
    key = call.parameters["key"]

    def without(old: dict[str, str]) -> dict[str, str]:
        if key not in old:
            raise NotFound(f"Volume {call.parameters['volume_id'][:64]} has no metadata with key {key[:64]}.")
        return {name: value for name, value in old.items() if name != key}

    _properties_write(call, "delete", without)
    return Reply(200)


def _properties_write(call: Call, verb: str, of: Any) -> Reply:
    def change(tx: Tx) -> Reply:
        whole = find_volume(call, tx, f"volume:{verb}_volume_metadata")
        items = properties(of(whole.row.properties))
        row_update(tx, whole.row, properties=items)
        return Reply(200, {"metadata": items})

    return call.services.store.write(change)


def _made(call: Call, whole: VolumeWhole) -> dict[str, Any]:
    return volume_made(whole, call.services.settings.endpoint, call.version, call.credentials.is_admin)


def _detail(call: Call, whole: VolumeWhole) -> dict[str, Any]:
    return volume_detail(whole, call.services.settings.endpoint, call.version, call.credentials.is_admin)


_ONE = "/volumes/{volume_id}"
ROUTES = (
    Route("GET", "/volumes", volumes_index, "volume:get_all"),
    Route("GET", "/volumes/detail", volumes_detail, "volume:get_all"),
    Route("GET", "/volumes/summary", volumes_summary, "volume:get_all", since=12),
    Route("POST", "/volumes", volume_create, "volume:create"),
    Route("GET", _ONE, volume_show, "volume:get"),
    Route("PUT", _ONE, volume_update, "volume:update"),
    Route("DELETE", _ONE, volume_delete, "volume:delete"),
    Route("GET", _ONE + "/metadata", properties_show, "volume:get_volume_metadata"),
    Route("POST", _ONE + "/metadata", properties_add, "volume:create_volume_metadata"),
    Route("PUT", _ONE + "/metadata", properties_replace, "volume:update_volume_metadata"),
    Route("GET", _ONE + "/metadata/{key}", property_show, "volume:get_volume_metadata"),
    Route("PUT", _ONE + "/metadata/{key}", property_put, "volume:update_volume_metadata"),
    Route("DELETE", _ONE + "/metadata/{key}", property_delete, "volume:delete_volume_metadata"),
)
RULES = {route.rule: READER if route.method == "GET" else MEMBER for route in ROUTES}
