"""The engine: claims operations that are due and takes each as far as it will go.

Recovery is the normal loop: a replica that died holds an operation up for one lease and no longer, and not even
that once it is back under its name. One operation that cannot be read or whose step raises something unforeseen
fails alone, after a few tries, and the others of its batch are not touched (STK-10). A deadline counts only time in
which somebody was there to look (STK-11).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.config import Settings
from holdfast.base.errors import Bug, HoldfastError, Unavailable
from holdfast.base.limits import OPERATION_AGAIN_S, OPERATION_ATTEMPTS, OPERATION_LEASE_S, RECONCILE_PERIOD_S
from holdfast.control.operations.act import Act, Outcome, Work
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.operation import (
    OPERATIONS,
    operation_event_add,
    operation_is_mine,
    operation_next_due,
    operation_postpone,
    operation_write,
    operations_abandoned,
    operations_claim,
)
from holdfast.domain.operation import TABLE, Operation

log = logs.get(__name__)


class Engine:
    """The worker of one replica."""

    def __init__(self, store: Database, settings: Settings, acts: Mapping[str, Act], worker: str) -> None:
        self._store, self._settings, self._acts, self._worker = store, settings, acts, worker
        self._wake = threading.Event()
        self._end_listening = store.signals.listen(OPERATIONS, self._wake.set)
        self._stopping = False

    def run_forever(self) -> None:
        """Work until `stop`; a store that does not answer is tried again on the next round."""
        adopted = False
        while not self._stopping:
            self._wake.clear()
            try:
                if not adopted:
                    self.adopt()
                    adopted = True
                pause_s = self._pause_s()  # a look costs less than a claim that finds nothing
                if not pause_s:
                    self.run_once()
            except HoldfastError as err:
                log.warn("engine_round_failed", code=err.code, reason=err.message)
                pause_s = 1.0
            if pause_s and not self._stopping:
                self._wake.wait(pause_s)

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._end_listening()

    def adopt(self) -> None:
        """Take over what the process before this one of the same name was working on."""
        if count := self._store.write(lambda tx: operations_abandoned(tx, self._worker)):
            log.info("operations_adopted", count=count)

    def run_once(self) -> int:
        """Claim what is due and advance each; returns how many were claimed."""
        claimed = self._store.write(lambda tx: operations_claim(tx, self._worker))
        if not claimed:
            return 0
        answers = self._store.write_each([self._advancing(operation) for operation in claimed])
        for operation, answer in zip(claimed, answers, strict=True):
            if isinstance(answer, Exception):
                self._recover(operation, answer)
        return len(claimed)

    def _pause_s(self) -> float:
        due = self._store.read(lambda tx: (operation_next_due(tx), tx.now_us))
        if due[0] is None:
            return RECONCILE_PERIOD_S
        return min(max((due[0] - due[1]) / SECOND_US, 0.0), RECONCILE_PERIOD_S)

    def _advancing(self, operation: Operation) -> Any:
        def change(tx: Tx) -> None:
            with logs.bind(instance=operation.resource_id, operation=operation.id, request=operation.request_id):
                self._advance(tx, operation)

        return change

    def _advance(self, tx: Tx, operation: Operation) -> None:
        if not operation_is_mine(tx, operation):
            return  # superseded, or claimed by somebody else meanwhile
        act = self._acts.get(operation.kind)
        if act is None:
            raise Bug(f"no act is registered under {operation.kind!r}")
        operation = _less_the_time_alone(tx, operation)
        work = Work(tx, self._settings, operation, dict(operation.data))
        index = act.index(operation.step)
        while index < len(act.steps):
            step = act.steps[index]
            outcome = step.do(work)
            if outcome.kind == "wait":
                return self._waiting(work, act, index, outcome)
            operation_event_add(tx, operation.id, step.name, "done", work.data.get("host_id", ""), outcome.detail)
            log.info("step_done", act=operation.kind, step=step.name, detail=outcome.detail)
            index = act.index(outcome.step) if outcome.kind == "go" else index + 1
        _end(work, "finish", act.steps[-1].name)
        log.info("operation_done", act=operation.kind)

    def _waiting(self, work: Work, act: Act, index: int, outcome: Outcome) -> None:
        operation = work.operation
        if operation.deadline_us and work.tx.now_us >= operation.deadline_us:
            allowed_s = (operation.deadline_us - operation.created_us) // SECOND_US
            late = Unavailable(f"{operation.kind} did not end within {allowed_s} s: {outcome.detail}", code="deadline")
            return _undo(work, act, index, late)
        operation_write(
            work.tx,
            operation,
            step=act.steps[index].name,
            data=work.data,
            attempts=0,
            waiting_for=outcome.detail,
            next_at_us=_next_look_us(work.tx.now_us, outcome.together),
        )
        return None

    def _recover(self, operation: Operation, err: Exception) -> None:
        """A step raised and wrote nothing: fail the operation, or try again if that may help."""
        words = err if isinstance(err, HoldfastError) else Bug(f"unexpected {type(err).__name__} in {operation.kind}")
        retryable = not isinstance(err, HoldfastError) or (isinstance(err, Unavailable) and err.retryable)
        with logs.bind(instance=operation.resource_id, operation=operation.id, request=operation.request_id):
            if not isinstance(err, HoldfastError):
                _log_raised(err)
            answer = self._store.write_each([lambda tx: self._note(tx, operation, words, retryable)])[0]
            if isinstance(answer, Exception):
                log.error("operation_recovery_failed", reason=str(answer))

    def _note(self, tx: Tx, operation: Operation, err: HoldfastError, retryable: bool) -> None:
        if not operation_is_mine(tx, operation):
            return
        act = self._acts.get(operation.kind)
        work = Work(tx, self._settings, operation, dict(operation.data))
        last = not retryable or operation.attempts + 1 >= OPERATION_ATTEMPTS
        if act is None or act.fail is None or not last:
            delay_us = SECOND_US * min(1 << min(operation.attempts, 10), OPERATION_AGAIN_S)
            operation_write(
                tx,
                operation,
                attempts=operation.attempts + 1,
                next_at_us=tx.now_us + delay_us,
                waiting_for=f"another try after: {err.message}",
            )
            operation_event_add(tx, operation.id, operation.step, "retried", detail=err.message)
            return
        _undo(work, act, act.index(operation.step), err)


def _less_the_time_alone(tx: Tx, operation: Operation) -> Operation:
    """Time in which no replica looked is not taken from an act: hosts could not be told, nor say anything.

    One look's worth of it counts, so that acts end also where every look comes late.
    """
    alone_us = tx.now_us - operation.updated_us
    if not operation.deadline_us or alone_us <= OPERATION_LEASE_S * SECOND_US:
        return operation
    return operation_postpone(tx, operation, alone_us - RECONCILE_PERIOD_S * SECOND_US)


def _next_look_us(now_us: int, together: bool) -> int:
    period_us = RECONCILE_PERIOD_S * SECOND_US
    return (now_us // period_us + 1) * period_us if together else now_us + period_us


def _undo(work: Work, act: Act, index: int, err: HoldfastError) -> None:
    """Take back the steps in reverse order, record the failure on the resource, end the operation."""
    operation = work.operation
    operation_event_add(
        work.tx, operation.id, act.steps[index].name, "failed", work.data.get("host_id", ""), err.message
    )
    for step in reversed(act.steps[: index + 1]):
        step.undo(work)
    if act.fail is not None:
        act.fail(work, err)
    _end(work, "fail", act.steps[index].name, err)
    log.warn("operation_failed", act=operation.kind, code=err.code, reason=err.message)


def _end(work: Work, event: str, step: str, err: HoldfastError | None = None) -> None:
    changes = {"state": TABLE[(work.operation.state, event)], "step": step, "data": work.data, "waiting_for": ""}
    words = {"error": err.message, "error_code": err.code} if err else {}
    operation_write(work.tx, work.operation, **changes, **words)


def _log_raised(err: Exception) -> None:
    try:
        raise err
    except Exception:
        log.exception("step_raised")
