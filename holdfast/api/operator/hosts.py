"""Hosts as an operator sees them: alive or not, what they may do, and which guarantee an evacuation of them has."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.base.clock import SECOND_US, iso_micros
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import NAME_CHARS
from holdfast.control.operations.host.fence_config import fence_config_set, fence_config_show, fence_config_unset
from holdfast.control.operations.host.fencing import fence_proof, guarantee_of, word_given
from holdfast.control.operations.host.lease import host_enable, host_forget
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_fence import host_fence_ask
from holdfast.control.store.fencing.host_lease import departed_since, lease_fetch, leases_by_host, proofs_of
from holdfast.control.store.host import allocation_sums, hosts_list
from holdfast.control.store.identity.enrolment import enrolment_fetch
from holdfast.control.store.placement.build_failures import build_failures_by_host
from holdfast.domain.host import BuildFailures, Host, lost_too_many
from holdfast.domain.lease import HostLease, HostPhase, nobody

_PROOFS_SHOWN = 20


def host_named(tx: Tx, asked: str) -> Host:
    """The host of this name or id."""
    for host in hosts_list(tx):
        if asked in (host.name, host.id):
            return host
    raise NotFound(f"no host {asked[:80]} is known here; next: holdfast host list")


def words_of(call: Call, name: str) -> str:
    """A sentence in the body; empty when it is not there."""
    text = call.json().get(name, "")
    if not isinstance(text, str) or len(text) > NAME_CHARS:
        raise BadInput(f"{name} must be text of at most {NAME_CHARS} characters")
    return text


def flag_of(call: Call, name: str) -> bool:
    """A yes or no in the body; no when it is not there."""
    flag = call.json().get(name, False)
    if not isinstance(flag, bool):
        raise BadInput(f"{name} must be true or false")
    return flag


def _view(tx: Tx, host: Host, lease: HostLease, servers: int, failed: BuildFailures | None) -> dict[str, Any]:
    return {
        "id": host.id,
        "name": host.name,
        "zone": host.zone,
        "state": "up" if host.is_up(tx.now_us) else "down",
        "phase": lease.phase.value,
        "enabled": host.enabled,
        "disabled_reason": host.disabled_reason,
        "servers": servers,
        "reported_at": iso_micros(host.reported_us) if host.reported_us else None,
        "incarnation": lease.incarnation,
        "lease_left_s": round(max(lease.until_us - tx.now_us, 0) / SECOND_US, 1),
        "lease_enforced": lease.enforced,
        "guarantee": guarantee_of(tx, host.id, lease),
        "fenced_by": lease.fenced_by or None,
        "fenced_at": iso_micros(lease.fenced_us) if lease.fenced_us else None,
        "disk_store": host.disk_store or None,
        "problems": host.problems,
        "builds_failed": failed.count if failed else 0,
        "builds_failed_reason": failed.reason if failed else None,
        "shunned_until": iso_micros(failed.until_us) if failed and failed.shun(tx.now_us) else None,
    }


def _enrolled(tx: Tx, host_id: str) -> dict[str, Any]:
    """When a host of another machine joined, and how long its certificate lasts; of others: never."""
    known = enrolment_fetch(tx, host_id)
    joined, until = (known.joined_us, known.until_us) if known is not None else (0, 0)
    return {
        "joined_at": iso_micros(joined) if joined else None,
        "certificate_until": iso_micros(until) if until else None,
    }


def hosts_index(call: Call) -> Reply:
    """GET hosts."""

    def look(tx: Tx) -> Reply:
        hosts, leases, sums = hosts_list(tx), leases_by_host(tx), allocation_sums(tx)
        failed = build_failures_by_host(tx)
        shown = [
            _view(tx, host, leases.get(host.id) or nobody(host.id), sums.get(host.id, (0,))[0], failed.get(host.id))
            for host in hosts
        ]
        return Reply(200, {"hosts": shown, "evacuation_braked": lost_too_many(hosts, tx.now_us)})

    return call.services.store.read(look)


def host_show(call: Call) -> Reply:
    """GET hosts/NAME: also every proof that was ever seen, and what is missing before it can be fenced."""

    def look(tx: Tx) -> Reply:
        host = host_named(tx, call.parameters["host"])
        lease = lease_fetch(tx, host.id)
        servers, failed = allocation_sums(tx).get(host.id, (0,))[0], build_failures_by_host(tx).get(host.id)
        shown = _view(tx, host, lease, servers, failed)
        missing = "" if lease.phase is HostPhase.FENCED else fence_proof(tx, host, lease)[1]
        proofs = [
            {"kind": proof.kind.value, "at": iso_micros(proof.at_us), "by": proof.user_id or None, "words": proof.words}
            for proof in proofs_of(tx, host.id)[:_PROOFS_SHOWN]
        ]
        departed = [row.instance_id for row in departed_since(tx, host.id, 0)]
        shown |= {**_enrolled(tx, host.id), "missing": missing, "proofs": proofs, "departed": departed}
        return Reply(200, {"host": shown})

    return call.services.store.read(look)


def _changed(call: Call, enabled: bool) -> Reply:
    reason = words_of(call, "reason") if not enabled else ""

    def change(tx: Tx) -> Reply:
        host_enable(tx, host_named(tx, call.parameters["host"]).id, enabled, reason)
        return Reply(204)

    return call.services.store.write(change)


def host_take(call: Call) -> Reply:
    """POST hosts/NAME/enable: it gets new servers. 204."""
    return _changed(call, True)


def host_close(call: Call) -> Reply:
    """POST hosts/NAME/disable {"reason"}: it gets no new servers; those that it has stay. 204."""
    return _changed(call, False)


def host_fence(call: Call) -> Reply:
    """POST hosts/NAME/fence: switch it off by its fence driver; with {"confirmed": true, "words"}, a person's word.

    Answers whether it is fenced now, and what is missing if not; Conflict for the word on a host that is alive.
    """
    confirmed, words = flag_of(call, "confirmed"), words_of(call, "words") or "confirmed off"

    def change(tx: Tx) -> Reply:
        host = host_named(tx, call.parameters["host"])
        if not confirmed:
            if not host_fence_ask(tx, host.id):
                raise BadInput(
                    f"host {host.name} has no fence driver. See that it is off, then say so: "
                    f"holdfast host fence {host.name} --confirmed",
                    code="no_fence_driver",
                )
            return Reply(202, {"fenced": False, "missing": f"the fence driver of host {host.name} to answer"})
        missing = word_given(tx, host, call.credentials.user_id, words)
        return Reply(200, {"fenced": not missing, "missing": missing})

    return call.services.store.write(change)


def fence_config_put(call: Call) -> Reply:
    """PUT hosts/NAME/fence-config: how its machine is switched off; answers it without its secret."""
    keyring = call.services.authority.secrets
    return call.services.store.write(
        lambda tx: Reply(200, fence_config_set(tx, keyring, host_named(tx, call.parameters["host"]).id, call.body))
    )


def fence_config_get(call: Call) -> Reply:
    """GET hosts/NAME/fence-config: without its secret."""
    keyring = call.services.authority.secrets
    return call.services.store.read(
        lambda tx: Reply(200, fence_config_show(tx, keyring, host_named(tx, call.parameters["host"]).id))
    )


def fence_config_remove(call: Call) -> Reply:
    """DELETE hosts/NAME/fence-config: from now on its lease, or a person's word, must do. 204."""

    def change(tx: Tx) -> Reply:
        fence_config_unset(tx, host_named(tx, call.parameters["host"]).id)
        return Reply(204)

    return call.services.store.write(change)


def host_remove(call: Call) -> Reply:
    """DELETE hosts/NAME: forget a host that holds nothing. 204."""

    def change(tx: Tx) -> Reply:
        host_forget(tx, host_named(tx, call.parameters["host"]))
        return Reply(204)

    return call.services.store.write(change)
