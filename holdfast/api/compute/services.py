"""Nova's services: one nova-compute per host, which an operator takes out of scheduling here; and os-hosts.

Whether a host is up is what its reports say; nobody can say it for it (forced_down).
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.compute.requests import text
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.base import ids
from holdfast.base.clock import iso_micros
from holdfast.base.errors import BadInput, Conflict, NotFound, NotSupported
from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocation_sums, host_delete, host_update, hosts_list
from holdfast.control.store.host_fence import host_fence_delete
from holdfast.control.store.instance import host_is_used
from holdfast.control.store.volume.rows import host_keeps_files
from holdfast.domain.host import Host

BINARY: Final = "nova-compute"
UUIDS_SINCE: Final = 53
_RULE: Final = "os_compute_api:os-services"
_HOSTS: Final = "os_compute_api:os-hosts"
_REASON: Final = text(1)


def host_number(call: Call, host: Host) -> str | int:
    """The id of a host in this version: a number before 2.53."""
    return host.id if call.version >= UUIDS_SINCE else ids.number_of(host.id)


def host_matches(call: Call, host: Host, asked: str) -> bool:
    """Whether an id that a caller gave is this host's."""
    return str(host_number(call, host)) == asked


def _view(call: Call, host: Host) -> dict[str, Any]:
    shown = {
        "id": host_number(call, host),
        "binary": BINARY,
        "host": host.name,
        "zone": host.zone,
        "status": "enabled" if host.enabled else "disabled",
        "state": "up" if host.is_up(call.services.clock.now_us()) else "down",
        "updated_at": iso_micros(host.reported_us).rstrip("Z") if host.reported_us else None,
        "disabled_reason": host.disabled_reason or None,
    }
    return {**shown, "forced_down": False} if call.version >= 11 else shown


def services_index(call: Call) -> Reply:
    """GET os-services."""
    requests.query_known(call, ("host", "binary"))
    name, binary = call.argument("host"), call.argument("binary")
    hosts = call.services.store.read(hosts_list) if binary in ("", BINARY) else []
    return Reply(200, {"services": [_view(call, host) for host in hosts if name in ("", host.name)]})


def _by_id(tx: Tx, call: Call) -> Host:
    asked = call.parameters["service_id"]
    if call.version >= UUIDS_SINCE and not ids.is_id(asked):
        raise BadInput(f"Invalid uuid {asked}")
    for host in hosts_list(tx):
        if host_matches(call, host, asked):
            return host
    raise NotFound(f"Service {asked} not found.")


def _by_name(tx: Tx, name: str) -> Host:
    for host in hosts_list(tx):
        if host.name == name:
            return host
    raise NotFound(f"Could not find binary {BINARY} on host {name}.")


def _no_forced_down() -> None:
    raise NotSupported("A host is down when it does not report; this cannot be set. Disable it to keep servers off it.")


def service_update(call: Call) -> Reply:
    """PUT os-services/ID, since 2.53: status, with a reason."""
    checks = {
        "status": requests.choice("enabled", "disabled"),
        "disabled_reason": _REASON,
        "forced_down": requests.boolean,
    }
    wanted = requests.mapping("body", call.json(), checks)
    if wanted.get("forced_down"):
        _no_forced_down()
    if "status" not in wanted and "forced_down" not in wanted:
        raise BadInput("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    if wanted.get("status") == "enabled" and "disabled_reason" in wanted:
        raise BadInput("Specifying 'disabled_reason' with status 'enabled' is invalid.")

    def change(tx: Tx) -> Reply:
        host = _by_id(tx, call)
        if "status" in wanted:
            _set(tx, host, wanted["status"] == "enabled", wanted.get("disabled_reason", ""))
        return Reply(200, {"service": _view(call, _by_id(tx, call))})

    return call.services.store.write(change)


def _set(tx: Tx, host: Host, enabled: bool, reason: str) -> None:
    host_update(tx, host.id, enabled=enabled, disabled_reason=reason)


def service_act(call: Call) -> Reply:
    """PUT os-services/{enable,disable,disable-log-reason}, before 2.53: the body names the host."""
    verb = call.parameters["service_id"]
    checks = {"host": text(1), "binary": text(1), "disabled_reason": _REASON}
    known: tuple[str, ...] = ("enable", "disable", "disable-log-reason")
    if call.version >= 11:
        checks["forced_down"] = requests.boolean
        known = (*known, "force-down")
    if verb not in known:
        raise NotFound("Unknown action")
    wanted = requests.mapping("body", call.json(), checks, ("host", "binary"))
    if wanted["binary"] != BINARY:
        raise BadInput(
            f"Updating a {wanted['binary'][:80]} service is not supported. Only {BINARY} services can be updated."
        )
    if verb == "force-down":
        _no_forced_down()
    if verb == "disable-log-reason" and "disabled_reason" not in wanted:
        raise BadInput("Missing disabled reason field")
    reason = wanted.get("disabled_reason", "") if verb == "disable-log-reason" else ""
    enabled = verb == "enable"
    call.services.store.write(lambda tx: _set(tx, _by_name(tx, wanted["host"]), enabled, reason))
    shown = {"host": wanted["host"], "binary": BINARY, "status": "enabled" if enabled else "disabled"}
    return Reply(200, {"service": {**shown, "disabled_reason": reason} if reason else shown})


def service_remove(call: Call) -> Reply:
    """DELETE os-services/ID: forget a host that holds nothing; its agent is refused from then on. 204."""

    def change(tx: Tx) -> Reply:
        host = _by_id(tx, call)
        if host_is_used(tx, host.id):
            raise Conflict(
                "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
            )
        if host_keeps_files(tx, host.id):
            raise Conflict(f"Host {host.name} keeps volumes or snapshots. Delete them first.")
        host_fence_delete(tx, host.id)
        host_delete(tx, host.id)
        return Reply(204)

    return call.services.store.write(change)


def hosts_index(call: Call) -> Reply:
    """GET os-hosts, before 2.43."""
    zone = call.argument("zone")
    hosts = [host for host in call.services.store.read(hosts_list) if host.enabled and zone in ("", host.zone)]
    return Reply(200, {"hosts": [{"host_name": h.name, "service": "compute", "zone": h.zone} for h in hosts]})


def host_show(call: Call) -> Reply:
    """GET os-hosts/NAME, before 2.43: what it has and what is promised on it."""
    name = call.parameters["host_name"]

    def read(tx: Tx) -> Reply:
        host = next((host for host in hosts_list(tx) if host.name == name), None)
        if host is None or host.capabilities is None:
            raise NotFound(f"Compute host {name} could not be found.")
        have, used = host.capabilities, allocation_sums(tx).get(host.id, (0, 0, 0, 0))
        rows = (
            ("(total)", have.vcpus, have.memory_mib, have.disk_gib),
            ("(used_now)", used[1], used[2], used[3]),
            ("(used_max)", used[1], used[2], used[3]),
        )
        shown = [
            {"resource": {"host": name, "project": who, "cpu": cpu, "memory_mb": memory, "disk_gb": disk}}
            for who, cpu, memory, disk in rows
        ]
        return Reply(200, {"host": shown})

    return call.services.store.read(read)


RULES = {
    f"{_RULE}:list": ADMIN,
    f"{_RULE}:update": ADMIN,
    f"{_RULE}:delete": ADMIN,
    f"{_HOSTS}:list": ADMIN,
    f"{_HOSTS}:show": ADMIN,
}
_ONE: Final = "/v2.1/os-services/{service_id}"
ROUTES = (
    Route("GET", "/v2.1/os-services", services_index, f"{_RULE}:list"),
    Route("PUT", _ONE, service_act, f"{_RULE}:update", until=UUIDS_SINCE - 1),
    Route("PUT", _ONE, service_update, f"{_RULE}:update", since=UUIDS_SINCE),
    Route("DELETE", _ONE, service_remove, f"{_RULE}:delete"),
    Route("GET", "/v2.1/os-hosts", hosts_index, f"{_HOSTS}:list", until=42),
    Route("GET", "/v2.1/os-hosts/{host_name}", host_show, f"{_HOSTS}:show", until=42),
)
