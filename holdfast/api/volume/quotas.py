"""Quotas and limits of the volume service. Limits are rows; use is counted from rows, so nothing is `reserved`."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import Route
from holdfast.api.volume.requests import body_object, flag
from holdfast.base.errors import BadInput
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import project_fetch
from holdfast.control.store.quota import DEFAULT_CLASS, quota_limits, quota_reset, quota_set
from holdfast.control.store.volume.rows import snapshot_usage, volume_usage
from holdfast.domain.quota import UNLIMITED, VOLUME
from holdfast.domain.volume import TYPE_NAME

_NOT_HERE: Final = {"backups": 0, "backup_gigabytes": 0, "groups": 0}
_BY_TYPE: Final = tuple(f"{resource}_{TYPE_NAME}" for resource in ("volumes", "snapshots", "gigabytes"))
_LIMIT_MAX: Final = 2**31 - 1  # the column's
_Q: Final = "volume_extension:quotas:"


def _limits(tx: Tx, project_id: str) -> dict[str, int]:
    limits = quota_limits(tx, project_id)
    return {name: limits[name] for name in VOLUME} | _NOT_HERE | dict.fromkeys(_BY_TYPE, UNLIMITED)


def _used(tx: Tx, project_id: str) -> dict[str, int]:
    (volumes, volume_gib), (snapshots, snapshot_gib) = volume_usage(tx, project_id), snapshot_usage(tx, project_id)
    used = {"volumes": volumes, "snapshots": snapshots, "gigabytes": volume_gib + snapshot_gib}
    return used | {f"{name}_{TYPE_NAME}": count for name, count in used.items()}


def _project(tx: Tx, call: Call, verb: str) -> str:
    """The project in the path: one the caller may ask about, and that exists."""
    project_id = call.parameters["owner_id"]
    call.authorise(_Q + verb, {"project_id": project_id})
    if project_fetch(tx, project_id) is None:
        raise BadInput(f"Project ID {project_id[:64]} is not a valid project.")
    return project_id


def quota_show(call: Call) -> Reply:
    """GET os-quota-sets/PROJECT; with `usage=true` also what is used."""
    with_use = flag("usage", call.argument("usage") or "false")

    def read(tx: Tx) -> Reply:
        project_id = _project(tx, call, "show")
        limits, used = _limits(tx, project_id), _used(tx, project_id)
        shown: dict[str, Any] = dict(limits)
        if with_use:
            shown = {name: {"limit": n, "in_use": used.get(name, 0), "reserved": 0} for name, n in limits.items()}
        return Reply(200, {"quota_set": {"id": project_id, **shown}})

    return call.services.store.read(read)


def quota_defaults(call: Call) -> Reply:
    """GET os-quota-sets/PROJECT/defaults"""

    def read(tx: Tx) -> Reply:
        project_id = _project(tx, call, "show")
        return Reply(200, {"quota_set": {"id": project_id, **_limits(tx, DEFAULT_CLASS)}})

    return call.services.store.read(read)


def quota_update(call: Call) -> Reply:
    """PUT os-quota-sets/PROJECT"""
    wanted = _wanted(call, "quota_set")

    def change(tx: Tx) -> Reply:
        project_id = _project(tx, call, "update")
        quota_set(tx, project_id, wanted)
        return Reply(200, {"quota_set": _limits(tx, project_id)})

    return call.services.store.write(change)


def quota_delete(call: Call) -> Reply:
    """DELETE os-quota-sets/PROJECT: back to the defaults."""

    def change(tx: Tx) -> Reply:
        quota_reset(tx, _project(tx, call, "delete"), tuple(VOLUME))
        return Reply(200)

    return call.services.store.write(change)


def class_show(call: Call) -> Reply:
    """GET os-quota-class-sets/default: this cloud's own defaults."""
    limits = call.services.store.read(lambda tx: _limits(tx, DEFAULT_CLASS))
    return Reply(200, {"quota_class_set": {"id": "default", **limits}})


def class_update(call: Call) -> Reply:
    """PUT os-quota-class-sets/default"""
    wanted = _wanted(call, "quota_class_set")

    def change(tx: Tx) -> Reply:
        quota_set(tx, DEFAULT_CLASS, wanted)
        return Reply(200, {"quota_class_set": _limits(tx, DEFAULT_CLASS)})

    return call.services.store.write(change)


def _wanted(call: Call, wrapper: str) -> dict[str, int]:
    body = {name: value for name, value in body_object(call, wrapper).items() if name not in ("tenant_id", "id")}
    for name, value in body.items():
        if name not in VOLUME and name not in _NOT_HERE and name not in _BY_TYPE:
            raise BadInput(f"Bad key(s) in quota set: {name[:64]}")
        if type(value) is not int or not UNLIMITED <= value <= _LIMIT_MAX:
            raise BadInput(f"Quota limit {name} must be a whole number of at least -1")
        if name not in VOLUME and value not in (UNLIMITED, 0):
            raise BadInput(
                f"Quota {name[:64]} cannot be set: there is nothing of that kind, or it has the common limit"
            )
    return {name: value for name, value in body.items() if name in VOLUME}


def limits_show(call: Call) -> Reply:
    """GET limits: the caller's project's, or for administrators another's."""
    asked = call.argument("project_id") or call.argument("tenant_id")
    project_id = asked if asked and call.credentials.is_admin else call.project_id

    def read(tx: Tx) -> Reply:
        limits, used = _limits(tx, project_id), _used(tx, project_id)
        absolute = {
            "maxTotalVolumes": limits["volumes"],
            "maxTotalSnapshots": limits["snapshots"],
            "maxTotalVolumeGigabytes": limits["gigabytes"],
            "maxTotalBackups": 0,
            "maxTotalBackupGigabytes": 0,
            "totalVolumesUsed": used["volumes"],
            "totalSnapshotsUsed": used["snapshots"],
            "totalGigabytesUsed": used["gigabytes"],
            "totalBackupsUsed": 0,
            "totalBackupGigabytesUsed": 0,
        }
        return Reply(200, {"limits": {"rate": [], "absolute": absolute}})

    return call.services.store.read(read)


_ONE, _CLASS = "/os-quota-sets/{owner_id}", "/os-quota-class-sets/{class_name}"
ROUTES = (
    Route("GET", _ONE, quota_show, _Q + "show"),
    Route("GET", _ONE + "/defaults", quota_defaults, _Q + "show"),
    Route("PUT", _ONE, quota_update, _Q + "update"),
    Route("DELETE", _ONE, quota_delete, _Q + "delete"),
    Route("GET", _CLASS, class_show, "volume_extension:quota_classes:get"),
    Route("PUT", _CLASS, class_update, "volume_extension:quota_classes:update"),
    Route("GET", "/limits", limits_show, "limits_extension:used_limits"),
)
RULES = {
    _Q + "show": READER,
    _Q + "update": ADMIN,
    _Q + "delete": ADMIN,
    "volume_extension:quota_classes:get": ADMIN,
    "volume_extension:quota_classes:update": ADMIN,
    "limits_extension:used_limits": READER,
}
