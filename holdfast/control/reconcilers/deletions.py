"""Takes up deletes that lost their operation: a server in `deleting` with nothing going on is deleted again."""

from __future__ import annotations

from collections import Counter

from holdfast.base.limits import OPERATIONS_PER_TICK
from holdfast.control.operations.server.delete import server_delete_begin
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.instance import instances_deleting_idle
from holdfast.domain.credentials import Credentials


class Deletions:
    """A delete is never given up."""

    name = "deletions"
    description = "resumes deletes whose operation is gone"
    period_s = 30.0

    def __init__(self, store: Database) -> None:
        self._store = store

    def tick(self) -> Counter[str]:
        def resume(tx: Tx) -> Counter[str]:
            rows = instances_deleting_idle(tx, OPERATIONS_PER_TICK)
            for row in rows:
                server_delete_begin(tx, row, Credentials(row.user_id, "", "", project_id=row.project_id), "")
            return Counter(resumed=len(rows))

        return +self._store.write(resume)
