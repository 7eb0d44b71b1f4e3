"""Acts on servers: POST /servers/{id}/action, one function per word.

Each checks the caller's right and the server's state, changes the record, and answers; its host does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.api.compute.moves import actions as moves
from holdfast.api.compute.moves.actions import require_state
from holdfast.api.compute.server_input import metadata_items, text
from holdfast.api.compute.server_views import server_detail
from holdfast.api.compute.servers import find_server, find_unlocked
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, MEMBER
from holdfast.api.http.routes import ANY_TOKEN, Route
from holdfast.base.errors import BadInput, Conflict, NotSupported
from holdfast.control.operations.flavor import flavor_resolve
from holdfast.control.operations.server.acts import act_begin
from holdfast.control.operations.server.capture import server_capture_begin
from holdfast.control.operations.server.rebuild import server_rebuild_begin
from holdfast.control.operations.server.resize import server_resize_begin, server_resize_confirm, server_revert_begin
from holdfast.control.store.console import console_text
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_update
from holdfast.domain.desired import Power
from holdfast.domain.instance import InstanceState

_P = "os_compute_api:"
RULES = {
    f"{_P}servers:start": MEMBER,
    f"{_P}servers:stop": MEMBER,
    f"{_P}servers:reboot": MEMBER,
    f"{_P}servers:rebuild": MEMBER,
    f"{_P}servers:resize": MEMBER,
    f"{_P}servers:confirm_resize": MEMBER,
    f"{_P}servers:revert_resize": MEMBER,
    f"{_P}servers:create_image": MEMBER,
    f"{_P}os-pause-server:pause": MEMBER,
    f"{_P}os-pause-server:unpause": MEMBER,
    f"{_P}os-lock-server:lock": MEMBER,
    f"{_P}os-lock-server:unlock": MEMBER,
    f"{_P}os-console-output": MEMBER,
    f"{_P}os-admin-actions:reset_state": ADMIN,
    **moves.RULES,
}
CONSOLE_LINES_MAX = 10_000


def _start(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_unlocked(call, tx, _P + "servers:start")
    require_state(server, "start", "stopped", "error")
    row = server.instance
    act_begin(tx, row, "server_start", call.credentials, call.request_id, power=Power.RUNNING, soft=False)
    return Reply(202)


def _stop(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_unlocked(call, tx, _P + "servers:stop")
    require_state(server, "stop", "active", "error")
    row = server.instance
    act_begin(tx, row, "server_stop", call.credentials, call.request_id, power=Power.STOPPED, soft=True)
    return Reply(202)


def _reboot(call: Call, tx: Tx, body: Any) -> Reply:
    kind = str(body.get("type", "")).upper() if isinstance(body, dict) else ""
    if kind not in ("SOFT", "HARD"):
        raise BadInput("Argument 'type' for reboot is not HARD or SOFT")
    server = find_unlocked(call, tx, _P + "servers:reboot")
    states = ("active",) if kind == "SOFT" else ("active", "stopped", "paused", "error")
    require_state(server, "reboot", *states)
    row = server.instance
    changes = {"power": Power.RUNNING, "boot": row.boot + 1, "soft": kind == "SOFT"}
    act_begin(tx, row, "server_reboot", call.credentials, call.request_id, **changes)
    return Reply(202)


def _pause(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_unlocked(call, tx, _P + "os-pause-server:pause")
    require_state(server, "pause", "active")
    act_begin(tx, server.instance, "server_pause", call.credentials, call.request_id, power=Power.PAUSED)
    return Reply(202)


def _unpause(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_unlocked(call, tx, _P + "os-pause-server:unpause")
    require_state(server, "unpause", "paused")
    act_begin(tx, server.instance, "server_unpause", call.credentials, call.request_id, power=Power.RUNNING)
    return Reply(202)


def _lock(call: Call, tx: Tx, body: Any) -> Reply:
    server = find_server(call, tx, _P + "os-lock-server:lock")
    reason = body.get("locked_reason") or "" if isinstance(body, dict) and call.version >= 73 else ""
    reason = text(reason, "locked_reason") if reason else ""
    instance_update(tx, server.instance, is_locked=True, locked=reason)
    return Reply(202)


def _unlock(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_server(call, tx, _P + "os-lock-server:unlock")
    instance_update(tx, server.instance, is_locked=False, locked="")
    return Reply(202)


def _rebuild(call: Call, tx: Tx, body: Any) -> Reply:
    if not isinstance(body, dict) or not body.get("imageRef"):
        raise BadInput("Invalid input for field/attribute rebuild: 'imageRef' is a required property")
    server = find_unlocked(call, tx, _P + "servers:rebuild")
    require_state(server, "rebuild", "active", "stopped", "error")
    changes: dict[str, Any] = {}
    if body.get("name"):
        changes["name"] = text(body["name"], "name")
    if body.get("metadata") is not None:
        changes["properties"] = metadata_items(body["metadata"])
    image_id = str(body["imageRef"]).rpartition("/")[2]
    server_rebuild_begin(tx, server.instance, image_id, call.credentials, call.request_id, changes)
    after = find_server(call, tx)
    view = server_detail(after, call.services.settings.endpoint, call.version, call.credentials.is_admin)
    return Reply(202, {"server": {**view, "adminPass": ""}}, {"Location": view["links"][0]["href"]})


def _resize(call: Call, tx: Tx, body: Any) -> Reply:
    if not isinstance(body, dict) or not isinstance(body.get("flavorRef"), str | int):
        raise BadInput("Invalid input for field/attribute resize: 'flavorRef' is a required property")
    server = find_unlocked(call, tx, _P + "servers:resize")
    require_state(server, "resize", "active", "stopped")
    flavor = flavor_resolve(tx, str(body["flavorRef"]).rpartition("/")[2], server.instance.project_id)
    server_resize_begin(tx, server.instance, flavor, call.credentials, call.request_id)
    return Reply(202)


def _confirm_resize(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_unlocked(call, tx, _P + "servers:confirm_resize")
    require_state(server, "confirmResize", "resized")
    server_resize_confirm(tx, server.instance)
    return Reply(204)


def _revert_resize(call: Call, tx: Tx, _: Any) -> Reply:
    server = find_unlocked(call, tx, _P + "servers:revert_resize")
    require_state(server, "revertResize", "resized")
    server_revert_begin(tx, server.instance, call.credentials, call.request_id)
    return Reply(202)


def _create_image(call: Call, tx: Tx, body: Any) -> Reply:
    if not isinstance(body, dict):
        raise BadInput("Invalid input for field/attribute createImage: must be an object")
    name = text(body.get("name"), "createImage.name")
    properties = metadata_items(body.get("metadata") or {}, "createImage.metadata")
    server = find_unlocked(call, tx, _P + "servers:create_image")
    require_state(server, "createImage", "active", "stopped", "paused")
    image_id = server_capture_begin(tx, server.instance, name, properties, call.credentials, call.request_id)
    location = f"{call.services.settings.endpoint}/image/v2/images/{image_id}"
    body_out = {"image_id": image_id} if call.version >= 45 else None
    return Reply(202, body_out, {} if call.version >= 45 else {"Location": location})


def _console_output(call: Call, tx: Tx, body: Any) -> Reply:
    lines = body.get("length") if isinstance(body, dict) else None
    if lines is not None and (not str(lines).lstrip("-").isdigit() or int(lines) < -1):
        raise BadInput("Invalid input for field/attribute length: must be a whole number, at least -1")
    server = find_server(call, tx, _P + "os-console-output", deleted=call.credentials.is_admin)
    output = console_text(tx, server.instance.id)
    if lines is not None and int(lines) >= 0:
        kept = min(int(lines), CONSOLE_LINES_MAX)
        output = "\n".join(output.splitlines()[-kept:]) if kept else ""
    return Reply(200, {"output": output})


def _reset_state(call: Call, tx: Tx, body: Any) -> Reply:
    wanted = body.get("state") if isinstance(body, dict) else None
    if wanted not in ("active", "error"):
        raise BadInput("Invalid input for field/attribute state: must be active or error")
    server = find_server(call, tx, _P + "os-admin-actions:reset_state")
    if server.act or server.instance.state not in (InstanceState.READY, InstanceState.FAILED):
        raise Conflict(
            f"instance {server.instance.id} is being worked on; wait, or see: holdfast why {server.instance.id}"
        )
    state = InstanceState.READY if wanted == "active" else InstanceState.FAILED
    instance_update(tx, server.instance, state=state, fault=None if wanted == "active" else server.instance.fault)
    return Reply(202)


ACTIONS: dict[str, Callable[[Call, Tx, Any], Reply]] = {
    "os-start": _start,
    "os-stop": _stop,
    "reboot": _reboot,
    "pause": _pause,
    "unpause": _unpause,
    "lock": _lock,
    "unlock": _unlock,
    "rebuild": _rebuild,
    "resize": _resize,
    "confirmResize": _confirm_resize,
    "revertResize": _revert_resize,
    "createImage": _create_image,
    "migrate": moves.migrate,
    "os-migrateLive": moves.migrate_live,
    "evacuate": moves.evacuate,
    "os-getConsoleOutput": _console_output,
    "os-resetState": _reset_state,
}
NOT_HERE = {
    "suspend",
    "resume",
    "rescue",
    "unrescue",
    "shelve",
    "shelveOffload",
    "unshelve",
    "createBackup",
    "changePassword",
    "forceDelete",
    "restore",
    "os-getVNCConsole",
    "addSecurityGroup",
    "removeSecurityGroup",
    "addFixedIp",
    "removeFixedIp",
    "addFloatingIp",
    "removeFloatingIp",
    "injectNetworkInfo",
    "resetNetwork",
    "trigger_crash_dump",
}


def server_act(call: Call) -> Reply:
    """POST /servers/{id}/action: the body's one member is the act."""
    body = call.json()
    if len(body) != 1:
        raise BadInput("There is no such action, or more than one: the body must have exactly one member")
    word, argument = next(iter(body.items()))
    if word in NOT_HERE:
        call.services.store.read(lambda tx: find_server(call, tx))
        raise NotSupported(f"'{word}' is not available in this cloud yet")
    if word not in ACTIONS:
        raise BadInput(f"There is no such action: {word[:64]}")
    act = ACTIONS[word]
    return call.services.store.write(lambda tx: act(call, tx, argument))


ROUTES = (Route("POST", "/v2.1/servers/{server_id}/action", server_act, ANY_TOKEN),)
