"""An operation: a durable act, recorded in the same transaction as the change that it explains.

    open --(last step done)--> done
      |---(a step fails)-----> failed      its undone steps are in its events
      '---(superseded)-------> cancelled   a delete ends whatever was going on

A worker claims an open operation for a lease and gets a fencing number (`epoch`); every later write of
that worker names it, so one that slept past its lease changes nothing. An instance has at most one open
operation: the store holds a unique index, and the API answers 409 with the name of the open one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class OperationState(StrEnum):
    """Where an operation is in its life."""

    OPEN = "open"  # due, waiting or being worked on
    DONE = "done"  # every step is done
    FAILED = "failed"  # ended with a reason, its steps undone
    CANCELLED = "cancelled"  # another operation took its place


TABLE = {
    (OperationState.OPEN, "finish"): OperationState.DONE,
    (OperationState.OPEN, "fail"): OperationState.FAILED,
    (OperationState.OPEN, "supersede"): OperationState.CANCELLED,
}


class Operation(msgspec.Struct, frozen=True):
    """One row. `data` is the act's own, small, and readable by the release before this one."""

    id: str
    kind: str  # a registered act, see control/operations/registry
    resource_id: str
    project_id: str
    user_id: str
    request_id: str
    state: OperationState
    step: str
    data: dict[str, Any]
    attempts: int  # of the present step
    next_at_us: int
    worker: str
    epoch: int  # the fencing number
    lease_until_us: int
    deadline_us: int  # 0: none, waits as long as it takes
    error: str
    error_code: str
    waiting_for: str  # a sentence for `holdfast why`
    priority: int  # of an evacuation: the higher one claims its room first
    created_us: int
    updated_us: int


class OperationEvent(msgspec.Struct, frozen=True):
    """What one step did, in order: the story that `server event list` and `holdfast why` tell."""

    operation_id: str
    number: int
    step: str
    result: str  # done, failed, undone, retried, superseded
    at_us: int
    host_id: str
    detail: str
