"""Registration and the lease: the two things that a host asks for before it runs anything.

A registration begins a new incarnation. Whoever speaks for an older one is told to register first, and forgets
what it knew: a host that was away cannot start a guest from an old desired state under a new lease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict, HoldfastError, Unauthenticated
from holdfast.base.limits import HOST_LEASE_S
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.clock import clock_watched
from holdfast.control.store.fencing.host_fence import host_fence_delete
from holdfast.control.store.fencing.host_lease import (
    departed_since,
    hosts_that_share_disks,
    lease_fetch,
    lease_forget,
    lease_write,
    leases_extend,
    leases_fetch,
)
from holdfast.control.store.host import host_delete, host_names, host_update
from holdfast.control.store.identity.enrolment import enrolment_forget
from holdfast.control.store.instance import host_is_used
from holdfast.control.store.placement.build_failures import build_failures_forget
from holdfast.control.store.placement.passage import host_has_passages
from holdfast.control.store.volume.rows import host_keeps_files
from holdfast.domain.host import Host
from holdfast.domain.lease import HostLease, HostPhase, nobody

log = logs.get(__name__)
REGISTER_FIRST = "register_first"


def host_register(tx: Tx, host_id: str, boot_id: str, machine: str) -> HostLease:
    """Begin a new incarnation; Conflict while another machine, or another boot, may still run this host's guests.

    A host that is fenced may come back as another machine: its directory was moved, or restored.
    """
    before, name = lease_fetch(tx, host_id), host_names(tx).get(host_id)
    if name is None:
        raise Unauthenticated("this host is not known here any more")  # its token may be known for a while longer
    fenced = before.phase is HostPhase.FENCED
    if before.machine not in ("", machine) and not fenced:
        raise Conflict(
            f"host {name} is another machine or another directory, and a copy of it runs nothing. If it moved here, "
            f"and what it was is off for good: holdfast host fence {name} --confirmed",
            code="identity",
        )
    watch = clock_watched(tx)
    may_run = before.enforced and not fenced and not before.lapsed(watch, tx.now_us)
    if before.boot_id not in ("", boot_id) and may_run:
        left_s = math.ceil(before.left_s(watch, tx.now_us))
        raise Conflict(f"another boot of host {name} may run its guests for {left_s} s more", code="lease")
    after = msgspec.structs.replace(
        before,
        phase=HostPhase.RETURNING if departed_since(tx, host_id, 0) else HostPhase.MEMBER,
        incarnation=before.incarnation + 1,
        boot_id=boot_id,
        machine=machine,
        fenced_us=0,
        fenced_by="",
    )
    lease_write(tx, after)
    log.info("host_registered", host=name, incarnation=after.incarnation, phase=after.phase.value)
    return after


def host_admitted(tx: Tx, host_id: str, incarnation: int) -> HostLease:
    """The lease of whoever speaks for a host; Conflict unless that is its last registration, and it is not fenced."""
    lease = lease_fetch(tx, host_id)
    if refusal := lease_refusal(lease, incarnation):
        raise refusal
    return lease


def lease_refusal(lease: HostLease, incarnation: int) -> Conflict | None:
    """What whoever speaks for an incarnation of a host is told, or None when it may speak."""
    if incarnation != lease.incarnation or not incarnation:
        words = f"incarnation {incarnation} of this host is not the last one, which is {lease.incarnation}"
        return Conflict(f"{words}: register first", code=REGISTER_FIRST)
    if lease.phase is HostPhase.FENCED:
        words = "this host was fenced: its instances may run elsewhere; register first"
        return Conflict(words, code=REGISTER_FIRST)
    return None


class Renewal(msgspec.Struct, frozen=True):
    """What a keeper asks for."""

    host_id: str
    incarnation: int
    boot_id: str
    evacuates: bool  # the cloud does so by itself (setting `evacuate`)


def leases_renew(tx: Tx, asked: Sequence[Renewal]) -> list[tuple[float, bool] | HoldfastError]:
    """Grant leases from now on. The answer to each is what it is refused with, or (seconds that it is valid, whether
    the keeper must enforce it); however many ask, the statements are as many as for one.

    Only to the boot that registered: a keeper that came back before its agent finds the number of the boot before, and
    would keep its lease from lapsing, and this boot from registering, for ever.

    It is enforced where another host could run the guests without asking this one: where it has the same disks and
    the cloud evacuates by itself. Anywhere else, ending guests because the control plane is away would only lose them.
    """
    leases = leases_fetch(tx, [each.host_id for each in asked])
    refusals = [_renewal_refusal(leases.get(each.host_id) or nobody(each.host_id), each) for each in asked]
    granted = [each for each, refusal in zip(asked, refusals, strict=True) if refusal is None]
    sharing = hosts_that_share_disks(tx, [each.host_id for each in granted if each.evacuates])
    leases_extend(tx, tx.now_us + HOST_LEASE_S * SECOND_US, {each.host_id: each.host_id in sharing for each in granted})
    return [refusal or (HOST_LEASE_S, each.host_id in sharing) for each, refusal in zip(asked, refusals, strict=True)]


def lease_renew(tx: Tx, asked: Renewal) -> tuple[float, bool]:
    """Grant one; raises what it is refused with."""
    answer = leases_renew(tx, [asked])[0]
    if isinstance(answer, HoldfastError):
        raise answer
    return answer


def _renewal_refusal(lease: HostLease, asked: Renewal) -> Conflict | None:
    if refusal := lease_refusal(lease, asked.incarnation):
        return refusal
    if lease.boot_id != asked.boot_id:
        return Conflict("this boot of the host has not registered yet: register first", code=REGISTER_FIRST)
    return None


def host_returned(tx: Tx, host_id: str) -> None:
    """It confirmed that all that left it is gone: it gets new instances again."""
    lease = lease_fetch(tx, host_id)
    if lease.phase is HostPhase.RETURNING and not departed_since(tx, host_id, 0):
        lease_write(tx, msgspec.structs.replace(lease, phase=HostPhase.MEMBER))
        log.info("host_returned", host=host_names(tx).get(host_id, host_id))


def host_enable(tx: Tx, host_id: str, enabled: bool, reason: str = "") -> None:
    """Say whether a host gets new instances. Enabled, it was looked at: what it failed to build counts no more."""
    if enabled:
        build_failures_forget(tx, host_id)
    host_update(tx, host_id, enabled=enabled, disabled_reason="" if enabled else reason)


def host_forget(tx: Tx, host: Host) -> None:
    """Forget a host that holds nothing: its agent is refused from then on. Conflict names what it still holds."""
    if host_is_used(tx, host.id) or host_has_passages(tx, host.id):
        raise Conflict(
            "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
        )
    if host_keeps_files(tx, host.id):
        raise Conflict(f"Host {host.name} keeps volumes or snapshots. Delete them first.")
    if departed_since(tx, host.id, 0) and lease_fetch(tx, host.id).phase is not HostPhase.FENCED:
        raise Conflict(f"Host {host.name} may still run what left it: fence it first: holdfast host fence {host.name}")
    lease_forget(tx, host.id)
    host_fence_delete(tx, host.id)
    enrolment_forget(tx, host.id)
    build_failures_forget(tx, host.id)
    host_delete(tx, host.id)
