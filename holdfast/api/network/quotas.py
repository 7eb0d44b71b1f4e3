"""Quotas of the network service over HTTP: limits are rows, use is counted from rows."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.network.attributes import document, require
from holdfast.base.errors import BadInput
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import FLOATING_IPS
from holdfast.control.store.network.network import NETWORKS
from holdfast.control.store.network.port import PORTS
from holdfast.control.store.network.query import object_count
from holdfast.control.store.network.router import ROUTERS
from holdfast.control.store.network.security_group import RULES, SECURITY_GROUPS
from holdfast.control.store.network.subnet import SUBNETS
from holdfast.control.store.network.subnetpool import SUBNETPOOLS
from holdfast.control.store.quota import quota_limits, quota_projects, quota_reset, quota_set
from holdfast.domain import quota
from holdfast.domain.address import invalid

COUNTED = {
    "network": NETWORKS,
    "subnet": SUBNETS,
    "subnetpool": SUBNETPOOLS,
    "port": PORTS,
    "router": ROUTERS,
    "floatingip": FLOATING_IPS,
    "security_group": SECURITY_GROUPS,
    "security_group_rule": RULES,
}
LIMIT_MAX = 2**31 - 1  # the column's


def _project(call: Call, rule: str) -> str:
    project_id = call.parameters["project_id"]
    require(call, rule, {"project_id": project_id})
    return project_id


def _limits(tx: Tx, project_id: str) -> dict[str, int]:
    limits = quota_limits(tx, project_id)
    return {name: limits[name] for name in quota.NETWORK}


def quota_show(call: Call) -> Reply:
    """GET /v2.0/quotas/PROJECT"""
    project_id = _project(call, "get_quota")
    return call.services.store.read(lambda tx: Reply(200, {"quota": _limits(tx, project_id)}))


def quota_default(call: Call) -> Reply:
    """GET /v2.0/quotas/PROJECT/default"""
    _project(call, "get_quota")
    return Reply(200, {"quota": dict(quota.NETWORK)})


def quota_details(call: Call) -> Reply:
    """GET /v2.0/quotas/PROJECT/details: the limit and the use of each; nothing is ever only reserved."""
    project_id = _project(call, "get_quota")

    def look(tx: Tx) -> Reply:
        limits = _limits(tx, project_id)
        return Reply(200, {"quota": {name: _detail(tx, project_id, name, limit) for name, limit in limits.items()}})

    return call.services.store.read(look)


def _detail(tx: Tx, project_id: str, name: str, limit: int) -> dict[str, int]:
    return {"limit": limit, "used": object_count(tx, COUNTED[name], project_id), "reserved": 0}


def quota_update(call: Call) -> Reply:
    """PUT /v2.0/quotas/PROJECT"""
    project_id = _project(call, "update_quota")
    changes = {name: _limit(name, value) for name, value in document(call, "quota").items() if name not in _IGNORED}

    def change(tx: Tx) -> Reply:
        quota_set(tx, project_id, changes)
        return Reply(200, {"quota": _limits(tx, project_id)})

    return call.services.store.write(change)


_IGNORED = ("tenant_id", "project_id", "force", "check_limit")  # clients send them beside the limits


def _limit(name: str, value: Any) -> int:
    if name not in quota.NETWORK:
        raise BadInput(f"Unrecognized attribute(s) '{name[:64]}'", code="HTTPBadRequest")
    try:
        limit = msgspec.convert(value, int, strict=False)
    except msgspec.ValidationError as err:
        raise invalid(name, f"'{str(value)[:64]}' is not an integer.") from err
    if not quota.UNLIMITED <= limit <= LIMIT_MAX:
        raise invalid(name, f"'{limit}' must be -1 (no limit) or more.")
    return limit


def quota_delete(call: Call) -> Reply:
    """DELETE /v2.0/quotas/PROJECT: back to the defaults."""
    project_id = _project(call, "delete_quota")
    call.services.store.write(lambda tx: quota_reset(tx, project_id, tuple(quota.NETWORK)))
    return Reply(204)


def quotas_listed(call: Call) -> Reply:
    """GET /v2.0/quotas: every project with limits of its own."""

    def look(tx: Tx) -> Reply:
        projects = quota_projects(tx, tuple(quota.NETWORK))
        own = [{"project_id": each, "tenant_id": each, **_limits(tx, each)} for each in projects]
        return Reply(200, {"quotas": own})

    return call.services.store.read(look)
