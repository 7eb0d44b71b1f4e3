"""Forgets what is over for long: finished operations, deleted instances, remembered answers, old revocations."""

from __future__ import annotations

from collections import Counter

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import COMMIT_MARKS_KEPT_S, TERMINAL_ROWS_KEPT_S
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.idempotency import idempotency_prune
from holdfast.control.store.identity.roles import revocation_prune
from holdfast.control.store.instance import instances_purge
from holdfast.control.store.operation import operations_purge
from holdfast.control.store.postgresql.commit_mark import commit_marks_prune


class History:
    """Keeps history readable for a while, and the store from growing for ever."""

    name = "history"
    description = "drops finished operations, deleted instances and remembered answers after their time"
    period_s = 600.0

    def __init__(self, store: Database) -> None:
        self._store = store

    def tick(self) -> Counter[str]:
        def forget(tx: Tx) -> Counter[str]:
            before_us = tx.now_us - TERMINAL_ROWS_KEPT_S * SECOND_US
            return Counter(
                operations=operations_purge(tx, before_us),
                instances=instances_purge(tx, before_us),
                answers=idempotency_prune(tx),
                revocations=revocation_prune(tx),
                lanes=commit_marks_prune(tx, tx.now_us - COMMIT_MARKS_KEPT_S * SECOND_US),
            )

        return +self._store.write(forget)
