"""Requests that may be repeated: the first answer is kept with the change that it reports, in one transaction.

A repeat with the same key returns that answer; the same key with other parameters is refused. Whoever
retries after a lost reply therefore never makes two.
"""

from __future__ import annotations

import hashlib

import msgspec
from sqlalchemy import Column, Integer, LargeBinary, String, Table, delete, insert, select

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata

IDEMPOTENCY_KEPT_S = 24 * 3600  # longer than any client goes on retrying

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", String, primary_key=True),  # project, method and path
    Column("key", String, primary_key=True),
    Column("digest", String, nullable=False),  # of the request
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    instant("created_us"),
)


class Remembered(msgspec.Struct, frozen=True):
    """The answer that was given."""

    status: int
    body: bytes


def idempotency_recall(tx: Tx, scope: str, key: str, request: bytes) -> Remembered | None:
    """Return the first answer; Conflict when the key was used for another request."""
    columns = idempotency.c
    rows = tx.all(
        select(columns.digest, columns.status, columns.body).where(columns.scope == scope, columns.key == key)
    )
    if not rows:
        return None
    if rows[0][0] != hashlib.sha256(request).hexdigest():
        raise Conflict(
            f"the idempotency key {key[:64]!r} was already used for another request", code="idempotency_key_reused"
        )
    return Remembered(rows[0][1], rows[0][2])


def idempotency_remember(tx: Tx, scope: str, key: str, request: bytes, answer: Remembered) -> None:
    """Keep the answer, in the transaction of the change."""
    digest = hashlib.sha256(request).hexdigest()
    row = {"scope": scope, "key": key, "digest": digest, "status": answer.status, "body": answer.body}
    tx.run(insert(idempotency), {**row, "created_us": tx.now_us})


def idempotency_prune(tx: Tx) -> int:
    """Forget what nobody retries any more; returns how many."""
    return tx.run(delete(idempotency).where(idempotency.c.created_us < tx.now_us - IDEMPOTENCY_KEPT_S * SECOND_US))
