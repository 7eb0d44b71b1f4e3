"""What happens when a host speaks: its words become observations, and whoever waits for them is woken.

A report is applied in one transaction. It writes only what reports own (observations, the host's own
columns) and two facts that follow from them at once: a host that says an instance is gone gives its room
back, and a guest that shut itself down is from now on meant to be stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.control.operations.host.holders import holder_confirmed
from holdfast.control.operations.host.lease import lease_refusal
from holdfast.control.operations.network.floating_ip import floating_ip_observed
from holdfast.control.operations.network.hosts import tunnel_end_observed
from holdfast.control.operations.network.port_instance import instance_ports_observed
from holdfast.control.operations.server.passing import passages_observed
from holdfast.control.operations.volume.report import files_observed, machines_observed
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import leases_fetch
from holdfast.control.store.host import allocation_delete, host_addresses, hosts_update
from holdfast.control.store.instance import (
    instance_change,
    instance_fetch,
    instance_update,
    observations_delete,
    observations_of_host,
    observations_of_instances,
    observations_write,
)
from holdfast.control.store.operation import operation_open_of, operations_wake
from holdfast.domain.desired import Power
from holdfast.domain.instance import InstanceState, Observation
from holdfast.domain.lease import nobody
from holdfast.domain.observed import HostReport, MachineReport, Phase

log = logs.get(__name__)
GUEST_SHUTDOWN = "guest-shutdown"


class Said(msgspec.Struct, frozen=True):
    """A report, and which incarnation of which host made it."""

    host_id: str
    incarnation: int
    report: HostReport


def host_reports_take(tx: Tx, said: Sequence[Said]) -> list[HoldfastError | None]:
    """Take the words of hosts; the answer to each is what it is refused with. What all of them say costs no more
    statements than what one says."""
    leases = leases_fetch(tx, [each.host_id for each in said])
    refusals = [lease_refusal(leases.get(each.host_id) or nobody(each.host_id), each.incarnation) for each in said]
    taken = [(each.host_id, each.report) for each, refusal in zip(said, refusals, strict=True) if refusal is None]
    _hosts_observed(tx, taken)
    for host_id, report in taken:
        _news_observed(tx, host_id, report)
    return list(refusals)


def host_report_take(tx: Tx, said: Said) -> None:
    """Take the word of one host; raises what it is refused with."""
    for refusal in host_reports_take(tx, [said]):
        if refusal is not None:
            raise refusal


def host_report_apply(tx: Tx, host_id: str, report: HostReport) -> None:
    """Take a host's word for everything it is the owner of."""
    _hosts_observed(tx, [(host_id, report)])
    _news_observed(tx, host_id, report)


def _hosts_observed(tx: Tx, said: Sequence[tuple[str, HostReport]]) -> None:
    """What each report says of its host itself."""
    addresses = host_addresses(tx, [host_id for host_id, _ in said])
    for host_id, report in said:
        if addresses.get(host_id, "") != report.capabilities.address:
            tunnel_end_observed(tx, host_id, report.capabilities.address)
    hosts_update(tx, [(host_id, _own_columns(report, tx.now_us)) for host_id, report in said])


def _own_columns(report: HostReport, now_us: int) -> dict[str, Any]:
    return {
        "capabilities": report.capabilities,
        "problems": report.problems,
        "unknown": report.unknown,
        "images": report.images,
        "desired_version": report.desired_version,
        "disk_free_gib": report.disk_free_gib,
        "disk_store": report.capabilities.disk_store,
        "reported_us": now_us,
    }


def _news_observed(tx: Tx, host_id: str, report: HostReport) -> None:
    """What it says of machines, addresses and files."""
    if report.full or report.machines:
        _machines_observed(tx, host_id, report)
    for floating in report.floating:
        floating_ip_observed(tx, floating.id, floating.fixed, floating.up, floating.reason, host_id)
    if report.full or report.volumes:
        files_observed(tx, host_id, report.volumes, report.full)


def _machines_observed(tx: Tx, host_id: str, report: HostReport) -> None:
    said = {machine.instance_id: machine for machine in report.machines}
    known = observations_of_host(tx, host_id) if report.full else observations_of_instances(tx, host_id, list(said))
    changed = [_observation(tx, host_id, m) for m in said.values() if _differs(known.get(m.instance_id), m)]
    accepted = [seen for seen in changed if _settle(tx, host_id, seen)]
    observations_write(tx, accepted)
    for machine in said.values():  # said again and again, so that an act in the way only delays it
        if machine.phase is Phase.STOPPED and machine.reason == GUEST_SHUTDOWN:
            _shut_down(tx, host_id, machine)
    if report.full:
        observations_delete(tx, [instance_id for instance_id in known if instance_id not in said])
    operations_wake(tx, [seen.instance_id for seen in changed])
    machines_observed(tx, [seen.instance_id for seen in changed])
    passages_observed(tx, host_id, report.machines)


def _observation(tx: Tx, host_id: str, machine: MachineReport) -> Observation:
    return Observation(
        instance_id=machine.instance_id,
        host_id=host_id,
        generation=machine.generation,
        boot=machine.boot,
        disk=machine.disk,
        phase=machine.phase,
        reason=machine.reason,
        code=machine.code,
        retryable=machine.retryable,
        step=machine.step,
        volumes=machine.volumes,
        volume_problem=machine.volume_problem,
        at_us=tx.now_us,
    )


def _differs(known: Observation | None, said: MachineReport) -> bool:
    if known is None:
        return True
    before = (known.generation, known.boot, known.disk, known.phase, known.reason, known.step)
    volumes = (known.volumes, known.volume_problem)
    now = (said.generation, said.boot, said.disk, said.phase, said.reason, said.step)
    return (before, volumes) != (now, (said.volumes, said.volume_problem))


def _settle(tx: Tx, host_id: str, seen: Observation) -> bool:
    """Give back what a machine that is gone held; returns whether the observation is to be kept."""
    row = instance_fetch(tx, seen.instance_id)
    if seen.phase == Phase.ABSENT:  # also of one that left it before, came back, and is gone for good now
        holder_confirmed(tx, host_id, seen.instance_id, seen.generation)
    if row is None or row.host_id != host_id:
        return False  # another host owns it now: this one's word about it does not count
    if seen.phase == Phase.ABSENT:
        if not row.present and seen.generation >= row.generation:
            allocation_delete(tx, row.id)
            observations_delete(tx, [row.id])
            instance_update(tx, row, host_id="")
            log.info("host_released_instance", instance=row.id, host=host_id)
        return False
    if row.state is InstanceState.FAILED and row.disk_made < seen.disk:  # it came late: there may be data on it
        instance_update(tx, row, disk_made=min(seen.disk, row.disk))
    instance_ports_observed(tx, row.id, seen.phase == Phase.RUNNING)
    return True


def _shut_down(tx: Tx, host_id: str, said: MachineReport) -> None:
    """A guest that turned itself off is from now on meant to be off, unless an act is about to say otherwise."""
    row = instance_fetch(tx, said.instance_id)
    if row is None or row.host_id != host_id or said.generation < row.generation:
        return
    if row.power is Power.RUNNING and row.state is InstanceState.READY and not operation_open_of(tx, row.id):
        instance_change(tx, row, power=Power.STOPPED)
        log.info("guest_shut_itself_down", instance=row.id, host=host_id)
