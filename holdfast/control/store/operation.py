"""Operations and the events of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from holdfast.base import ids
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict
from holdfast.base.limits import OPERATION_LEASE_S, OPERATIONS_PER_TICK, PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import Json, Word, instant, metadata
from holdfast.domain.operation import TABLE, Operation, OperationEvent, OperationState

OPERATIONS = "operations"  # topic: one became due

operation = Table(
    "operation",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("resource_id", String, nullable=False),
    Column("project_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("state", Word(OperationState), nullable=False),
    Column("step", String, nullable=False),
    Column("data", Json(), nullable=False),
    Column("attempts", Integer, nullable=False),
    instant("next_at_us"),
    Column("worker", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    instant("lease_until_us"),
    instant("deadline_us"),
    Column("error", Text, nullable=False),
    Column("error_code", String, nullable=False),
    Column("waiting_for", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    instant("created_us"),
    instant("updated_us"),
    Index(
        "uq_operation_open",
        "resource_id",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
    Index(
        "ix_operation_due", "next_at_us", sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")
    ),
    Index(None, "resource_id", "created_us"),
    Index(None, "kind", "created_us"),
    Index(
        "ix_operation_evacuations",
        "priority",
        sqlite_where=text("state = 'open' AND kind = 'server_evacuate'"),
        postgresql_where=text("state = 'open' AND kind = 'server_evacuate'"),
    ),
)

operation_event = Table(
    "operation_event",
    metadata,
    Column("operation_id", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", String, nullable=False),
    Column("result", String, nullable=False),
    instant("at_us"),
    Column("host_id", String, nullable=False),
    Column("detail", Text, nullable=False),
)

# as the partial indexes say it: SQLite would look at a bound value again each time
OPEN = literal_column("'open'", String)
COLUMNS = [operation.c[name] for name in Operation.__struct_fields__]
_EVENT = [operation_event.c[name] for name in OperationEvent.__struct_fields__]
_INSERT = insert(operation)
_HIGHEST = select(func.coalesce(func.max(operation_event.c.number), 0)).where(
    operation_event.c.operation_id == bindparam("of")
)
_EVENT_INSERT = insert(operation_event).values(
    {
        **{name: bindparam(name) for name in OperationEvent.__struct_fields__},
        "operation_id": bindparam("operation_id"),
        "number": _HIGHEST.scalar_subquery() + 1,
    }
)
_MINE = select(operation.c.id).where(
    operation.c.id == bindparam("id"),
    operation.c.epoch == bindparam("epoch"),
    operation.c.state == OPEN,
)
_DUE = (
    select(operation.c.id)
    .where(operation.c.state == OPEN, operation.c.next_at_us <= bindparam("now"))
    .where(operation.c.lease_until_us <= bindparam("now"))
    .order_by(operation.c.next_at_us, operation.c.priority.desc())
    .limit(OPERATIONS_PER_TICK)
)
_CLAIM = {  # by: is it PostgreSQL, where replicas claim side by side
    kind: update(operation)
    .where(operation.c.id.in_(_DUE.with_for_update(skip_locked=True) if kind else _DUE))
    .values(worker=bindparam("by"), epoch=operation.c.epoch + 1, lease_until_us=bindparam("lease"))
    .returning(*COLUMNS)
    for kind in (False, True)
}
_EVACUATE = literal_column("'server_evacuate'", String)
_BEFORE = (
    select(operation.c.id)
    .where(operation.c.state == OPEN, operation.c.kind == _EVACUATE, operation.c.priority > bindparam("mine"))
    .where(operation.c.step == "claim")
    .limit(1)
)
_FREE_AT = case(  # what somebody works on is due when the lease is over
    (operation.c.lease_until_us > operation.c.next_at_us, operation.c.lease_until_us), else_=operation.c.next_at_us
)
_NEXT_DUE = select(func.min(_FREE_AT)).where(operation.c.state == OPEN)
_WAKE = (
    update(operation)
    .where(operation.c.resource_id == bindparam("woken"), operation.c.state == OPEN)
    .values(next_at_us=bindparam("at_us"))
)
_OPEN_OF = select(*COLUMNS).where(operation.c.resource_id == bindparam("resource_id"), operation.c.state == OPEN)


def operation_insert(
    tx: Tx,
    *,
    kind: str,
    step: str,
    resource_id: str,
    project_id: str,
    user_id: str,
    request_id: str,
    deadline_s: int,
    data: dict[str, Any] | None = None,
    priority: int = 0,
) -> Operation:
    """Accept an act; Conflict when the resource has one that is not finished. Wakes the workers."""
    if (other := operation_open_of(tx, resource_id)) is not None:
        raise Conflict(
            f"'{other.kind}' is still going on for {resource_id} (step {other.step}); try again when it ended"
        )
    row = Operation(
        id=ids.new_id(),
        kind=kind,
        resource_id=resource_id,
        project_id=project_id,
        user_id=user_id,
        request_id=request_id,
        state=OperationState.OPEN,
        step=step,
        data=data or {},
        attempts=0,
        next_at_us=tx.now_us,
        worker="",
        epoch=0,
        lease_until_us=0,
        deadline_us=tx.now_us + deadline_s * SECOND_US if deadline_s else 0,
        error="",
        error_code="",
        waiting_for="",
        priority=priority,
        created_us=tx.now_us,
        updated_us=tx.now_us,
    )
    tx.run(_INSERT, {name: getattr(row, name) for name in Operation.__struct_fields__})
    tx.notify(OPERATIONS)
    return row


def operation_open_of(tx: Tx, resource_id: str) -> Operation | None:
    """The act that is going on for a resource."""
    return tx.struct(Operation, _OPEN_OF, {"resource_id": resource_id})


def operations_of(
    tx: Tx,
    resource_id: str,
    limit: int = 100,
    after: Operation | None = None,
    updated_us: tuple[int, int] | None = None,
) -> list[Operation]:
    """Every act on a resource, newest first; those that come after one, and that changed between two instants."""
    columns = operation.c
    statement = select(*COLUMNS).where(columns.resource_id == resource_id)
    if after is not None:
        later = and_(columns.created_us == after.created_us, columns.id > after.id)
        statement = statement.where(or_(columns.created_us < after.created_us, later))
    if updated_us is not None:
        statement = statement.where(columns.updated_us.between(*updated_us))
    return tx.structs(Operation, statement.order_by(columns.created_us.desc(), columns.id).limit(limit))


def operation_by_request(tx: Tx, resource_id: str, request_id: str) -> Operation | None:
    """The act on a resource that one request asked for."""
    columns = operation.c
    statement = select(*COLUMNS).where(columns.resource_id == resource_id, columns.request_id == request_id)
    return tx.struct(Operation, statement.order_by(columns.created_us.desc(), columns.id))


def operation_events(tx: Tx, operation_id: str) -> list[OperationEvent]:
    """What its steps did, in order."""
    statement = select(*_EVENT).where(operation_event.c.operation_id == operation_id)
    return tx.structs(OperationEvent, statement.order_by(operation_event.c.number))


def operations_claim(tx: Tx, worker: str) -> list[Operation]:
    """Take what is due for one lease; each claim raises the fencing number."""
    lease_us = tx.now_us + OPERATION_LEASE_S * SECOND_US
    found = tx.structs(Operation, _CLAIM[tx.is_postgresql], {"now": tx.now_us, "by": worker, "lease": lease_us})
    return sorted(found, key=lambda row: (row.next_at_us, -row.priority))  # RETURNING has no order


def operations_abandoned(tx: Tx, worker: str) -> int:
    """Void what a former process of this worker's name had claimed when it ended: it is due at once. Returns how many.

    Should that process live after all, the raised fencing number rejects whatever it still writes.
    """
    theirs = (operation.c.worker == worker, operation.c.lease_until_us > tx.now_us)
    statement = update(operation).where(operation.c.state == OPEN, *theirs)
    return tx.run(statement.values(epoch=operation.c.epoch + 1, lease_until_us=0))


def operation_next_due(tx: Tx) -> int | None:
    """When the next open operation can be claimed."""
    due: int | None = tx.value(_NEXT_DUE)
    return due


def operation_write(tx: Tx, claimed: Operation, **changes: Any) -> bool:
    """Change a claimed operation and give the claim back; False when the claim was lost: nothing was written."""
    values = {**changes, "updated_us": tx.now_us, "lease_until_us": 0}
    named = {f"new_{name}": value for name, value in values.items()}
    return tx.run(_write_of(tuple(values)), {"of": claimed.id, "mine": claimed.epoch, **named}) == 1


@cache
def _write_of(names: tuple[str, ...]) -> Update:
    """One statement for each set of columns that are written together: building one costs more than running it."""
    mine = (operation.c.id == bindparam("of"), operation.c.epoch == bindparam("mine"))
    statement = update(operation).where(*mine, operation.c.state == OPEN)
    return statement.values({name: bindparam(f"new_{name}") for name in names})


def operation_is_mine(tx: Tx, claimed: Operation) -> bool:
    """Whether the claim still holds: asked before an effect, in the effect's own transaction."""
    return tx.value(_MINE, {"id": claimed.id, "epoch": claimed.epoch}) is not None


def operation_supersede(tx: Tx, resource_id: str, reason: str) -> Operation | None:
    """End whatever is going on for a resource, because something stronger was asked for; returns it."""
    row = operation_open_of(tx, resource_id)
    if row is None:
        return None
    values = {
        "state": TABLE[(row.state, "supersede")],
        "error": reason,
        "epoch": row.epoch + 1,
        "updated_us": tx.now_us,
    }
    tx.run(update(operation).where(operation.c.id == row.id).values(**values))
    operation_event_add(tx, row.id, row.step, "superseded", detail=reason)
    return row


def operation_extend(tx: Tx, row: Operation, deadline_s: int) -> None:
    """Give an operation so long from now: what it turned out to be takes longer."""
    until_us = tx.now_us + deadline_s * SECOND_US
    tx.run(update(operation).where(operation.c.id == row.id).values(deadline_us=until_us))


def operation_postpone(tx: Tx, row: Operation, by_us: int) -> Operation:
    """Move the deadline of an operation by time that does not count; returns the row as it is then."""
    deadline_us = row.deadline_us + by_us
    tx.run(update(operation).where(operation.c.id == row.id).values(deadline_us=deadline_us))
    return msgspec.structs.replace(row, deadline_us=deadline_us)


def operation_fail(tx: Tx, row: Operation, error: str, code: str) -> None:
    """End an operation from outside its worker, whose claim is void from now on."""
    values = {"state": TABLE[(row.state, "fail")], "error": error, "error_code": code, "epoch": row.epoch + 1}
    tx.run(update(operation).where(operation.c.id == row.id).values(**values, updated_us=tx.now_us))
    operation_event_add(tx, row.id, row.step, "failed", detail=error)


def operation_event_add(tx: Tx, operation_id: str, step: str, result: str, host_id: str = "", detail: str = "") -> None:
    """Record what a step did, in the transaction in which it did it."""
    row = {"operation_id": operation_id, "of": operation_id, "step": step, "result": result}
    tx.run(_EVENT_INSERT, {**row, "at_us": tx.now_us, "host_id": host_id, "detail": detail})


def operations_wake(tx: Tx, resource_ids: Sequence[str]) -> None:
    """Make the open operations of these resources due now: something they wait for may have happened."""
    if resource_ids:
        tx.run(_WAKE, [{"woken": resource_id, "at_us": tx.now_us} for resource_id in resource_ids])
        tx.notify(OPERATIONS)


def evacuations_list(tx: Tx, open_only: bool, limit: int) -> list[Operation]:
    """Evacuations, the newest first."""
    statement = select(*COLUMNS).where(operation.c.kind == _EVACUATE)
    if open_only:
        statement = statement.where(operation.c.state == OPEN)
    return tx.structs(Operation, statement.order_by(operation.c.created_us.desc(), operation.c.id).limit(limit))


@dataclass(frozen=True, slots=True)
class MoveQuery:
    """Which acts of some kinds, of one instance or of all, that changed between two instants (0: any), after one."""

    kinds: Sequence[str]
    instance_id: str = ""
    since_us: int = 0
    before_us: int = 0
    after: Operation | None = None


def moves_list(tx: Tx, query: MoveQuery) -> list[Operation]:
    """Acts that move instances, the newest first, a page of them at most."""
    columns = operation.c
    statement = select(*COLUMNS).where(columns.kind.in_(query.kinds))
    if query.instance_id:
        statement = statement.where(columns.resource_id == query.instance_id)
    if query.since_us:
        statement = statement.where(columns.updated_us >= query.since_us)
    if query.before_us:
        statement = statement.where(columns.updated_us <= query.before_us)
    if query.after is not None:
        same = and_(columns.created_us == query.after.created_us, columns.id > query.after.id)
        statement = statement.where(or_(columns.created_us < query.after.created_us, same))
    return tx.structs(Operation, statement.order_by(columns.created_us.desc(), columns.id).limit(PAGE_ROWS))


def move_fetch(tx: Tx, operation_id: str) -> Operation | None:
    """One act, by its id."""
    return tx.struct(Operation, select(*COLUMNS).where(operation.c.id == operation_id))


def evacuation_before(tx: Tx, priority: int) -> bool:
    """Whether an evacuation of higher priority has not looked for room yet."""
    return tx.value(_BEFORE, {"mine": priority}) is not None


def evacuations_release(tx: Tx, instance_ids: Sequence[str]) -> None:
    """Their host is fenced: from now on they are in the queue for room, all at once, so that priority decides."""
    waiting = (operation.c.state == OPEN, operation.c.kind == _EVACUATE, operation.c.step == "fence")
    of_these = operation.c.resource_id.in_(instance_ids)
    tx.run(update(operation).where(*waiting, of_these).values(step="claim", next_at_us=tx.now_us))
    tx.notify(OPERATIONS)


def operations_purge(tx: Tx, before_us: int) -> int:
    """Drop finished operations older than an instant, with their events; returns how many."""
    old = (operation.c.state != OperationState.OPEN, operation.c.updated_us < before_us)
    tx.run(delete(operation_event).where(operation_event.c.operation_id.in_(select(operation.c.id).where(*old))))
    return tx.run(delete(operation).where(*old))
