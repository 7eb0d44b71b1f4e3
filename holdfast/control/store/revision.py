"""One counter for everything that hosts must know: whatever is newer than what an agent has is sent to it.

`desired` grows with every change; each machine's row carries the number of its last change, and `network`
holds the number of the last change to any network object. The row is locked until the transaction ends, so
numbers become visible in their order and no agent can miss one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, String, Table, bindparam, literal, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import metadata

HOSTS = "hosts"  # topic: some host's desired state changed

revision = Table(
    "revision",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)


_INSERTS: dict[bool, Any] = {  # by: is it PostgreSQL; the two kinds have nothing in common but their methods
    False: insert_sqlite(revision),
    True: insert_postgresql(revision),
}
_NEXT = {
    kind: insert.values(name="desired", value=1)
    .on_conflict_do_update(index_elements=["name"], set_={"value": revision.c.value + literal(1)})
    .returning(revision.c.value)
    for kind, insert in _INSERTS.items()
}
_NETWORK = {
    kind: insert.values(name="network", value=bindparam("number")).on_conflict_do_update(
        index_elements=["name"], set_={"value": bindparam("number")}
    )
    for kind, insert in _INSERTS.items()
}


_ALL = select(revision.c.name, revision.c.value)


def revision_next(tx: Tx) -> int:
    """Return a number greater than any before, for the machine that is being changed; wakes the hosts."""
    tx.notify(HOSTS)
    return int(tx.value(_NEXT[tx.is_postgresql]))


def revision_network(tx: Tx) -> None:
    """Say that a network object changed: every host fetches its network state again."""
    number = revision_next(tx)
    tx.run(_NETWORK[tx.is_postgresql], {"number": number})


def revision_now(tx: Tx) -> tuple[int, int]:
    """The newest number of all, and that of the last network change."""
    values = dict(map(tuple, tx.all(_ALL)))
    return values.get("desired", 0), values.get("network", 0)
