"""Nova's quotas, default quotas and limits.

Use is counted from rows, so nothing is ever `reserved`. What Nova counted for other services before 2.36 is
shown as unlimited: the network service has its own quotas.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import Route
from holdfast.base.errors import BadInput, NotSupported
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import project_fetch
from holdfast.control.store.instance import instance_usage
from holdfast.control.store.quota import DEFAULT_CLASS, quota_limits, quota_reset, quota_set
from holdfast.control.store.server_group import server_group_count
from holdfast.domain.quota import COMPUTE, UNLIMITED

_SETS: Final = "os_compute_api:os-quota-sets"
_CLASSES: Final = "os_compute_api:os-quota-class-sets"
_LIMITS: Final = "os_compute_api:limits"
_ELSEWHERE: Final = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
_FILES: Final = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
_GROUPS: Final = ("server_groups", "server_group_members")
_NO_NETWORK, _NO_IMAGE_META, _CLASS_GROUPS, _NO_FILES = 36, 39, 50, 57
_LIMIT_NAMES: Final = {
    "maxTotalRAMSize": "ram",
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalKeypairs": "key_pairs",
    "maxServerMeta": "metadata_items",
    "maxImageMeta": "metadata_items",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
    "maxTotalFloatingIps": "floating_ips",
    "maxSecurityGroups": "security_groups",
    "maxSecurityGroupRules": "security_group_rules",
    "maxPersonality": "injected_files",
    "maxPersonalitySize": "injected_file_content_bytes",
}
_USED_NAMES: Final = {
    "totalRAMUsed": "ram",
    "totalCoresUsed": "cores",
    "totalInstancesUsed": "instances",
    "totalServerGroupsUsed": "server_groups",
    "totalFloatingIpsUsed": "floating_ips",
    "totalSecurityGroupsUsed": "security_groups",
}


def _shown(call: Call, limits: dict[str, int], no_network_since: int = _NO_NETWORK) -> dict[str, int]:
    """Limits under the names that the version knows. Files are not injected here: none may be."""
    known = {resource: limits[resource] for resource in COMPUTE}
    if call.version < no_network_since:
        known |= dict.fromkeys(_ELSEWHERE, UNLIMITED)
    if call.version < _NO_FILES:
        known |= dict.fromkeys(_FILES, 0)
    return known


def _used(tx: Tx, project_id: str) -> dict[str, int]:
    """What a project uses of what is counted per project."""
    instances, cores, ram = instance_usage(tx, project_id)
    groups = server_group_count(tx, project_id)
    return {"instances": instances, "cores": cores, "ram": ram, "server_groups": groups}


def _project(tx: Tx, call: Call, verb: str) -> str:
    """The project in the path: one the caller may ask about, and that exists."""
    project_id = call.parameters["tenant_id"]
    call.authorise(f"{_SETS}:{verb}", {"project_id": project_id})
    if project_fetch(tx, project_id) is None:
        raise BadInput(f"Project ID {project_id} is not a valid project.")
    return project_id


def quota_show(call: Call) -> Reply:
    """GET os-quota-sets/PROJECT. A `user_id` changes nothing: users have no quotas of their own."""
    requests.query_known(call, ("user_id",))

    def read(tx: Tx) -> Reply:
        project_id = _project(tx, call, "show")
        return Reply(200, {"quota_set": {"id": project_id, **_shown(call, quota_limits(tx, project_id))}})

    return call.services.store.read(read)


def quota_detail(call: Call) -> Reply:
    """GET os-quota-sets/PROJECT/detail: with the use."""
    requests.query_known(call, ("user_id",))

    def read(tx: Tx) -> Reply:
        project_id = _project(tx, call, "detail")
        used, limits = _used(tx, project_id), _shown(call, quota_limits(tx, project_id))
        shown = {name: {"limit": n, "in_use": used.get(name, 0), "reserved": 0} for name, n in limits.items()}
        return Reply(200, {"quota_set": {"id": project_id, **shown}})

    return call.services.store.read(read)


def quota_defaults(call: Call) -> Reply:
    """GET os-quota-sets/PROJECT/defaults."""
    project_id = call.parameters["tenant_id"]
    limits = call.services.store.read(lambda tx: quota_limits(tx, DEFAULT_CLASS))
    return Reply(200, {"quota_set": {"id": project_id, **_shown(call, limits)}})


def _wanted(call: Call, wrapper: str, **more: requests.Check) -> dict[str, Any]:
    """Limits that are asked for; those of other services are refused by name."""
    limit = requests.integer(UNLIMITED)
    checks: dict[str, requests.Check] = {**dict.fromkeys(COMPUTE, limit), **more}
    body = requests.wrapped(call, wrapper)
    if call.version < _NO_FILES and isinstance(body, dict):
        for resource in (*_ELSEWHERE, *_FILES):
            if resource in body:
                raise BadInput(f"{resource} is no quota of this service; addresses and groups have the network's")
    return requests.mapping(wrapper, body, checks)


def quota_update(call: Call) -> Reply:
    """PUT os-quota-sets/PROJECT. A limit below the use is refused unless forced."""
    requests.query_known(call, ("user_id",))
    if call.argument("user_id"):
        raise NotSupported("Users have no quotas of their own here; set the project's.")
    wanted = _wanted(call, "quota_set", force=requests.boolean)
    force = wanted.pop("force", False)

    def change(tx: Tx) -> Reply:
        project_id = _project(tx, call, "update")
        used = _used(tx, project_id)
        for resource, limit in wanted.items():
            if not force and limit != UNLIMITED and limit < used.get(resource, 0):
                raise BadInput(
                    f"Quota limit {limit} for {resource} must be greater than or equal to "
                    f"already used and reserved {used[resource]}."
                )
        quota_set(tx, project_id, wanted)
        return Reply(200, {"quota_set": _shown(call, quota_limits(tx, project_id))})

    return call.services.store.write(change)


def quota_remove(call: Call) -> Reply:
    """DELETE os-quota-sets/PROJECT: back to the defaults. 202, as Nova."""
    requests.query_known(call, ("user_id",))
    if call.argument("user_id"):
        raise NotSupported("Users have no quotas of their own here.")
    call.services.store.write(lambda tx: quota_reset(tx, call.parameters["tenant_id"], tuple(COMPUTE)))
    return Reply(202)


def _class_shown(call: Call, limits: dict[str, int]) -> dict[str, int]:
    shown = _shown(call, limits, no_network_since=_CLASS_GROUPS)
    hidden = () if call.version >= _CLASS_GROUPS else _GROUPS
    return {resource: limit for resource, limit in shown.items() if resource not in hidden}


def class_show(call: Call) -> Reply:
    """GET os-quota-class-sets/NAME: the defaults, whatever the name; only `default` is ever used."""
    limits = call.services.store.read(lambda tx: quota_limits(tx, DEFAULT_CLASS))
    return Reply(200, {"quota_class_set": {"id": call.parameters["class_name"], **_class_shown(call, limits)}})


def class_update(call: Call) -> Reply:
    """PUT os-quota-class-sets/default: the defaults of every project without a limit of its own."""
    if call.parameters["class_name"] != "default":
        raise BadInput("The only quota class is 'default'.")
    wanted = _wanted(call, "quota_class_set")

    def change(tx: Tx) -> Reply:
        quota_set(tx, DEFAULT_CLASS, wanted)
        return Reply(200, {"quota_class_set": _class_shown(call, quota_limits(tx, DEFAULT_CLASS))})

    return call.services.store.write(change)


def limits_show(call: Call) -> Reply:
    """GET limits: what the project may hold and what it holds."""
    requests.query_known(call, ("reserved", "tenant_id"))
    project_id = call.argument("tenant_id")
    if project_id:
        call.authorise(f"{_LIMITS}:other_project", {"project_id": project_id})
    project_id = project_id or call.project_id
    limits, used = call.services.store.read(lambda tx: (quota_limits(tx, project_id), _used(tx, project_id)))
    known = _shown(call, limits)
    absolute = {name: known[resource] for name, resource in _LIMIT_NAMES.items() if resource in known}
    if call.version >= _NO_IMAGE_META:
        del absolute["maxImageMeta"]
    absolute |= {name: used.get(resource, 0) for name, resource in _USED_NAMES.items() if resource in known}
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})


RULES = {
    f"{_SETS}:show": READER,
    f"{_SETS}:detail": READER,
    f"{_SETS}:defaults": "@",
    f"{_SETS}:update": ADMIN,
    f"{_SETS}:delete": ADMIN,
    f"{_CLASSES}:show": ADMIN,
    f"{_CLASSES}:update": ADMIN,
    _LIMITS: "@",
    f"{_LIMITS}:other_project": ADMIN,
}
_SET: Final = "/v2.1/os-quota-sets/{tenant_id}"
_CLASS: Final = "/v2.1/os-quota-class-sets/{class_name}"
ROUTES = (
    Route("GET", _SET, quota_show, f"{_SETS}:show"),
    Route("GET", f"{_SET}/detail", quota_detail, f"{_SETS}:detail"),
    Route("GET", f"{_SET}/defaults", quota_defaults, f"{_SETS}:defaults"),
    Route("PUT", _SET, quota_update, f"{_SETS}:update"),
    Route("DELETE", _SET, quota_remove, f"{_SETS}:delete"),
    Route("GET", _CLASS, class_show, f"{_CLASSES}:show"),
    Route("PUT", _CLASS, class_update, f"{_CLASSES}:update"),
    Route("GET", "/v2.1/limits", limits_show, _LIMITS),
)
