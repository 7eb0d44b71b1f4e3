"""One counter for everything that hosts must know: whatever is newer than what an agent has is sent to it.

`desired` grows with every change; each machine's row carries the number of its last change, `network` holds the
number of the last change to a network object that may concern every host, and `network:HOST` that of one which
concerns HOST. The row is locked until the transaction ends, so numbers become visible in their order and no agent
can miss one.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    kind: insert.values(name=bindparam("of"), value=bindparam("number")).on_conflict_do_update(
        index_elements=["name"], set_={"value": bindparam("number")}
    )
    for kind, insert in _INSERTS.items()
}


_NOW = select(revision.c.name, revision.c.value).where(revision.c.name.in_(("desired", "network", bindparam("own"))))


def revision_next(tx: Tx) -> int:
    """Return a number greater than any before, for the machine that is being changed; wakes the hosts."""
    tx.notify(HOSTS)
    return int(tx.value(_NEXT[tx.is_postgresql]))


def revision_network(tx: Tx, host_ids: Iterable[str] | None = None) -> None:
    """Say that a network object changed: these hosts, or every one, fetch their network state again."""
    names = ["network"] if host_ids is None else [f"network:{host_id}" for host_id in sorted(set(host_ids) - {""})]
    if names:
        number = revision_next(tx)
        tx.run(_NETWORK[tx.is_postgresql], [{"of": name, "number": number} for name in names])


def revision_now(tx: Tx, host_id: str) -> tuple[int, int]:
    """The newest number of all, and that of the last network change which concerns a host."""
    values = dict(map(tuple, tx.all(_NOW, {"own": f"network:{host_id}"})))
    return values.get("desired", 0), max(values.get("network", 0), values.get(f"network:{host_id}", 0))
