"""Attachments as Cinder 3.27 shows them: to be read. They are made and ended at the compute service only.

Cinder offers this API to Nova; a client that could end an attachment here would take a disk from under a running
server (CVE-2023-2088).
"""

from __future__ import annotations

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.api.volume.views import attachment_view
from holdfast.base.errors import Conflict, NotFound, NotSupported
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.attachments import attachment_fetch, attachments_list
from holdfast.domain.volume import Attachment

SINCE = 27


def attachments_index(call: Call) -> Reply:
    """GET attachments"""
    return _list(call, detailed=False)


def attachments_detail(call: Call) -> Reply:
    """GET attachments/detail"""
    return _list(call, detailed=True)


def _list(call: Call, detailed: bool) -> Reply:
    everyone = call.credentials.is_admin and call.argument("all_tenants") not in ("", "0", "false", "False")
    project_id = "" if everyone else call.project_id
    volume_id, instance_id = call.argument("volume_id"), call.argument("instance_id")
    rows = call.services.store.read(lambda tx: attachments_list(tx, project_id, volume_id, instance_id))
    return Reply(200, {"attachments": [attachment_view(row, detailed) for row in rows]})


def attachment_show(call: Call) -> Reply:
    """GET attachments/ID"""
    row = call.services.store.read(lambda tx: _find(call, tx))
    return Reply(200, {"attachment": attachment_view(row, detailed=True)})


def attachment_create(call: Call) -> Reply:
    """POST attachments"""
    raise NotSupported("A volume is attached at the compute service: POST servers/ID/os-volume_attachments")


def attachment_change(call: Call) -> Reply:
    """PUT or DELETE attachments/ID, and its actions: the server that has the volume must give it back."""
    row = call.services.store.read(lambda tx: _find(call, tx))
    raise Conflict(
        f"Attachment {row.id} belongs to server {row.instance_id}: detach volume {row.volume_id} at the compute service"
    )


def _find(call: Call, tx: Tx) -> Attachment:
    attachment_id = call.parameters["attachment_id"]
    row = attachment_fetch(tx, attachment_id)
    if row is None or not (call.credentials.is_admin or row.project_id == call.credentials.project_id):
        raise NotFound(f"Volume attachment could not be found with filter: attachment_id = {attachment_id[:64]}.")
    return row


_ONE = "/attachments/{attachment_id}"
ROUTES = (
    Route("GET", "/attachments", attachments_index, "volume:attachment_get", since=SINCE),
    Route("GET", "/attachments/detail", attachments_detail, "volume:attachment_get", since=SINCE),
    Route("POST", "/attachments", attachment_create, "volume:attachment_create", since=SINCE),
    Route("GET", _ONE, attachment_show, "volume:attachment_get", since=SINCE),
    Route("PUT", _ONE, attachment_change, "volume:attachment_update", since=SINCE),
    Route("DELETE", _ONE, attachment_change, "volume:attachment_delete", since=SINCE),
    Route("POST", _ONE + "/action", attachment_change, "volume:attachment_complete", since=44),
)
RULES = {route.rule: READER if route.method == "GET" else MEMBER for route in ROUTES}
