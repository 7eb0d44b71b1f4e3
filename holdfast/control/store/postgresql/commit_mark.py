"""The marks of commits, by which a writer finds out whether a commit whose answer was lost has happened.

A lane belongs to one thread of one process at a time (connections.py); its row is replaced by each of its
transactions, and so says which of them was the last to be committed.
"""

from __future__ import annotations

from sqlalchemy import Column, String, Table, delete

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata

commit_mark = Table(
    "commit_mark",
    metadata,
    Column("lane", String, primary_key=True),
    Column("mark", String, nullable=False),
    instant("at_us"),
)


def commit_marks_prune(tx: Tx, before_us: int) -> int:
    """Drop the lanes of processes that are gone; returns how many."""
    return tx.run(delete(commit_mark).where(commit_mark.c.at_us < before_us))
