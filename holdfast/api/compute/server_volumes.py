"""The volumes of a server, as Nova has them: os-volume_attachments.

before 2.89  `id` is the volume's; since then it is gone, `attachment_id` and `bdm_uuid` take its place
2.49, 2.70   `tag` may be given, and is shown
2.79         `delete_on_termination` may be given, and is shown; 2.85: changed
"""

from __future__ import annotations

from typing import Any

from holdfast.api.compute.requests import boolean, choice, mapping, printable, text, wrapped
from holdfast.api.compute.server_input import tag_name
from holdfast.api.compute.servers import find_server, find_unlocked
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.policy import MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.ids import is_id
from holdfast.control.operations.volume.attach import volume_attach_begin, volume_detach_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.attachments import attachment_of, attachment_update, attachments_of_instances
from holdfast.control.store.volume.rows import volume_fetch
from holdfast.domain.instance import Instance
from holdfast.domain.volume import Attachment, Volume

_P = "os_compute_api:os-volumes-attachments:"


def volumes_show(call: Call) -> Reply:
    """GET os-volume_attachments"""

    def look(tx: Tx) -> Reply:
        row = find_server(call, tx, _P + "index").instance
        found = attachments_of_instances(tx, [row.id])
        return Reply(200, {"volumeAttachments": [_view(item, call.version) for item in found]})

    return call.services.store.read(look)


def volume_show(call: Call) -> Reply:
    """GET os-volume_attachments/VOLUME"""

    def look(tx: Tx) -> Reply:
        row = find_server(call, tx, _P + "show").instance
        return Reply(200, {"volumeAttachment": _view(_attachment(call, tx, row), call.version)})

    return call.services.store.read(look)


def volume_attach(call: Call) -> Reply:
    """POST os-volume_attachments: 200; the volume is `in-use` once the guest has it."""
    checks: dict[str, Any] = {"volumeId": text(1), "device": printable(255)}
    if call.version >= 49:
        checks["tag"] = lambda _, value: tag_name(value)
    if call.version >= 79:
        checks["delete_on_termination"] = boolean
    wanted = mapping("volumeAttachment", wrapped(call, "volumeAttachment"), checks, ("volumeId",))

    def change(tx: Tx) -> Reply:
        row = find_unlocked(call, tx, _P + "create").instance
        attachment = volume_attach_begin(
            tx,
            _volume(tx, wanted["volumeId"], row),
            row,
            device=wanted.get("device", ""),
            tag=wanted.get("tag", ""),
            delete_on_termination=wanted.get("delete_on_termination", False),
            user_id=call.credentials.user_id,
            request_id=call.request_id,
        )
        return Reply(200, {"volumeAttachment": _view(attachment, call.version)})

    return write_once(call, change)


def volume_update(call: Call) -> Reply:
    """PUT os-volume_attachments/VOLUME, since 2.85: whether it goes with the server. Swapping volumes is not done."""
    checks: dict[str, Any] = {
        "volumeId": choice(call.parameters["volume_id"]),
        "id": text(),
        "serverId": choice(call.parameters["server_id"]),
        "device": printable(255),
        "tag": text(),
        "delete_on_termination": boolean,
    }
    wanted = mapping("volumeAttachment", wrapped(call, "volumeAttachment"), checks, ("volumeId",))

    def change(tx: Tx) -> Reply:
        row = find_unlocked(call, tx, _P + "update").instance
        found = _attachment(call, tx, row)
        attachment_update(
            tx, found, delete_on_termination=wanted.get("delete_on_termination", found.delete_on_termination)
        )
        return Reply(202)

    return call.services.store.write(change)


def volume_detach(call: Call) -> Reply:
    """DELETE os-volume_attachments/VOLUME: 202; the volume is `available` once the guest has let go."""

    def change(tx: Tx) -> Reply:
        row = find_unlocked(call, tx, _P + "delete").instance
        found = _attachment(call, tx, row)
        volume = _volume(tx, found.volume_id, row)
        volume_detach_begin(tx, volume, found, call.credentials.user_id, call.request_id)
        return Reply(202)

    return call.services.store.write(change)


def _volume(tx: Tx, volume_id: str, row: Instance) -> Volume:
    """A volume of the server's own project; another's does not exist."""
    if not is_id(volume_id):
        raise BadInput(f"Invalid input for field/attribute volumeId: {volume_id[:64]!r} is not an id")
    found = volume_fetch(tx, volume_id)
    if found is None or found.project_id != row.project_id:
        raise NotFound(f"Volume {volume_id} could not be found.")
    return found


def _attachment(call: Call, tx: Tx, row: Instance) -> Attachment:
    volume_id = call.parameters["volume_id"]
    found = attachment_of(tx, volume_id) if is_id(volume_id) else None
    if found is None or found.instance_id != row.id:
        raise NotFound(f"Instance {row.id} is not attached to volume {volume_id[:64]}")
    return found


def _view(row: Attachment, minor: int) -> dict[str, Any]:
    view: dict[str, Any] = {"volumeId": row.volume_id, "serverId": row.instance_id, "device": row.device}
    if minor < 89:
        view["id"] = row.volume_id
    else:
        view |= {"attachment_id": row.id, "bdm_uuid": row.id}
    if minor >= 70:
        view["tag"] = row.tag or None
    if minor >= 79:
        view["delete_on_termination"] = row.delete_on_termination
    return view


_S = "/v2.1/servers/{server_id}/os-volume_attachments"
ROUTES = (
    Route("GET", _S, volumes_show, _P + "index"),
    Route("POST", _S, volume_attach, _P + "create"),
    Route("GET", _S + "/{volume_id}", volume_show, _P + "show"),
    Route("PUT", _S + "/{volume_id}", volume_update, _P + "update", since=85),
    Route("DELETE", _S + "/{volume_id}", volume_detach, _P + "delete"),
)
RULES = {route.rule: READER if route.method == "GET" else MEMBER for route in ROUTES}
