"""How each host's machine is switched off: one sealed text a host, that operations/host/fence_config can open."""

from __future__ import annotations

import msgspec
from sqlalchemy import Column, String, Table, Text, delete, insert, select, update

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata


class HostFence(msgspec.Struct, frozen=True):
    """A row; `config` is sealed."""

    host_id: str
    config: str
    updated_us: int
    asked_us: int  # when somebody last asked for the machine to be switched off; 0: nobody did
    tried_us: int  # when its switch last answered, or could not be asked
    words: str  # what came of that


host_fence = Table(
    "host_fence",
    metadata,
    Column("host_id", String, primary_key=True),
    Column("config", Text, nullable=False),
    instant("updated_us"),
    instant("asked_us"),
    instant("tried_us"),
    Column("words", Text, nullable=False),
)

_COLUMNS = [host_fence.c[name] for name in HostFence.__struct_fields__]
_ALL = select(*_COLUMNS)


def host_fence_set(tx: Tx, host_id: str, config: str) -> None:
    """Keep a host's configuration in place of the one before."""
    host_fence_delete(tx, host_id)
    row = HostFence(host_id, config, tx.now_us, 0, 0, "")
    tx.run(insert(host_fence), {name: getattr(row, name) for name in HostFence.__struct_fields__})


def host_fence_fetch(tx: Tx, host_id: str) -> HostFence | None:
    return tx.struct(HostFence, select(*_COLUMNS).where(host_fence.c.host_id == host_id))


def host_fence_delete(tx: Tx, host_id: str) -> int:
    """Forget it and return how many that were."""
    return tx.run(delete(host_fence).where(host_fence.c.host_id == host_id))


def host_fences(tx: Tx) -> dict[str, HostFence]:
    """Every one, by host."""
    return {row.host_id: row for row in tx.structs(HostFence, _ALL)}


def host_fence_tried(tx: Tx, host_id: str, words: str) -> None:
    """Keep what came of a try."""
    tx.run(update(host_fence).where(host_fence.c.host_id == host_id).values(tried_us=tx.now_us, words=words))


def host_fence_ask(tx: Tx, host_id: str) -> bool:
    """Ask for the machine to be switched off; False when nothing says how."""
    return tx.run(update(host_fence).where(host_fence.c.host_id == host_id).values(asked_us=tx.now_us)) == 1
