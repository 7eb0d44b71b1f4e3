"""How each host's machine is switched off: one sealed text a host. Only control/operations/fencing can open it."""

from __future__ import annotations

import msgspec
from sqlalchemy import Column, String, Table, Text, delete, insert, select

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata


class HostFence(msgspec.Struct, frozen=True):
    """A row; `config` is sealed."""

    host_id: str
    config: str
    updated_us: int


host_fence = Table(
    "host_fence",
    metadata,
    Column("host_id", String, primary_key=True),
    Column("config", Text, nullable=False),
    instant("updated_us"),
)

_COLUMNS = [host_fence.c[name] for name in HostFence.__struct_fields__]


def host_fence_set(tx: Tx, host_id: str, config: str) -> None:
    """Keep a host's configuration in place of the one before."""
    host_fence_delete(tx, host_id)
    tx.run(insert(host_fence), {"host_id": host_id, "config": config, "updated_us": tx.now_us})


def host_fence_fetch(tx: Tx, host_id: str) -> HostFence | None:
    return tx.struct(HostFence, select(*_COLUMNS).where(host_fence.c.host_id == host_id))


def host_fence_delete(tx: Tx, host_id: str) -> int:
    """Forget it and return how many that were."""
    return tx.run(delete(host_fence).where(host_fence.c.host_id == host_id))
