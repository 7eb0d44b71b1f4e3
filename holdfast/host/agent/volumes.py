"""The files of volumes and snapshots, made equal to what is asked for; and the volumes of machines, plugged in.

Two halves that meet on the disk. `VolumeKeeping` makes, grows and removes files with threads of its own, so that
a long copy holds up no machine. `Plugging` compares the volumes that a machine has with those that it is to have.
A file is made before its machine is told of it, and a file is removed only after no machine names it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import msgspec

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import FAILED_AGAIN_S, REPORT_PERIOD_S, SWEEP_PERIOD_S, UNPLUG_S, VOLUME_WORKERS
from holdfast.domain.desired import Machine, VolumeFile
from holdfast.domain.observed import FilePhase, VolumeReport
from holdfast.host.agent.board import Due, Said
from holdfast.host.agent.desk import Desk
from holdfast.host.hypervisor.driver import Hypervisor, Volume
from holdfast.host.volumes.files import GIB, VolumeFiles

log = logs.get(__name__)


class VolumeKeeping:
    """Every file of the desk's volumes. `said` holds what is to be reported."""

    def __init__(self, files: VolumeFiles, desk: Desk, said: Said[VolumeReport]) -> None:
        self._files, self._desk, self.said = files, desk, said
        self._due = Due()
        self._failed_at: dict[str, float] = {}

    def run(self, stopping: threading.Event) -> None:
        """Work until told to stop."""
        workers = [threading.Thread(target=self._work, args=(stopping,), daemon=True) for _ in range(VOLUME_WORKERS)]
        for worker in workers:
            worker.start()
        while not stopping.wait(SWEEP_PERIOD_S):
            if self._desk.known:
                self.sweep()

    def wanted(self, file_ids: list[str]) -> None:
        """These changed."""
        self._due.add(file_ids)

    def sweep(self) -> None:
        """Mark whatever differs from what is asked for."""
        try:
            sizes = self._files.sizes()
        except OSError as err:
            log.warn("volumes_not_seen", reason=str(err))
            return
        self._due.add([wanted.id for wanted in self._desk.volumes() if self._is_due(wanted, sizes.get(wanted.id))])

    def strangers(self) -> set[str]:
        """Files that nobody asked for: left alone, reported. In a shared directory most are other hosts'."""
        if self._files.shared:
            return set()
        return set(self._files.sizes()) - {wanted.id for wanted in self._desk.volumes()}

    def heard(self, reports: tuple[VolumeReport, ...]) -> None:
        """What was reported as gone needs no more words."""
        for report in reports:
            if report.phase is FilePhase.ABSENT:
                self.said.forget(report)
                self._desk.forget_volume(report.id, report.generation)

    def reconcile(self, wanted: VolumeFile) -> VolumeReport:
        """Do what is due; returns what is to be reported."""
        with logs.bind(volume=wanted.id):
            try:
                if not wanted.present:
                    self._files.remove(wanted.id)
                    log.info("volume_file_removed")
                    return VolumeReport(wanted.id, wanted.generation, FilePhase.ABSENT)
                self._files.make(self._as_known(wanted))
            except HoldfastError as err:
                log.warn("volume_failed", code=err.code, reason=err.message, detail=err.detail)
                return self._failed(wanted, err.message, err.code, err.retryable)
            except Exception as err:  # the boundary of one file: the others go on
                log.exception("volume_bug")
                return self._failed(wanted, f"unexpected {type(err).__name__} on the host", "bug", True)
        return VolumeReport(wanted.id, wanted.generation, FilePhase.MADE, wanted.size_gib)

    def _as_known(self, wanted: VolumeFile) -> VolumeFile:
        """What was made here is not made again, whatever the record says that was heard before.

        In a shared directory the volume may be another host's by now, and deleted there.
        """
        said = self.said.of(wanted.id)
        return msgspec.structs.replace(wanted, made=wanted.made or (said is not None and said.phase is FilePhase.MADE))

    def _failed(self, wanted: VolumeFile, reason: str, code: str, retryable: bool) -> VolumeReport:
        self._failed_at[wanted.id] = time.monotonic()
        return VolumeReport(wanted.id, wanted.generation, FilePhase.FAILED, 0, reason, code, retryable)

    def _work(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            file_id = self._due.take(REPORT_PERIOD_S)
            if file_id is None:
                continue
            wanted = self._desk.volume(file_id)
            if wanted is not None:
                self.said.say(self.reconcile(wanted))
            self._due.done(file_id)

    def _is_due(self, wanted: VolumeFile, size_bytes: int | None) -> bool:
        said = self.said.of(wanted.id)
        if said is None or said.generation != wanted.generation:
            return True
        if said.phase is FilePhase.FAILED:
            return said.retryable and time.monotonic() - self._failed_at.get(wanted.id, 0.0) > FAILED_AGAIN_S
        if not wanted.present:
            return size_bytes is not None
        return size_bytes is None or size_bytes < wanted.size_gib * GIB


class Plugging:
    """The volumes of machines, plugged in and taken out while they run."""

    def __init__(self, hypervisor: Hypervisor, files: VolumeFiles) -> None:
        self._hypervisor, self._files = hypervisor, files

    def of(self, machine: Machine) -> tuple[Volume, ...]:
        """What a machine starts with."""
        return tuple(Volume(v.volume_id, self._files.path(v.volume_id), v.slot) for v in machine.volumes)

    def look(self, machine: Machine) -> dict[str, int]:
        """What a running machine has, in bytes."""
        return dict(self._hypervisor.volumes(machine.instance_id))

    def differs(self, machine: Machine, has: dict[str, int]) -> bool:
        """Whether anything is to be done."""
        wanted = {volume.volume_id: volume.size_gib * GIB for volume in machine.volumes}
        return has.keys() != wanted.keys() or any(has[volume_id] < size for volume_id, size in wanted.items())

    def settle(self, machine: Machine) -> tuple[dict[str, int] | None, str]:
        """Make a running machine have what it is to have; returns what it has after, and what stood in the way.

        One volume that cannot be plugged in, or that the guest holds on to, holds up no other. None: it could not
        be seen, and nobody may conclude that a volume is free.
        """
        has = self._seen(machine)
        if has is None:
            return None, "the monitor does not answer"
        if not self.differs(machine, has):
            return has, ""
        wanted = {volume.volume_id for volume in machine.volumes}
        problems = [self._take_out(machine, volume_id) for volume_id in has.keys() - wanted]
        problems += [self._plug(machine, volume) for volume in self.of(machine) if volume.id not in has]
        problems += [
            self._grow(machine, item.volume_id, item.size_gib * GIB)
            for item in machine.volumes
            if 0 < has.get(item.volume_id, 0) < item.size_gib * GIB
        ]
        return self._seen(machine), "; ".join(filter(None, problems))

    def _seen(self, machine: Machine) -> dict[str, int] | None:
        try:
            return self.look(machine)
        except HoldfastError as err:
            log.warn("volumes_of_machine_not_seen", reason=err.message)
            return None

    def _plug(self, machine: Machine, volume: Volume) -> str:
        try:
            self._hypervisor.plug(machine.instance_id, volume)
        except (HoldfastError, OSError) as err:
            return _problem("volume_not_plugged", volume.id, err)
        log.info("volume_plugged", volume=volume.id, slot=volume.slot)
        return ""

    def _take_out(self, machine: Machine, volume_id: str) -> str:
        try:
            gone = self._hypervisor.unplug(machine.instance_id, volume_id, UNPLUG_S)
        except HoldfastError as err:
            return _problem("volume_not_unplugged", volume_id, err)
        log.info("volume_unplug_tried", volume=volume_id, gone=gone)
        return "" if gone else f"the guest still holds volume {volume_id}"

    def _grow(self, machine: Machine, volume_id: str, size_bytes: int) -> str:
        try:
            self._hypervisor.grow(machine.instance_id, volume_id, size_bytes)
        except HoldfastError as err:
            return _problem("volume_not_grown", volume_id, err)
        log.info("volume_grown", volume=volume_id, size_bytes=size_bytes)
        return ""


def in_gib(has: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Volumes and their sizes in bytes as they are reported."""
    return tuple(sorted((volume_id, size_bytes // GIB) for volume_id, size_bytes in has.items()))


def _problem(event: str, volume_id: str, err: Exception) -> str:
    reason = err.message if isinstance(err, HoldfastError) else str(err)
    log.warn("volume_problem", what=event, volume=volume_id, reason=reason)
    return f"volume {volume_id}: {reason}"
