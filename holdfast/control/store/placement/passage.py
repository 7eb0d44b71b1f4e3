"""Passages: instances on their way to another host, and the room that is held there for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import Json, Word, instant, metadata
from holdfast.domain.desired import MoveEnd
from holdfast.domain.host import Passage, PassageKind

passage = Table(
    "passage",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("id", String, nullable=False),
    Column("kind", Word(PassageKind), nullable=False),
    Column("source_id", String, nullable=False),
    Column("target_id", String, nullable=False),
    Column("copy", String, nullable=False),
    Column("key", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("target_end", Json(MoveEnd | None)),
    Column("source_state", String, nullable=False),
    Column("target_state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("remaining_bytes", BigInteger, nullable=False),
    Column("total_bytes", BigInteger, nullable=False),
    instant("created_us"),
    instant("updated_us"),
    Index(None, "target_id", "revision"),
)

_COLUMNS = [passage.c[name] for name in Passage.__struct_fields__]
_OF = select(*_COLUMNS).where(passage.c.instance_id.in_(bindparam("ids", expanding=True)))
_TO = (
    select(*_COLUMNS)
    .where(passage.c.target_id == bindparam("host_id"), passage.c.revision > bindparam("since"))
    .where(passage.c.kind == PassageKind.LIVE)
)
_INSERT = insert(passage)


def passage_insert(tx: Tx, row: Passage) -> None:
    tx.run(_INSERT, {name: getattr(row, name) for name in Passage.__struct_fields__})


def passage_fetch(tx: Tx, instance_id: str) -> Passage | None:
    """The way that an instance is on; None: it stays where it is."""
    return passages_of(tx, [instance_id]).get(instance_id)


def passages_of(tx: Tx, instance_ids: Sequence[str]) -> dict[str, Passage]:
    """Those of some instances."""
    if not instance_ids:
        return {}
    return {row.instance_id: row for row in tx.structs(Passage, _OF, {"ids": list(instance_ids)})}


def passages_list(tx: Tx) -> list[Passage]:
    return tx.structs(Passage, select(*_COLUMNS).order_by(passage.c.created_us, passage.c.instance_id))


def passages_to(tx: Tx, host_id: str, since: int = 0) -> list[Passage]:
    """The live ones that a host is to receive, and that began after a revision."""
    return tx.structs(Passage, _TO, {"host_id": host_id, "since": since})


def host_has_passages(tx: Tx, host_id: str) -> bool:
    """Whether room is held on a host for an instance that is not there."""
    return tx.value(select(passage.c.id).where(passage.c.target_id == host_id).limit(1)) is not None


def passage_update(tx: Tx, row: Passage, **changes: Any) -> None:
    tx.run(update(passage).where(passage.c.instance_id == row.instance_id).values(**changes, updated_us=tx.now_us))


def passage_delete(tx: Tx, instance_id: str) -> None:
    """It arrived, or it stays. None: nothing."""
    tx.run(delete(passage).where(passage.c.instance_id == instance_id))
