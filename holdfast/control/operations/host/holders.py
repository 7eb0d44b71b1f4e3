"""Who holds an instance, and who may still: nobody takes over what another one may be running.

An instance that leaves a host without that host's word leaves a `departed` row behind. It may be held by another
host, or given back, only while each of its former holders is fenced or has confirmed.
"""

from __future__ import annotations

from holdfast.base import log as logs
from holdfast.control.operations.host.fencing import fence_try
from holdfast.control.operations.host.lease import host_returned
from holdfast.control.operations.network.port_instance import instance_ports_move
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import (
    departed_add,
    departed_drop,
    departed_fetch,
    departed_from,
    hosts_of_store,
    lease_fetch,
)
from holdfast.control.store.host import allocation_delete, host_fetch, host_names
from holdfast.control.store.instance import instance_change, observations_delete
from holdfast.domain.instance import Instance
from holdfast.domain.lease import HostPhase

log = logs.get(__name__)


def holder_is_fenced(tx: Tx, host_id: str) -> bool:
    """Whether a host is fenced, or can be now."""
    host = host_fetch(tx, host_id)
    return host is None or not fence_try(tx, host)


def holders_unsure(tx: Tx, instance_id: str, but: str = "") -> list[str]:
    """Names of the former holders that may still run an instance; `but`: one that need not be looked at."""
    names = host_names(tx)
    return [
        names.get(row.host_id, row.host_id)
        for row in departed_from(tx, instance_id)
        if row.host_id != but and lease_fetch(tx, row.host_id).phase is not HostPhase.FENCED
    ]


def holders_former(tx: Tx, instance_id: str, but: str = "") -> dict[str, str]:
    """Why an instance cannot go there now, by host: each that it left, and that has not confirmed it; not `but`."""
    former = departed_from(tx, instance_id)
    return {each.host_id: "what it had of it is not removed there yet" for each in former if each.host_id != but}


def holder_left(tx: Tx, row: Instance, erase: bool = False) -> Instance:
    """Take an instance from its host without the host's word; returns the new row, which is on no host.

    `erase`: the host removes its disks as well, when it is back.
    """
    departed_add(tx, row.id, row.host_id, row.generation + 1, erase)
    allocation_delete(tx, row.id)
    observations_delete(tx, [row.id])
    instance_ports_move(tx, row.id, "")
    return instance_change(tx, row, host_id="", present=False)


def holder_confirmed(tx: Tx, host_id: str, instance_id: str, generation: int) -> None:
    """A host says that nothing of an instance is left there."""
    row = departed_fetch(tx, instance_id, host_id)
    if row is not None and generation >= row.generation:
        departed_drop(tx, instance_id, host_id)
        log.info("host_confirmed_departure", instance=instance_id, host=host_id)
        host_returned(tx, host_id)


def disks_erase(tx: Tx, row: Instance, dead_host_id: str) -> bool:
    """Have somebody who is alive remove the disks of a deleted instance, where its dead host shared them.

    False while none of those who share them is alive.
    """
    host = host_fetch(tx, dead_host_id)
    others = hosts_of_store(tx, host.disk_store, dead_host_id) if host else []
    for other_id in others:
        other = host_fetch(tx, other_id)
        if other is not None and other.is_up(tx.now_us) and lease_fetch(tx, other_id).phase is HostPhase.MEMBER:
            departed_add(tx, row.id, other_id, row.generation, erase=True)
            return True
    return not others
