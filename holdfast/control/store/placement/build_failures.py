"""Hosts that fail to build what others then build. A host that builds something has no row."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, Text, bindparam, delete, insert, select, update

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import HOST_SHUNNED_S
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata
from holdfast.domain.host import BuildFailures

build_failures = Table(
    "build_failures",
    metadata,
    Column("host_id", String, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    instant("until_us"),
)

_ALL = select(*(build_failures.c[name] for name in BuildFailures.__struct_fields__))
_ONE = _ALL.where(build_failures.c.host_id == bindparam("of"))
_DELETE = delete(build_failures).where(build_failures.c.host_id == bindparam("of"))


def build_failures_by_host(tx: Tx) -> dict[str, BuildFailures]:
    """Of every host that has some."""
    return {row.host_id: row for row in tx.structs(BuildFailures, _ALL)}


def build_failure_add(tx: Tx, host_id: str, reason: str) -> BuildFailures:
    """One more; returns them all."""
    before = tx.struct(BuildFailures, _ONE, {"of": host_id})
    now = BuildFailures(host_id, before.count + 1 if before else 1, reason, _until_us(tx))
    build_failures_forget(tx, host_id)
    tx.run(insert(build_failures), {name: getattr(now, name) for name in BuildFailures.__struct_fields__})
    return now


def build_failures_try(tx: Tx, host_id: str) -> None:
    """Something is built there: what comes after it goes elsewhere until that is over, or for as long as before."""
    tx.run(update(build_failures).where(build_failures.c.host_id == host_id).values(until_us=_until_us(tx)))


def build_failures_forget(tx: Tx, host_id: str) -> bool:
    """They count for nothing any more; returns whether there were any."""
    if tx.struct(BuildFailures, _ONE, {"of": host_id}) is None:
        return False
    tx.run(_DELETE, {"of": host_id})
    return True


def _until_us(tx: Tx) -> int:
    return tx.now_us + HOST_SHUNNED_S * SECOND_US
