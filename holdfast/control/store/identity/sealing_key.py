"""The keys that seal tokens and secrets, each sealed itself with the cloud's key, which is in no store."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, delete, insert, select

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import metadata

sealing_key = Table(
    "sealing_key",
    metadata,
    Column("kind", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sealed", String, nullable=False),
)


def sealing_keys(tx: Tx, kind: str) -> list[tuple[int, str]]:
    """Number and sealed key of one kind, oldest first."""
    statement = select(sealing_key.c.number, sealing_key.c.sealed).where(sealing_key.c.kind == kind)
    return [(row[0], row[1]) for row in tx.all(statement.order_by(sealing_key.c.number))]


def sealing_key_add(tx: Tx, kind: str, number: int, sealed: str) -> None:
    """Keep one more."""
    tx.run(insert(sealing_key), {"kind": kind, "number": number, "sealed": sealed})


def sealing_keys_drop(tx: Tx, kind: str, below: int) -> None:
    """Forget the oldest."""
    tx.run(delete(sealing_key).where(sealing_key.c.kind == kind, sealing_key.c.number < below))
