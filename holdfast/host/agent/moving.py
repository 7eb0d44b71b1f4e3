"""One host's part in a live move: one step per call, said as a word of the report.

A try that failed is said to have failed for as long as it is asked for; the next try has another id. Nothing here
lets a guest run: that is `decide`, from a record that no longer speaks of a move.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.base import log as logs
from holdfast.base.errors import BadInput, HoldfastError
from holdfast.domain.desired import Machine, Move, MoveEnd, MoveRole
from holdfast.domain.observed import MoveReport, MoveState
from holdfast.host.hypervisor.driver import (
    Copy,
    Hypervisor,
    MachineSpec,
    Observed,
    Passage,
    Reason,
    Run,
    SendState,
    Where,
)

log = logs.get(__name__)
_SENDING = {SendState.SENT: MoveState.SENT, SendState.FAILED: MoveState.FAILED}


class Mover:
    """Takes the steps; `spec(machine, fresh)` prepares a machine's disks and network."""

    def __init__(self, hypervisor: Hypervisor, spec: Callable[[Machine, bool], MachineSpec]) -> None:
        self._hypervisor, self._spec = hypervisor, spec
        self._ends: dict[str, MoveEnd] = {}  # asked for anew by an agent that does not know it

    def advance(self, machine: Machine, move: Move, began: bool) -> tuple[MoveReport, Observed | None]:
        """Do the next step, from a fresh look; `began`: this host was to receive this try before."""
        seen = self._hypervisor.machines().get(machine.instance_id)
        try:
            if move.role is MoveRole.RECEIVE:
                return self._receive(machine, move, began, seen)
            return self._send(machine.instance_id, move), seen
        except HoldfastError as err:
            log.warn("move_step_failed", move=move.id, code=err.code, reason=err.message, detail=err.detail)
            again = move.role is MoveRole.SEND and err.retryable
            return MoveReport(move.id, MoveState.SENDING if again else MoveState.FAILED, reason=err.message), seen

    def _receive(
        self, machine: Machine, move: Move, began: bool, seen: Observed | None
    ) -> tuple[MoveReport, Observed | None]:
        reason = seen.reason if seen else Reason.NONE
        if began and reason is Reason.RECEIVED:
            return MoveReport(move.id, MoveState.RECEIVED), seen
        if began and reason is not Reason.RECEIVING:
            return MoveReport(move.id, MoveState.FAILED, reason=f"no guest is awaited here: {reason.value}"), seen
        if not began or move.id not in self._ends:
            fresh = not began and move.copy != Copy.NONE
            where = self._hypervisor.receive(self._spec(machine, fresh), _passage(move), move.address)
            self._ends[move.id] = MoveEnd(where.address, where.port, where.disks_port)
            seen = Observed(machine.instance_id, Run.PAUSED, 0, Reason.RECEIVING)
        return MoveReport(move.id, MoveState.WAITING, self._ends[move.id]), seen

    def _send(self, instance_id: str, move: Move) -> MoveReport:
        if move.end is None:
            return MoveReport(move.id, MoveState.WAITING)
        where = Where(move.end.address, move.end.port, move.end.disks_port)
        found = self._hypervisor.send(instance_id, _passage(move), where)
        state = _SENDING.get(found.state, MoveState.SENDING)
        return MoveReport(
            move.id, state, None, found.remaining_bytes, found.total_bytes, found.downtime_ms, found.reason
        )


def _passage(move: Move) -> Passage:
    try:
        return Passage(move.id, Copy(move.copy), move.key)
    except ValueError as err:
        raise BadInput(f"a move copies none, top or full, not {move.copy}") from err
