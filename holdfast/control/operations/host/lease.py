"""Registration and the lease: the two things that a host asks for before it runs anything.

A registration begins a new incarnation. Whoever speaks for an older one is told to register first, and forgets
what it knew: a host that was away cannot start a guest from an old desired state under a new lease.
"""

from __future__ import annotations

import msgspec

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.config import Settings
from holdfast.base.errors import Conflict, Unauthenticated
from holdfast.base.limits import HOST_LEASE_S
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_delete, host_names, host_update
from holdfast.control.store.host_fence import host_fence_delete
from holdfast.control.store.host_lease import (
    departed_since,
    hosts_sharing_disks,
    lease_extend,
    lease_fetch,
    lease_forget,
    lease_write,
)
from holdfast.control.store.identity.enrolment import enrolment_forget
from holdfast.control.store.instance import host_is_used
from holdfast.control.store.placement.passage import host_has_passages
from holdfast.control.store.volume.rows import host_keeps_files
from holdfast.domain.host import Host
from holdfast.domain.lease import HostLease, HostPhase

log = logs.get(__name__)
REGISTER_FIRST = "register_first"


def host_register(tx: Tx, host_id: str, boot_id: str, machine: str) -> HostLease:
    """Begin a new incarnation; Conflict while another machine, or another boot, may still run this host's guests.

    A host that is fenced may come back as another machine: its directory was moved, or restored.
    """
    before, name = lease_fetch(tx, host_id), host_names(tx).get(host_id)
    if name is None:
        raise Unauthenticated("this host is not known here any more")  # its token may be known for a while longer
    if before.machine not in ("", machine) and before.phase is not HostPhase.FENCED:
        raise Conflict(
            f"host {name} is another machine or another directory, and a copy of it runs nothing. If it moved here, "
            f"and what it was is off for good: holdfast host fence {name} --confirmed",
            code="identity",
        )
    if before.boot_id not in ("", boot_id) and before.enforced and not before.lapsed(tx.now_us):
        left_s = (before.until_us - tx.now_us) // SECOND_US
        raise Conflict(f"another boot of host {name} may run its guests for {max(left_s, 0) + 1} s more", code="lease")
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
    if incarnation != lease.incarnation or not incarnation:
        words = f"incarnation {incarnation} of this host is not the last one, which is {lease.incarnation}"
        raise Conflict(f"{words}: register first", code=REGISTER_FIRST)
    if lease.phase is HostPhase.FENCED:
        raise Conflict("this host was fenced: its instances may run elsewhere; register first", code=REGISTER_FIRST)
    return lease


def lease_renew(tx: Tx, settings: Settings, host_id: str, incarnation: int, boot_id: str) -> tuple[float, bool]:
    """Grant the lease from now on; returns (seconds that it is valid, whether the keeper must enforce it).

    Only to the boot that registered: a keeper that came back before its agent finds the number of the boot before, and
    would keep its lease from lapsing, and this boot from registering, for ever.

    It is enforced where another host could run the guests without asking this one: where it has the same disks and
    the cloud evacuates by itself. Anywhere else, ending guests because the control plane is away would only lose them.
    """
    if host_admitted(tx, host_id, incarnation).boot_id != boot_id:
        raise Conflict("this boot of the host has not registered yet: register first", code=REGISTER_FIRST)
    enforced = settings.evacuate == "auto" and hosts_sharing_disks(tx, host_id)
    lease_extend(tx, host_id, tx.now_us + HOST_LEASE_S * SECOND_US, enforced)
    return HOST_LEASE_S, enforced


def host_returned(tx: Tx, host_id: str) -> None:
    """It confirmed that all that left it is gone: it gets new instances again."""
    lease = lease_fetch(tx, host_id)
    if lease.phase is HostPhase.RETURNING and not departed_since(tx, host_id, 0):
        lease_write(tx, msgspec.structs.replace(lease, phase=HostPhase.MEMBER))
        log.info("host_returned", host=host_names(tx).get(host_id, host_id))


def host_enable(tx: Tx, host_id: str, enabled: bool, reason: str = "") -> None:
    """Say whether a host gets new instances."""
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
    host_delete(tx, host.id)
