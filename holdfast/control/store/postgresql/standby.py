"""Whether a failover of the database can lose what was answered."""

from __future__ import annotations

from sqlalchemy import text

from holdfast.control.store.database import Tx


def standby_is_waited_for(tx: Tx) -> bool:
    """Whether a commit is on a second server before it is answered."""
    return bool(tx.value(text("SHOW synchronous_standby_names")))
