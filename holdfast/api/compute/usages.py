"""Nova's simple tenant usage: hours of servers in a period, and what they held meanwhile.

Counted from the instances' rows. Rows of deleted servers are kept for `TERMINAL_ROWS_KEPT_S` only, so a
period further back shows the servers that outlived it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from holdfast.api.compute import requests
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import Route
from holdfast.base.clock import SECOND_US, iso_micros
from holdfast.base.errors import BadInput
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_fetch, instance_runs
from holdfast.domain.desired import Power
from holdfast.domain.instance import InstanceRun, InstanceState

_RULE: Final = "os_compute_api:os-simple-tenant-usage"
_PAGED: Final = 40
_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")
_TOTALS: Final = ("total_local_gb_usage", "total_vcpus_usage", "total_memory_mb_usage", "total_hours")
_STATES: Final = {InstanceState.BUILDING: "building", InstanceState.FAILED: "error"}
_POWERS: Final = {Power.STOPPED: "stopped", Power.PAUSED: "paused"}


class _Period(NamedTuple):
    start_us: int
    end_us: int


def _instant(text: str) -> int:
    for form in _FORMATS:
        try:
            moment = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return int(moment.timestamp()) * SECOND_US + moment.microsecond
    raise BadInput("Invalid datetime string: Datetime is in invalid format")


def _period(call: Call) -> _Period:
    """From `start` to `end`, each now unless given; an end that has not come yet is now."""
    now_us = call.services.clock.now_us()
    start, end = call.argument("start"), call.argument("end")
    start_us = _instant(start) if start else now_us - 1
    end_us = _instant(end) if end else now_us
    if start_us >= end_us:
        raise BadInput("Invalid start time. The start time cannot occur after the end time.")
    return _Period(start_us, min(end_us, now_us))


def _time(instant_us: int) -> str | None:
    return iso_micros(instant_us).rstrip("Z") if instant_us else None


def _state(run: InstanceRun) -> str:
    if run.terminated_us:
        return "terminated"
    return _STATES.get(run.state) or _POWERS.get(run.power, "active")


def _server(call: Call, run: InstanceRun, hours: float) -> dict[str, Any]:
    return {
        "instance_id": run.id,
        "name": run.name,
        "tenant_id": run.project_id,
        "flavor": run.flavor.name,
        "hours": hours,
        "memory_mb": run.flavor.memory_mib,
        "local_gb": run.flavor.disk_gib + run.flavor.ephemeral_gib,
        "vcpus": run.flavor.vcpus,
        "started_at": _time(run.launched_us),
        "ended_at": _time(run.terminated_us),
        "state": _state(run),
        "uptime": run.lived_s(call.services.clock.now_us()),
    }


def _summed(call: Call, runs: list[InstanceRun], period: _Period, detailed: bool) -> list[dict[str, Any]]:
    """One entry per project, in order."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        hours = run.hours_within(*period)
        entry = found.setdefault(run.project_id, {"tenant_id": run.project_id, **dict.fromkeys(_TOTALS, 0.0)})
        entry["total_local_gb_usage"] += (run.flavor.disk_gib + run.flavor.ephemeral_gib) * hours
        entry["total_vcpus_usage"] += run.flavor.vcpus * hours
        entry["total_memory_mb_usage"] += run.flavor.memory_mib * hours
        entry["total_hours"] += hours
        entry |= {"start": _time(period.start_us), "stop": _time(period.end_us)}
        if detailed:
            entry.setdefault("server_usages", []).append(_server(call, run, hours))
    return list(found.values())


def _runs(call: Call, period: _Period, project_id: str | None) -> list[InstanceRun]:
    paged = call.version >= _PAGED
    limit, marker = (requests.page_limit(call), call.argument("marker")) if paged else (PAGE_ROWS, "")

    def read(tx: Tx) -> list[InstanceRun]:
        after = ("", "")
        if marker:
            row = instance_fetch(tx, marker)
            if row is None or project_id not in (None, row.project_id):
                raise BadInput(f"Marker {marker[:80]} could not be found.")
            after = (row.project_id, row.id)
        return instance_runs(tx, *period, project_id, after, limit)

    return call.services.store.read(read)


def usages_index(call: Call) -> Reply:
    """GET os-simple-tenant-usage: every project."""
    requests.query_known(call, ("start", "end", "detailed", "limit", "marker"))
    period = _period(call)
    runs = _runs(call, period, None)
    usages = _summed(call, runs, period, detailed=call.argument("detailed", "0") == "1")
    body: dict[str, Any] = {"tenant_usages": usages}
    return _paged(call, body, "tenant_usages_links", "os-simple-tenant-usage", runs)


def usage_show(call: Call) -> Reply:
    """GET os-simple-tenant-usage/PROJECT, with its servers."""
    requests.query_known(call, ("start", "end", "detailed", "limit", "marker"))
    project_id = call.parameters["tenant_id"]
    call.authorise(f"{_RULE}:show", {"project_id": project_id})
    period = _period(call)
    runs = _runs(call, period, project_id)
    usages = _summed(call, runs, period, detailed=True)
    body: dict[str, Any] = {"tenant_usage": usages[0] if usages else {}}
    return _paged(call, body, "tenant_usage_links", f"os-simple-tenant-usage/{project_id}", runs)


def _paged(call: Call, body: dict[str, Any], name: str, collection: str, runs: list[InstanceRun]) -> Reply:
    if runs and call.version >= _PAGED:
        if following := requests.next_links(call, collection, len(runs), runs[-1].id):
            body[name] = following
    return Reply(200, body)


RULES = {f"{_RULE}:list": ADMIN, f"{_RULE}:show": READER}
ROUTES = (
    Route("GET", "/v2.1/os-simple-tenant-usage", usages_index, f"{_RULE}:list"),
    Route("GET", "/v2.1/os-simple-tenant-usage/{tenant_id}", usage_show, f"{_RULE}:show"),
)
