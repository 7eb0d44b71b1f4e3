"""Snapshots: list, show, create, change, delete, and their properties."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.policy import MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.api.volume.requests import (
    body_object,
    file_query,
    find_snapshot,
    find_volume,
    identifier,
    page,
    properties,
    text,
)
from holdfast.api.volume.views import snapshot_view
from holdfast.base.errors import BadInput
from holdfast.control.operations.volume.delete import snapshot_delete_begin
from holdfast.control.operations.volume.snapshot import snapshot_create_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.listing import snapshots_count, snapshots_list
from holdfast.control.store.volume.rows import row_update


def snapshots_index(call: Call) -> Reply:
    """GET snapshots"""
    return _list(call, detailed=False)


def snapshots_detail(call: Call) -> Reply:
    """GET snapshots/detail"""
    return _list(call, detailed=True)


def _list(call: Call, detailed: bool) -> Reply:
    query = file_query(call, snapshots=True)

    def look(tx: Tx) -> Reply:
        views = [snapshot_view(row, call.version, detailed) for row in snapshots_list(tx, query)]
        return Reply(200, page(call, query, "snapshots", views, lambda: snapshots_count(tx, query)))

    return call.services.store.read(look)


def snapshot_show(call: Call) -> Reply:
    """GET snapshots/ID"""
    row = call.services.store.read(lambda tx: find_snapshot(call, tx, "volume:get_snapshot"))
    return Reply(200, {"snapshot": snapshot_view(row, call.version)})


def snapshot_create(call: Call) -> Reply:
    """POST snapshots: 202; it is `creating` until the copy is made."""
    body = body_object(call, "snapshot")
    volume_id = identifier("volume_id", body.get("volume_id"))
    if not volume_id:
        raise BadInput("Invalid input received: 'volume_id' must be specified")
    call.parameters = {**call.parameters, "volume_id": volume_id}

    def change(tx: Tx) -> Reply:
        volume = find_volume(call, tx, "volume:create_snapshot").row
        name = text("name", body.get("name", body.get("display_name")))
        description = text("description", body.get("description", body.get("display_description")))
        items = properties(body.get("metadata"))
        row = snapshot_create_begin(tx, volume, name, description, items, call.credentials, call.request_id)
        return Reply(202, {"snapshot": snapshot_view(row, call.version)})

    return write_once(call, change)


def snapshot_update(call: Call) -> Reply:
    """PUT snapshots/ID: name and description."""
    body = body_object(call, "snapshot")
    changes: dict[str, Any] = {}
    for field, words in (("name", ("name", "display_name")), ("description", ("description", "display_description"))):
        for word in words:
            if word in body:
                changes[field] = text(field, body[word])
    if not changes:
        raise BadInput("Invalid input received: nothing that can be changed was named")

    def change(tx: Tx) -> Reply:
        row = row_update(tx, find_snapshot(call, tx, "volume:update_snapshot"), **changes)
        return Reply(200, {"snapshot": snapshot_view(row, call.version)})

    return call.services.store.write(change)


def snapshot_delete(call: Call) -> Reply:
    """DELETE snapshots/ID: 202."""

    def change(tx: Tx) -> Reply:
        row = find_snapshot(call, tx, "volume:delete_snapshot")
        snapshot_delete_begin(tx, row, call.credentials.user_id, call.request_id)
        return Reply(202)

    return call.services.store.write(change)


def properties_show(call: Call) -> Reply:
    """GET snapshots/ID/metadata"""
    row = call.services.store.read(lambda tx: find_snapshot(call, tx, "volume:get_snapshot_metadata"))
    return Reply(200, {"metadata": row.properties})


def properties_add(call: Call) -> Reply:
    """POST snapshots/ID/metadata: adds to what is there."""
    return _properties_write(call, keep=True)


def properties_replace(call: Call) -> Reply:
    """PUT snapshots/ID/metadata: these and no others."""
    return _properties_write(call, keep=False)


def _properties_write(call: Call, keep: bool) -> Reply:
    items = properties(call.json().get("metadata"))

    def change(tx: Tx) -> Reply:
        row = find_snapshot(call, tx, "volume:update_snapshot_metadata")
        row = row_update(tx, row, properties=properties({**(row.properties if keep else {}), **items}))
        return Reply(200, {"metadata": row.properties})

    return call.services.store.write(change)


def property_delete(call: Call) -> Reply:
    """DELETE snapshots/ID/metadata/KEY"""

    def change(tx: Tx) -> Reply:
        row = find_snapshot(call, tx, "volume:delete_snapshot_metadata")
        kept = {name: value for name, value in row.properties.items() if name != call.parameters["key"]}
        row_update(tx, row, properties=kept)
        return Reply(200)

    return call.services.store.write(change)


_ONE = "/snapshots/{snapshot_id}"
ROUTES = (
    Route("GET", "/snapshots", snapshots_index, "volume:get_all_snapshots"),
    Route("GET", "/snapshots/detail", snapshots_detail, "volume:get_all_snapshots"),
    Route("POST", "/snapshots", snapshot_create, "volume:create_snapshot"),
    Route("GET", _ONE, snapshot_show, "volume:get_snapshot"),
    Route("PUT", _ONE, snapshot_update, "volume:update_snapshot"),
    Route("DELETE", _ONE, snapshot_delete, "volume:delete_snapshot"),
    Route("GET", _ONE + "/metadata", properties_show, "volume:get_snapshot_metadata"),
    Route("POST", _ONE + "/metadata", properties_add, "volume:update_snapshot_metadata"),
    Route("PUT", _ONE + "/metadata", properties_replace, "volume:update_snapshot_metadata"),
    Route("DELETE", _ONE + "/metadata/{key}", property_delete, "volume:delete_snapshot_metadata"),
)
RULES = {route.rule: READER if route.method == "GET" else MEMBER for route in ROUTES}
