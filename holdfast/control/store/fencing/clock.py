"""The store's clock, which may be set while everything runs: how long it ran evenly, and what was written ahead of it.

All instants of the store are of one clock. When it is set back, what was written before lies in the future: a host
that dies then would count as alive, and an act as not yet due, for as long as the clock was set back.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import (
    CLOCK_STEP_S,
    HOST_LEASE_S,
    HOST_SHUNNED_S,
    OPERATION_AGAIN_S,
    OPERATION_LEASE_S,
    RECONCILE_PERIOD_S,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_fence import host_fence
from holdfast.control.store.fencing.host_lease import fence_proof, host_lease
from holdfast.control.store.host import host
from holdfast.control.store.network.subnet_address import subnet_address
from holdfast.control.store.operation import OPEN, operation
from holdfast.control.store.placement.build_failures import build_failures
from holdfast.control.store.schema import instant, metadata
from holdfast.domain.lease import NOBODY_LOOKED, ClockWatch

clock_watch = Table(
    "clock_watch",
    metadata,
    Column("number", Integer, primary_key=True),  # there is one
    instant("since_us"),
    instant("looked_us"),
)

_WATCH = select(clock_watch.c.since_us, clock_watch.c.looked_us)
_AHEAD: tuple[tuple[Column[int], int], ...] = (  # and the most, in seconds, that it is written ahead of now
    (host.c.reported_us, 0),
    (host_lease.c.renewed_us, 0),
    (host_lease.c.until_us, HOST_LEASE_S),
    (operation.c.created_us, 0),
    (operation.c.updated_us, 0),
    (operation.c.next_at_us, OPERATION_AGAIN_S),
    (operation.c.lease_until_us, OPERATION_LEASE_S),
    (fence_proof.c.at_us, 0),
    (host_fence.c.asked_us, 0),
    (host_fence.c.tried_us, 0),
    (subnet_address.c.released_us, 0),
    (build_failures.c.until_us, HOST_SHUNNED_S),
)
_TELLING = (host.c.reported_us, host_lease.c.renewed_us, operation.c.next_at_us)  # each has an index, or few rows


def clock_watched(tx: Tx) -> ClockWatch:
    """What was seen of the store's clock last."""
    return tx.struct(ClockWatch, _WATCH) or NOBODY_LOOKED


def clock_watch_note(tx: Tx, seen: ClockWatch) -> None:
    """Keep what a replica saw, together with what others saw: between two views that overlap there is no gap. A view
    that has only begun is not kept in place of another one that is new."""
    before = clock_watched(tx)
    after_us, near_us = seen.looked_us - before.looked_us, RECONCILE_PERIOD_S * SECOND_US
    if seen.since_us <= before.looked_us and after_us >= -near_us:
        seen = ClockWatch(min(before.since_us, seen.since_us), max(before.looked_us, seen.looked_us))
    elif 0 <= after_us <= near_us:
        return
    tx.run(delete(clock_watch))
    tx.run(insert(clock_watch), {"number": 1, "since_us": seen.since_us, "looked_us": seen.looked_us})


def clock_was_set_back(tx: Tx) -> bool:
    """Whether something is further ahead of now than anybody writes it."""
    return any(
        tx.value(select(column).where(_is_ahead(tx, column, most_s)).limit(1)) is not None
        for column, most_s in _AHEAD
        if column in _TELLING
    )


def instants_draw_back(tx: Tx) -> int:
    """Count everything that is too far ahead as written now; returns how much that was.

    Evidence that a host is off is then no newer than what was heard of the host: it is to be given again.
    """
    drawn = 0
    for column, most_s in _AHEAD:
        statement = update(column.table).where(_is_ahead(tx, column, most_s))
        drawn += tx.run(statement.values({column: tx.now_us + most_s * SECOND_US}))
    return drawn


def _is_ahead(tx: Tx, column: Column[int], most_s: int) -> ColumnElement[bool]:
    ahead = column > tx.now_us + (most_s + CLOCK_STEP_S) * SECOND_US
    return ahead & (operation.c.state == OPEN) if column.table is operation else ahead
