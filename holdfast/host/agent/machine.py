"""One machine made equal to its desired record.

`decide` is pure: the record, the numbers reached, what is seen; out comes the next act, one at a time, until
there is none. `Worker.reconcile` does them, and turns every failure into a word of the report.

A root disk that was made once is adopted and never made again, here or on the next host.

A guest that shut itself down stays down until its owner starts it: restarting it would take away the only way
to stop it from inside. One that crashed, was killed, or ran when the host went down is started again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import REBOOT_GRACE_S, STOP_GRACE_S
from holdfast.domain.desired import Machine, Move, MoveRole, Power
from holdfast.domain.observed import MachineReport, Phase
from holdfast.host.agent.moving import Mover
from holdfast.host.agent.networking import Networking
from holdfast.host.agent.parts import Disks, Network
from holdfast.host.agent.reached import Reached, ReachedFiles
from holdfast.host.agent.volumes import Plugging, in_gib
from holdfast.host.hypervisor.driver import Hypervisor, MachineSpec, Observed, Reason, Run, SendState

log = logs.get(__name__)
ELSEWHERE = (Reason.RECEIVING, Reason.RECEIVED, Reason.SENT)  # its guest may be, or run, on another host
ACTS_MAX = 8  # of one round; a machine needs four at most


class Act(StrEnum):
    """What to do next."""

    REMOVE = "remove"
    STOP = "stop"
    RENEW_DISK = "renew_disk"
    ADOPT_DISK = "adopt_disk"
    START = "start"
    RESUME = "resume"
    PAUSE = "pause"
    MOVE = "move"
    STAY = "stay"
    ACTIVATE = "activate"
    NONE = "none"


def decide(machine: Machine, reached: Reached, seen: Observed | None) -> Act:
    """Return the next act."""
    run = seen.run if seen else Run.STOPPED
    if not machine.present:
        return Act.REMOVE
    moving = decide_move(machine, reached, seen)
    if moving is not None:
        return moving
    if reached.disk < machine.disk <= machine.disk_made:
        return Act.ADOPT_DISK
    if reached.disk < machine.disk:
        return Act.RENEW_DISK if run is Run.STOPPED else Act.STOP
    if machine.power is Power.STOPPED:
        return Act.NONE if run is Run.STOPPED else Act.STOP
    if run is Run.STOPPED:
        own_wish = seen is not None and seen.reason is Reason.GUEST_SHUTDOWN
        return Act.NONE if own_wish and reached.generation >= machine.generation else Act.START
    if reached.boot < machine.boot:
        return Act.STOP
    if machine.power is Power.PAUSED:
        return Act.NONE if run is Run.PAUSED else Act.PAUSE
    return Act.RESUME if run is Run.PAUSED and reached.phase is Phase.PAUSED else Act.NONE


def decide_move(machine: Machine, reached: Reached, seen: Observed | None) -> Act | None:
    """Return what a live move asks for; None: there is none, and all is as ever.

    Only a record without a move, newer than any that spoke of it here, lets a guest run that came or went: such
    a record is made in the transaction that decides who owns the instance.
    """
    run, reason = (seen.run, seen.reason) if seen else (Run.STOPPED, Reason.NONE)
    if machine.move is not None:
        # a guest that is to be sent and is not there is started as ever first; not once this try has begun, for it may
        # have been sent, have ended here by a lease that lapsed, and run elsewhere (seed 1460)
        begins = machine.move.role is MoveRole.SEND and reached.move != machine.move.id
        return None if begins and run is Run.STOPPED else Act.MOVE
    # RECEIVING may be an old sight of a guest that has arrived: it is never ended for that, and a driver that still
    # waits refuses to activate
    if reason in ELSEWHERE:
        return Act.ACTIVATE if machine.generation > reached.generation else Act.NONE
    return Act.STAY if reached.move and run is not Run.STOPPED else None


class Later(Exception):
    """A machine, or its disk, may not be touched now; the words say what it waits for."""


class Worker:
    """Reconciles machines, one at a time per caller; several threads may work on different machines."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        networking: Networking,
        network: Network,
        disks: Disks,
        reached: ReachedFiles,
        plugging: Plugging,
        why_not_run: Callable[[Machine], str] = lambda _: "",
    ) -> None:
        """`why_not_run` is asked at the moment of a start or of a change to a disk; it waits while there are words."""
        self._hypervisor, self._networking, self._network = hypervisor, networking, network
        self._disks, self._reached, self._plugging = disks, reached, plugging
        self._why_not_run = why_not_run
        self._mover = Mover(hypervisor, self._spec)

    def reconcile(self, machine: Machine, seen: Observed | None) -> tuple[MachineReport, Observed | None]:
        """Do what is due; returns what is to be reported, and what the machine is seen to do after it."""
        with logs.bind(instance=machine.instance_id):
            try:
                return self._reconcile(machine, seen)
            except Later as later:
                return self._report(machine, Phase.PREPARING, step=str(later)), seen
            except HoldfastError as err:
                log.warn("machine_failed", code=err.code, reason=err.message, detail=err.detail)
                return self._report(machine, Phase.FAILED, err.message, err.code, err.retryable), seen
            except Exception as err:  # the boundary of one machine: the others go on
                log.exception("machine_bug")
                words = f"unexpected {type(err).__name__} on the host"
                return self._report(machine, Phase.FAILED, words, "bug", True), seen

    def _reconcile(self, machine: Machine, seen: Observed | None) -> tuple[MachineReport, Observed | None]:
        for _ in range(ACTS_MAX):
            act = decide(machine, self._reached.get(machine.instance_id), seen)
            if act is Act.NONE:
                break
            log.info("machine_act", act=act.value, generation=machine.generation)
            if act is Act.REMOVE:
                return self._remove(machine), None
            if act is Act.MOVE and machine.move is not None:
                return self._move(machine, machine.move)
            seen = self._do(act, machine, seen)
        return self._done(machine, seen), seen

    def _do(self, act: Act, machine: Machine, seen: Observed | None) -> Observed:
        instance_id, before = machine.instance_id, self._reached.get(machine.instance_id)
        if act is Act.STOP:
            self._hypervisor.stop(instance_id, self._grace_s(machine))
            return Observed(instance_id, Run.STOPPED, 0, Reason.STOPPED)
        if act is Act.RENEW_DISK:
            self._wait_for_right(machine)
            if self._disks.is_made(machine):  # and a guest may have written to it since (seed 4577)
                self._disks.adopt(machine)
            else:
                self._disks.prepare(machine, fresh=True)
            self._reached.put(instance_id, Reached(before.generation, before.boot, machine.disk, Phase.STOPPED))
            return Observed(instance_id, Run.STOPPED, 0, Reason.NONE)
        if act is Act.ADOPT_DISK:
            self._disks.adopt(machine)
            self._reached.put(instance_id, Reached(before.generation, before.boot, machine.disk, before.phase))
            return seen or Observed(instance_id, Run.STOPPED, 0, Reason.NONE)
        if act is Act.START:
            self._wait_for_right(machine)
            spec = self._spec(machine)
            self._wait_for_right(machine)
            self._hypervisor.start(spec)
            self._reached.put(instance_id, Reached(before.generation, machine.boot, machine.disk, Phase.RUNNING))
            return Observed(instance_id, Run.RUNNING, 0)
        if act is Act.STAY:
            sent = self._hypervisor.cancel_send(instance_id).state is SendState.SENT
            self._reached.put(instance_id, msgspec.structs.replace(before, move=""))
            stays = seen or Observed(instance_id, Run.RUNNING, 0)
            return Observed(instance_id, Run.PAUSED, 0, Reason.SENT) if sent else stays
        if act is Act.ACTIVATE:
            self._wait_for_right(machine)
            self._networking.applied(machine)
            self._hypervisor.activate(instance_id, machine.power is Power.PAUSED)
            return Observed(instance_id, Run.PAUSED if machine.power is Power.PAUSED else Run.RUNNING, 0)
        self._hypervisor.pause(instance_id, act is Act.PAUSE)
        phase = Phase.PAUSED if act is Act.PAUSE else Phase.RUNNING
        self._reached.put(instance_id, Reached(before.generation, before.boot, before.disk, phase))
        return Observed(instance_id, Run(phase.value), seen.pid if seen else 0)

    def _wait_for_right(self, machine: Machine) -> None:
        if words := self._why_not_run(machine):
            raise Later(words)

    def _move(self, machine: Machine, move: Move) -> tuple[MachineReport, Observed | None]:
        """One step of a live move; the numbers are reached with the guest, which brings its disk along."""
        before, inbound = self._reached.get(machine.instance_id), move.role is MoveRole.RECEIVE
        if inbound and before.move != move.id and machine.generation > before.generation:
            self._make_way(machine.instance_id)
        if not inbound:
            self._reached.put(machine.instance_id, msgspec.structs.replace(before, move=move.id))
        step, seen = self._mover.advance(machine, move, before.move == move.id)
        boot, disk = (machine.boot, machine.disk) if inbound else (before.boot, before.disk)
        newest = max(machine.generation, before.generation)
        self._reached.put(machine.instance_id, Reached(newest, boot, disk, before.phase, move.id))
        run = seen.run if seen else Run.STOPPED
        report = self._report(machine, Phase.PREPARING if inbound else Phase(run.value), seen.reason if seen else "")
        return msgspec.structs.replace(report, step=step.state.value, move=step, volumes=None), seen

    def _make_way(self, instance_id: str) -> None:
        """A guest that was sent away comes back: what it left here ends before its disk is touched (seed 1102)."""
        seen = self._hypervisor.machines().get(instance_id)
        if seen is not None and seen.reason is Reason.SENT:
            self._hypervisor.stop(instance_id, 0)
            self._hypervisor.forget(instance_id)

    def _spec(self, machine: Machine, fresh: bool = False) -> MachineSpec:
        """Everything in place before the machine starts: its disks, and its network with the rules on it."""
        prepared = self._disks.prepare(machine, fresh=fresh)
        self._networking.applied(machine)
        return MachineSpec(
            instance_id=machine.instance_id,
            vcpus=machine.vcpus,
            memory_mib=machine.memory_mib,
            disks=prepared.disks,
            cards=self._network.cards(machine),
            kernel=prepared.kernel,
            ramdisk=prepared.ramdisk,
            kernel_arguments=machine.kernel_arguments,
            volumes=self._plugging.of(machine),
        )

    def _remove(self, machine: Machine) -> MachineReport:
        self._hypervisor.stop(machine.instance_id, self._grace_s(machine) if machine.keep_disk else 0)
        self._hypervisor.forget(machine.instance_id)
        if machine.keep_disk:
            self._disks.leave(machine.instance_id)
        else:
            self._wait_for_right(machine)  # where disks are shared, this one may be another host's by now
            self._disks.remove(machine.instance_id)
        self._networking.applied(machine)
        self._reached.drop(machine.instance_id)
        return self._report(machine, Phase.ABSENT)

    def _done(self, machine: Machine, seen: Observed | None) -> MachineReport:
        """Record that the record is true now, and say so."""
        run, reason = (seen.run, seen.reason) if seen else (Run.STOPPED, Reason.NONE)
        before = self._reached.get(machine.instance_id)
        untouched = run is Run.STOPPED or reason in ELSEWHERE
        volumes, problem = ({}, "") if untouched else self._plugging.settle(machine)
        boot = machine.boot if run is not Run.STOPPED or machine.power is Power.STOPPED else before.boot
        newest = max(machine.generation, before.generation)  # what an old record says is no way back
        move = before.move if machine.generation <= before.generation else ""
        self._reached.put(machine.instance_id, Reached(newest, boot, before.disk, Phase(run.value), move))
        report = self._report(machine, Phase(run.value), reason.value)
        has = None if volumes is None else in_gib(volumes)
        return msgspec.structs.replace(report, volumes=has, volume_problem=problem)

    def _grace_s(self, machine: Machine) -> float:
        if not machine.soft:
            return 0
        return STOP_GRACE_S if machine.power is Power.STOPPED else REBOOT_GRACE_S

    def _report(
        self,
        machine: Machine,
        phase: Phase,
        reason: str = "",
        code: str = "",
        retryable: bool = False,
        step: str = "",
    ) -> MachineReport:
        reached = self._reached.get(machine.instance_id)
        return MachineReport(
            instance_id=machine.instance_id,
            generation=machine.generation,
            boot=reached.boot,
            disk=reached.disk,
            phase=phase,
            reason=reason,
            code=code,
            retryable=retryable,
            step=step,
        )
