"""What the acts on servers share: reading the host's report, waiting for it, failing with a reason."""

from __future__ import annotations

from holdfast.base.errors import Conflict, HoldfastError, Unavailable
from holdfast.base.limits import OPERATION_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_name as host_name_of
from holdfast.control.store.instance import instance_change, instance_update, observation_fetch
from holdfast.control.store.operation import operation_insert
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import Power
from holdfast.domain.instance import Fault, Instance, Observation, move, require_idle
from holdfast.domain.observed import Phase

PHASE_OF = {Power.RUNNING: Phase.RUNNING, Power.STOPPED: Phase.STOPPED, Power.PAUSED: Phase.PAUSED}
"""What the host must be seen to do for each power that is asked for."""


def host_name(work: Work, row: Instance) -> str:
    return host_name_of(work.tx, row.host_id)


def reached(work: Work, row: Instance, generation: int) -> Observation | None:
    """The owner's word, if it is about this generation or a newer one; None while it is not."""
    seen = observation_fetch(work.tx, row.id)
    return seen if seen and seen.host_id == row.host_id and seen.generation >= generation else None


def build_failed(seen: Observation, retryable: bool) -> HoldfastError:
    """The host's failure as an error of ours; `retryable` where the host itself goes on trying."""
    words = seen.reason or "the host could not make it"
    return Unavailable(words, code=seen.code or "host_failed", retryable=retryable)


def fail(work: Work, err: HoldfastError) -> None:
    """The server stays, in ERROR, with the reason: its owner decides."""
    row = work.instance()
    status = 500 if not isinstance(err, Conflict) else 409
    fault = Fault(status, err.message, work.tx.now_us)
    instance_update(work.tx, row, state=move(row.state, "fail"), fault=fault)


def reach(work: Work) -> Outcome:
    """Wait until the host is seen to have done what was asked when the act was accepted."""
    row = work.instance()
    seen = reached(work, row, work.data["generation"])
    wanted = PHASE_OF[row.power]
    if seen is not None and seen.phase == Phase.FAILED:
        raise build_failed(seen, seen.retryable)
    if seen is None or seen.phase != wanted or seen.boot < row.boot or seen.disk < row.disk:
        return wait(f"host {host_name(work, row)} to report it {wanted}")
    instance_update(work.tx, row, state=move(row.state, "ready"), fault=None, disk_made=row.disk)
    return NEXT


def reaching(kind: str) -> Act:
    """An act whose whole change is made when it is accepted, and which then waits for the host."""
    return Act(kind, (Step("reach", reach),), fail, OPERATION_DEADLINE_S)


def act_begin(
    tx: Tx, row: Instance, kind: str, credentials: Credentials, request_id: str, **changes: object
) -> Instance:
    """Accept an act that changes what the host must make of a server; returns the new row.

    Conflict while another act goes on, or when the server is on no host.
    """
    require_idle(row, kind.removeprefix("server_"))
    changed = instance_change(tx, row, **changes)
    operation_insert(
        tx,
        kind=kind,
        step="reach",
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=OPERATION_DEADLINE_S,
        data={"generation": changed.generation, "host_id": row.host_id},
    )
    return changed


STOP = reaching("server_stop")
START = reaching("server_start")
REBOOT = reaching("server_reboot")
PAUSE = reaching("server_pause")
UNPAUSE = reaching("server_unpause")
REBUILD = reaching("server_rebuild")
