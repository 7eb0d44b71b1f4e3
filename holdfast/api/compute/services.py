"""Nova's services: one nova-compute per host, which an operator takes out of scheduling here; and os-hosts.

Whether a host is up is what its reports say. `forced_down` is an operator's word that it is off, one of the proofs
that it may be fenced by; it shows whether it is.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.compute.requests import text
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.clock import iso_micros
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.control.operations.host.fencing import word_given
from holdfast.control.operations.host.lease import host_enable, host_forget
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import lease_fetch, leases_by_host
from holdfast.control.store.host import allocation_sums, hosts_list
from holdfast.domain.host import Host
from holdfast.domain.lease import HostLease, HostPhase, nobody

log = logs.get(__name__)

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


def _view(call: Call, host: Host, lease: HostLease) -> dict[str, Any]:
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
    return {**shown, "forced_down": lease.phase is HostPhase.FENCED} if call.version >= 11 else shown


def services_index(call: Call) -> Reply:
    """GET os-services."""
    requests.query_known(call, ("host", "binary"))
    name, binary = call.argument("host"), call.argument("binary")
    hosts, leases = call.services.store.read(lambda tx: (hosts_list(tx), leases_by_host(tx)))
    wanted = [host for host in hosts if name in ("", host.name) and binary in ("", BINARY)]
    return Reply(200, {"services": [_view(call, host, leases.get(host.id) or nobody(host.id)) for host in wanted]})


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


def _force_down(call: Call, tx: Tx, host: Host, down: bool) -> None:
    """An operator's word that a host is off. It cannot be taken back: a host that is on says so by registering."""
    fenced = lease_fetch(tx, host.id).phase is HostPhase.FENCED
    if not down and fenced:
        raise Conflict(f"Host {host.name} is fenced: it is up again when its agent registers, and not before")
    if down and not fenced and (missing := word_given(tx, host, call.credentials.user_id, "forced_down")):
        log.info("host_not_fenced_yet", host=host.name, missing=missing)


def service_update(call: Call) -> Reply:
    """PUT os-services/ID, since 2.53: status, with a reason."""
    checks = {
        "status": requests.choice("enabled", "disabled"),
        "disabled_reason": _REASON,
        "forced_down": requests.boolean,
    }
    wanted = requests.mapping("body", call.json(), checks)
    if "status" not in wanted and "forced_down" not in wanted:
        raise BadInput("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    if wanted.get("status") == "enabled" and "disabled_reason" in wanted:
        raise BadInput("Specifying 'disabled_reason' with status 'enabled' is invalid.")

    def change(tx: Tx) -> Reply:
        host = _by_id(tx, call)
        if "status" in wanted:
            host_enable(tx, host.id, wanted["status"] == "enabled", wanted.get("disabled_reason", ""))
        if "forced_down" in wanted:
            _force_down(call, tx, host, wanted["forced_down"])
        return Reply(200, {"service": _view(call, _by_id(tx, call), lease_fetch(tx, host.id))})

    return call.services.store.write(change)


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
        return call.services.store.write(lambda tx: _forced_down(call, tx, wanted))
    if verb == "disable-log-reason" and "disabled_reason" not in wanted:
        raise BadInput("Missing disabled reason field")
    reason = wanted.get("disabled_reason", "") if verb == "disable-log-reason" else ""
    enabled = verb == "enable"
    call.services.store.write(lambda tx: host_enable(tx, _by_name(tx, wanted["host"]).id, enabled, reason))
    shown = {"host": wanted["host"], "binary": BINARY, "status": "enabled" if enabled else "disabled"}
    return Reply(200, {"service": {**shown, "disabled_reason": reason} if reason else shown})


def _forced_down(call: Call, tx: Tx, wanted: dict[str, Any]) -> Reply:
    if "forced_down" not in wanted:
        raise BadInput("Missing forced_down field")
    host = _by_name(tx, wanted["host"])
    _force_down(call, tx, host, wanted["forced_down"])
    fenced = lease_fetch(tx, host.id).phase is HostPhase.FENCED
    return Reply(200, {"service": {"host": host.name, "binary": BINARY, "forced_down": fenced}})


def service_remove(call: Call) -> Reply:
    """DELETE os-services/ID: forget a host that holds nothing; its agent is refused from then on. 204."""

    def change(tx: Tx) -> Reply:
        host_forget(tx, _by_id(tx, call))
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
