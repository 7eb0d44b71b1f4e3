"""Nova's hypervisors: what each host is, as its agent proved it, and what is promised on it.

A host that joined and never reported is no hypervisor yet; `os-services` shows it as down.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from holdfast.api.compute import requests
from holdfast.api.compute.services import UUIDS_SINCE, host_matches, host_number
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.base import ids
from holdfast.base.errors import BadInput, NotFound, NotSupported
from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation_sums, hosts_list
from holdfast.control.store.instance import instance_names_by_host
from holdfast.domain.host import Host
from holdfast.domain.observed import Capabilities

_RULE: Final = "os_compute_api:os-hypervisors"
_PAGED, _SLIM = 33, 88
_KINDS: Final = {"qemu": "QEMU"}
_AMOUNTS: Final = (
    "vcpus",
    "memory_mb",
    "local_gb",
    "vcpus_used",
    "memory_mb_used",
    "local_gb_used",
    "free_ram_mb",
    "free_disk_gb",
    "current_workload",
    "running_vms",
    "disk_available_least",
)


class _Row(NamedTuple):
    host: Host
    have: Capabilities
    used: tuple[int, int, int, int]  # instances, processors, MiB, GiB


def _rows(tx: Tx) -> list[_Row]:
    sums = allocation_sums(tx)
    none = (0, 0, 0, 0)
    return [_Row(h, h.capabilities, sums.get(h.id, none)) for h in hosts_list(tx) if h.capabilities is not None]


def version_number(version: str) -> int:
    """`7.2.9` as Nova counts versions: 7002009."""
    parts = [int(part) for part in re.findall(r"\d+", version)[:3]] + [0, 0, 0]
    return parts[0] * 1_000_000 + parts[1] * 1_000 + parts[2]


def _brief(call: Call, host: Host) -> dict[str, Any]:
    return {
        "id": host_number(call, host),
        "hypervisor_hostname": host.name,
        "state": "up" if host.is_up(call.services.clock.now_us()) else "down",
        "status": "enabled" if host.enabled else "disabled",
    }


def _amounts(call: Call, row: _Row) -> dict[str, int]:
    """What Nova counted before 2.88; memory that is kept for the host itself counts as used."""
    memory_used = row.used[2] + call.services.settings.reserved_memory_mib
    return {
        "vcpus": row.have.vcpus,
        "memory_mb": row.have.memory_mib,
        "local_gb": row.have.disk_gib,
        "vcpus_used": row.used[1],
        "memory_mb_used": memory_used,
        "local_gb_used": row.used[3],
        "free_ram_mb": row.have.memory_mib - memory_used,
        "free_disk_gb": row.have.disk_gib - row.used[3],
        "current_workload": row.used[0],
        "running_vms": row.used[0],
        "disk_available_least": row.host.disk_free_gib,
    }


def _full(call: Call, row: _Row) -> dict[str, Any]:
    host, have = row.host, row.have
    shown = {
        **_brief(call, host),
        "hypervisor_type": _KINDS.get(have.hypervisor, have.hypervisor),
        "hypervisor_version": version_number(have.hypervisor_version),
        "host_ip": have.address,
        "service": {
            "id": host_number(call, host),
            "host": host.name,
            "disabled_reason": host.disabled_reason or None,
        },
    }
    if call.version >= _SLIM:
        return {**shown, "uptime": None}  # agents do not report it; null is what Nova shows then
    return {**shown, **_amounts(call, row), "cpu_info": {} if call.version >= 28 else ""}


def _with_servers(call: Call, shown: dict[str, Any], names: list[tuple[str, str]] | None) -> dict[str, Any]:
    """Add the servers of a host: before 2.75 only where there are any."""
    if names or (names is not None and call.version >= 75):
        shown["servers"] = [{"uuid": instance_id, "name": name} for instance_id, name in names]
    return shown


def hypervisors_index(call: Call) -> Reply:
    """GET os-hypervisors."""
    return _listed(call, "os-hypervisors", detail=False)


def hypervisors_detail(call: Call) -> Reply:
    """GET os-hypervisors/detail."""
    return _listed(call, "os-hypervisors/detail", detail=True)


def _listed(call: Call, collection: str, detail: bool) -> Reply:
    modern = call.version >= UUIDS_SINCE
    arguments = dict(call.query)
    requests.query_known(call, ("limit", "marker", "hypervisor_hostname_pattern", "with_servers"), UUIDS_SINCE)
    pattern = arguments.get("hypervisor_hostname_pattern") if modern else None
    with_servers = modern and requests.query_flag(call, "with_servers")
    if pattern is not None and arguments.keys() & {"limit", "marker"}:
        raise BadInput("Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.")
    rows, names = call.services.store.read(lambda tx: (_rows(tx), instance_names_by_host(tx) if with_servers else None))
    if pattern is not None:
        rows = _matching(rows, pattern)
    elif call.version >= _PAGED:
        rows = _page(call, rows)
    shown = [_full(call, row) if detail else _brief(call, row.host) for row in rows]
    if names is not None:
        shown = [_with_servers(call, e, names.get(row.host.id, [])) for e, row in zip(shown, rows, strict=True)]
    body: dict[str, Any] = {"hypervisors": shown}
    if rows and pattern is None and call.version >= _PAGED:
        last = str(host_number(call, rows[-1].host))
        if following := requests.next_links(call, collection, len(rows), last):
            body["hypervisors_links"] = following
    return Reply(200, body)


def _page(call: Call, rows: list[_Row]) -> list[_Row]:
    marker, start = call.argument("marker"), 0
    if marker:
        places = [place for place, row in enumerate(rows) if host_matches(call, row.host, marker)]
        if not places:
            raise BadInput(f"marker [{marker[:80]}] not found")
        start = places[0] + 1
    return rows[start : start + requests.page_limit(call)]


def _matching(rows: list[_Row], pattern: str) -> list[_Row]:
    found = [row for row in rows if pattern.lower() in row.host.name.lower()]
    if not found:
        raise NotFound(f"No hypervisor matching '{pattern[:80]}' could be found.")
    return found


def _one(tx: Tx, call: Call) -> _Row:
    asked = call.parameters["hypervisor_id"]
    if call.version >= UUIDS_SINCE and not ids.is_id(asked):
        raise BadInput(f"Invalid uuid {asked}")
    for row in _rows(tx):
        if host_matches(call, row.host, asked):
            return row
    raise NotFound(f"Hypervisor with ID '{asked}' could not be found.")


def hypervisor_show(call: Call) -> Reply:
    """GET os-hypervisors/ID."""
    requests.query_known(call, ("with_servers",), UUIDS_SINCE)
    with_servers = call.version >= UUIDS_SINCE and requests.query_flag(call, "with_servers")

    def read(tx: Tx) -> Reply:
        row = _one(tx, call)
        names = instance_names_by_host(tx, row.host.id).get(row.host.id, []) if with_servers else None
        return Reply(200, {"hypervisor": _with_servers(call, _full(call, row), names)})

    return call.services.store.read(read)


def hypervisor_uptime(call: Call) -> Reply:
    """GET os-hypervisors/ID/uptime, before 2.88: nobody measures it here."""
    call.services.store.read(lambda tx: _one(tx, call))
    raise NotSupported("The hosts of this cloud do not report their uptime.")


def hypervisors_search(call: Call) -> Reply:
    """GET os-hypervisors/PATTERN/search, before 2.53."""
    rows = _matching(call.services.store.read(_rows), call.parameters["hypervisor_id"])
    return Reply(200, {"hypervisors": [_brief(call, row.host) for row in rows]})


def hypervisors_servers(call: Call) -> Reply:
    """GET os-hypervisors/PATTERN/servers, before 2.53."""
    rows, names = call.services.store.read(lambda tx: (_rows(tx), instance_names_by_host(tx)))
    found = _matching(rows, call.parameters["hypervisor_id"])
    shown = [_with_servers(call, _brief(call, row.host), names.get(row.host.id)) for row in found]
    return Reply(200, {"hypervisors": shown})


def hypervisors_statistics(call: Call) -> Reply:
    """GET os-hypervisors/statistics, before 2.88: sums over the enabled hosts."""
    amounts = [_amounts(call, row) for row in call.services.store.read(_rows) if row.host.enabled]
    sums = {key: sum(amount[key] for amount in amounts) for key in _AMOUNTS}
    return Reply(200, {"hypervisor_statistics": {"count": len(amounts), **sums}})


RULES = {
    f"{_RULE}:{verb}": ADMIN for verb in ("list", "list-detail", "show", "statistics", "uptime", "search", "servers")
}
_ONE: Final = "/v2.1/os-hypervisors/{hypervisor_id}"
ROUTES = (
    Route("GET", "/v2.1/os-hypervisors", hypervisors_index, f"{_RULE}:list"),
    Route("GET", "/v2.1/os-hypervisors/detail", hypervisors_detail, f"{_RULE}:list-detail"),
    Route("GET", "/v2.1/os-hypervisors/statistics", hypervisors_statistics, f"{_RULE}:statistics", until=_SLIM - 1),
    Route("GET", _ONE, hypervisor_show, f"{_RULE}:show"),
    Route("GET", f"{_ONE}/uptime", hypervisor_uptime, f"{_RULE}:uptime", until=_SLIM - 1),
    Route("GET", f"{_ONE}/search", hypervisors_search, f"{_RULE}:search", until=UUIDS_SINCE - 1),
    Route("GET", f"{_ONE}/servers", hypervisors_servers, f"{_RULE}:servers", until=UUIDS_SINCE - 1),
)
