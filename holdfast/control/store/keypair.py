"""Public keys of users."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text, delete, func, insert, select

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata
from holdfast.domain.instance import Keypair

keypair = Table(
    "keypair",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("fingerprint", String, nullable=False),
    instant("created_us"),
)

_KEYPAIR = [keypair.c[name] for name in Keypair.__struct_fields__]


def keypair_insert(tx: Tx, row: Keypair) -> None:
    tx.run(insert(keypair), {name: getattr(row, name) for name in Keypair.__struct_fields__})


def keypair_fetch(tx: Tx, user_id: str, name: str) -> Keypair | None:
    return tx.struct(Keypair, select(*_KEYPAIR).where(keypair.c.user_id == user_id, keypair.c.name == name))


def keypairs_list(tx: Tx, user_id: str, after: str = "", limit: int = 1000) -> list[Keypair]:
    """A user's keys by name, after one of them."""
    statement = select(*_KEYPAIR).where(keypair.c.user_id == user_id, keypair.c.name > after)
    return tx.structs(Keypair, statement.order_by(keypair.c.name).limit(limit))


def keypair_count(tx: Tx, user_id: str) -> int:
    return int(tx.value(select(func.count()).select_from(keypair).where(keypair.c.user_id == user_id)))


def keypair_delete(tx: Tx, user_id: str, name: str) -> int:
    return tx.run(delete(keypair).where(keypair.c.user_id == user_id, keypair.c.name == name))
