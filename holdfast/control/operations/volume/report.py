"""What hosts say of volumes and snapshots: which files are there, and which are gone."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.control.store.database import Tx
from holdfast.control.store.operation import operations_wake
from holdfast.control.store.volume.attachments import attachments_of_instances
from holdfast.control.store.volume.observations import (
    file_observations_delete,
    file_observations_of_host,
    file_observations_write,
)
from holdfast.control.store.volume.rows import file_fetch, row_update
from holdfast.domain.observed import FilePhase, VolumeReport
from holdfast.domain.volume import VolumeObservation


def files_observed(tx: Tx, host_id: str, reports: Sequence[VolumeReport], full: bool) -> None:
    """Take a host's word for the files that it keeps, and wake whoever waits for them."""
    known = file_observations_of_host(tx, host_id)
    said = {report.id: report for report in reports}
    changed = [_observation(tx, host_id, report) for report in said.values()]
    changed = [seen for seen in changed if _differs(known.get(seen.volume_id), seen)]
    file_observations_write(tx, [seen for seen in changed if _settle(tx, host_id, seen)])
    if full:
        file_observations_delete(tx, [file_id for file_id in known if file_id not in said])
    operations_wake(tx, [seen.volume_id for seen in changed])


def machines_observed(tx: Tx, instance_ids: Sequence[str]) -> None:
    """Wake whoever waits for these machines to plug in or let go."""
    operations_wake(tx, [row.volume_id for row in attachments_of_instances(tx, instance_ids)])


def _observation(tx: Tx, host_id: str, report: VolumeReport) -> VolumeObservation:
    return VolumeObservation(
        volume_id=report.id,
        host_id=host_id,
        generation=report.generation,
        phase=report.phase,
        size_gib=report.size_gib,
        reason=report.reason,
        code=report.code,
        retryable=report.retryable,
        at_us=tx.now_us,
    )


def _differs(known: VolumeObservation | None, seen: VolumeObservation) -> bool:
    if known is None:
        return True
    before = (known.generation, known.phase, known.size_gib, known.reason, known.retryable)
    return before != (seen.generation, seen.phase, seen.size_gib, seen.reason, seen.retryable)


def _settle(tx: Tx, host_id: str, seen: VolumeObservation) -> bool:
    """Let go of a file that is gone; returns whether the observation is to be kept."""
    row = file_fetch(tx, seen.volume_id)
    if row is None or row.host_id != host_id:
        return False  # it is kept elsewhere, or nowhere: this host's word about it does not count
    if seen.phase != FilePhase.ABSENT:
        return True
    if not row.present and seen.generation >= row.generation:
        row_update(tx, row, host_id="")
        file_observations_delete(tx, [row.id])
    return False
