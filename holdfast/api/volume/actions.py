"""POST volumes/ID/action and snapshots/ID/action: what is asked for is the one member of the body.

What would take a volume from a server that has it is refused here whoever asks: the server gives it back
(CVE-2023-2088).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, MEMBER
from holdfast.api.http.routes import ANY_TOKEN, Route
from holdfast.api.volume.requests import find_snapshot, find_volume, flag, resettable, whole_number
from holdfast.base.errors import BadInput, Conflict, NotSupported
from holdfast.control.operations.volume.extend import volume_extend_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.operation import operation_open_of
from holdfast.control.store.volume.attachments import attachment_of
from holdfast.control.store.volume.rows import row_update
from holdfast.domain.volume import Snapshot, Volume, VolumeState, move, require

_A, _ADMIN = "volume_extension:volume_actions:", "volume_extension:volume_admin_actions:"
EXTEND_IN_USE_SINCE = 42
Act = Callable[[Call, Tx, Volume, Any], Reply]


def _extend(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    if not isinstance(words, dict) or "new_size" not in words:
        raise BadInput("New volume size must be specified as an integer.")
    if row.state is VolumeState.IN_USE and call.version < EXTEND_IN_USE_SINCE:
        raise BadInput(f"Invalid volume: Volume {row.id} is in use; extending it then needs microversion 3.42.")
    volume_extend_begin(tx, row, whole_number("new_size", words["new_size"]), call.credentials.user_id, call.request_id)
    return Reply(202)


def _reserve(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    row_update(tx, row, state=require(row, "reserve"))
    return Reply(202)


def _unreserve(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    if row.state is VolumeState.RESERVED:
        row_update(tx, row, state=require(row, "release"))
    return Reply(202)


def _taken_elsewhere(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    attachment = attachment_of(tx, row.id)
    if attachment is not None:
        raise Conflict(
            f"Volume {row.id} is in use by server {attachment.instance_id}; it is attached and detached there, "
            f"at the compute service"
        )
    raise BadInput(f"Invalid volume: Volume {row.id} is attached to a server at the compute service, not here.")


def _readonly(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    if isinstance(words, dict) and not flag("readonly", words.get("readonly", "")):
        return Reply(202)
    raise NotSupported("read-only volumes are not available in this cloud")


def _bootable(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    if not isinstance(words, dict):
        raise BadInput("Invalid input received: 'bootable' is needed")
    row_update(tx, row, bootable=flag("bootable", words.get("bootable")))
    return Reply(200)


def _image_words(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    return Reply(200, {"metadata": row.image_words})


def _reset(call: Call, tx: Tx, row: Volume, words: Any) -> Reply:
    if attachment_of(tx, row.id) is not None:
        raise Conflict(f"Volume {row.id} belongs to a server; its state is what is seen there")
    return _reset_row(tx, row, words)


def _reset_row(tx: Tx, row: Volume | Snapshot, words: Any) -> Reply:
    wanted = resettable(words.get("status") if isinstance(words, dict) else None)
    if operation_open_of(tx, row.id) is not None:
        raise Conflict(f"{row.id} is {row.state}: an act goes on and will end by itself")
    if row.state is VolumeState.RESERVED:
        row = row_update(tx, row, state=move(row.state, "release"))
    if wanted is not row.state:
        event = "reset" if wanted is VolumeState.AVAILABLE else "condemn"
        row_update(tx, row, state=require(row, event), fault="")
    return Reply(202)


ACTIONS: dict[str, tuple[str, Act]] = {
    "os-extend": ("volume:extend", _extend),
    "os-reserve": (_A + "reserve", _reserve),
    "os-unreserve": (_A + "unreserve", _unreserve),
    "os-attach": (_A + "attach", _taken_elsewhere),
    "os-detach": (_A + "detach", _taken_elsewhere),
    "os-force_detach": (_ADMIN + "force_detach", _taken_elsewhere),
    "os-begin_detaching": (_A + "begin_detaching", _taken_elsewhere),
    "os-roll_detaching": (_A + "roll_detaching", _taken_elsewhere),
    "os-terminate_connection": (_A + "terminate_connection", _taken_elsewhere),
    "os-initialize_connection": (_A + "initialize_connection", _taken_elsewhere),
    "os-update_readonly_flag": ("volume:update_readonly_flag", _readonly),
    "os-set_bootable": (_A + "set_bootable", _bootable),
    "os-show_image_metadata": ("volume_extension:volume_image_metadata:show", _image_words),
    "os-reset_status": (_ADMIN + "reset_status", _reset),
}


def volume_act(call: Call) -> Reply:
    """POST volumes/ID/action"""
    name, words = _asked(call)
    if name not in ACTIONS:
        raise BadInput(f"There is no such action: {name[:64]}")
    rule, act = ACTIONS[name]
    return call.services.store.write(lambda tx: act(call, tx, find_volume(call, tx, rule).row, words))


def snapshot_act(call: Call) -> Reply:
    """POST snapshots/ID/action"""
    name, words = _asked(call)
    if name != "os-reset_status":
        raise BadInput(f"There is no such action: {name[:64]}")
    rule = "volume_extension:snapshot_admin_actions:reset_status"
    return call.services.store.write(lambda tx: _reset_row(tx, find_snapshot(call, tx, rule), words))


def _asked(call: Call) -> tuple[str, Any]:
    body = call.json()
    if len(body) != 1:
        raise BadInput("the body must have exactly one member: the action")
    return next(iter(body.items()))


ROUTES = (
    Route("POST", "/volumes/{volume_id}/action", volume_act, ANY_TOKEN),
    Route("POST", "/snapshots/{snapshot_id}/action", snapshot_act, ANY_TOKEN),
)
RULES = {rule: ADMIN if rule.startswith(_ADMIN) else MEMBER for rule, _ in ACTIONS.values()}
RULES["volume_extension:snapshot_admin_actions:reset_status"] = ADMIN
