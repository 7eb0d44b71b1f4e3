"""Whether a host is dead, decided in one transaction from what was heard of it and what was seen of it.

    silent    no report and no renewal of its lease for HOST_DOWN_S: an agent that hangs is no dead host (seed 1387)
    lapsed    its enforced lease ended LEASE_MARGIN_S ago (a lease that does not enforce proves nothing)
    evidence  its power was seen off, or an operator says so, after the last that was heard of it

A host is fenced when it is silent, its enforced lease lapsed, and, where it has a fence driver or its lease did not
enforce, there is evidence as well: a tool that lies is caught by the lease. From then on it is refused everything
but a new registration, in the same transaction in which somebody may claim what it held.
"""

from __future__ import annotations

import math

import msgspec

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict
from holdfast.control.operations.network.port_instance import host_ports_unseen
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.clock import clock_watched
from holdfast.control.store.fencing.host_fence import host_fence_fetch
from holdfast.control.store.fencing.host_lease import lease_fetch, lease_write, proof_add, proofs_of
from holdfast.control.store.instance import instance_ids_of_host
from holdfast.control.store.operation import evacuations_release, operations_wake
from holdfast.control.store.revision import HOSTS
from holdfast.domain.host import Host
from holdfast.domain.lease import HostLease, HostPhase, Proof

log = logs.get(__name__)


def fence_try(tx: Tx, host: Host) -> str:
    """Fence a host if it is proved dead; returns what is missing, empty when it is fenced."""
    lease = lease_fetch(tx, host.id)
    if lease.phase is HostPhase.FENCED:
        return ""
    proof, missing = fence_proof(tx, host, lease)
    if proof is None:
        return missing
    _fence(tx, host, lease, proof)
    return ""


def fence_proof(tx: Tx, host: Host, lease: HostLease) -> tuple[Proof | None, str]:
    """What proves a host dead, or what is missing."""
    if alive := _alive(host, lease, tx.now_us):
        return None, alive
    watch = clock_watched(tx)
    if lease.enforced and not lease.lapsed(watch, tx.now_us):
        return None, f"the lease of host {host.name} to lapse in {math.ceil(lease.left_s(watch, tx.now_us))} s"
    evidence = {proof.kind for proof in proofs_of(tx, host.id, max(lease.renewed_us, host.reported_us))}
    for kind in (Proof.POWER, Proof.WORD):
        if kind in evidence:
            return kind, ""
    if (fence := host_fence_fetch(tx, host.id)) is not None:
        last = f" (last: {fence.words})" if fence.words else ""
        return None, f"the power of host {host.name} to be seen off by its fence driver{last}"
    if lease.enforced:
        return Proof.LEASE, ""
    return None, (
        f"somebody to say that host {host.name} is off, as its lease was not enforced: "
        f"holdfast host fence {host.name} --confirmed"
    )


def guarantee_of(tx: Tx, host_id: str, lease: HostLease) -> str:
    """Which proof an evacuation of this host will rest on: power, lease or word."""
    if host_fence_fetch(tx, host_id) is not None:
        return Proof.POWER.value
    return (Proof.LEASE if lease.enforced else Proof.WORD).value


def word_given(tx: Tx, host: Host, user_id: str, words: str) -> str:
    """An operator says that a host is off; returns what is still missing, empty when it is fenced.

    Conflict while it is heard: what is alive is not off, whatever anybody says.
    """
    if alive := _alive(host, lease_fetch(tx, host.id), tx.now_us):
        raise Conflict(f"{alive}. Switch it off first", code="host_alive")
    proof_add(tx, host.id, Proof.WORD, user_id, words)
    return fence_try(tx, host)


def _alive(host: Host, lease: HostLease, now_us: int) -> str:
    """What shows that a host is on; empty when nothing was heard of it lately."""
    words = f"host {host.name} is alive: "
    if host.is_up(now_us):
        return f"{words}it reported {(now_us - host.reported_us) // SECOND_US} s ago"
    if Host.reported_lately(lease.renewed_us, now_us):
        return f"{words}its keeper renewed its lease {(now_us - lease.renewed_us) // SECOND_US} s ago"
    return ""


def _fence(tx: Tx, host: Host, lease: HostLease, proof: Proof) -> None:
    if proof is Proof.LEASE:
        ended_s = (tx.now_us - lease.until_us) // SECOND_US
        proof_add(tx, host.id, proof, "", f"the lease of incarnation {lease.incarnation} ended {ended_s} s ago")
    fenced = msgspec.structs.replace(lease, phase=HostPhase.FENCED, fenced_us=tx.now_us, fenced_by=proof.value)
    lease_write(tx, fenced)
    host_ports_unseen(tx, host.id)
    tx.notify(HOSTS)  # an open long poll of it is refused now
    held = instance_ids_of_host(tx, host.id)
    evacuations_release(tx, held)
    operations_wake(tx, held)
    log.warn("host_fenced", host=host.name, proof=proof.value, incarnation=lease.incarnation)
