"""Hosts and what is promised on them. Promises are summed from rows; there are no counters to drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    Update,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from holdfast.control.store.database import Tx
from holdfast.control.store.placement.passage import passage
from holdfast.control.store.schema import Json, instant, metadata
from holdfast.domain.host import Allocation, Host
from holdfast.domain.observed import Capabilities

HOST_TOKENS = "host-tokens"  # topic: one changed, or is worth nothing any more

host = Table(
    "host",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("zone", String, nullable=False),
    Column("token_digest", String, nullable=False),  # sha256 of the host's token
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text, nullable=False),
    Column("capabilities", Json(Capabilities | None)),
    Column("problems", Json(), nullable=False),
    Column("unknown", Json(), nullable=False),
    Column("images", Json(), nullable=False),
    Column("desired_version", BigInteger, nullable=False),
    Column("disk_free_gib", Integer, nullable=False),
    Column("disk_store", String, nullable=False, index=True),
    instant("reported_us"),
    instant("created_us"),
)

allocation = Table(
    "allocation",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("host_id", String, nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Index(None, "host_id"),
)

_COLUMNS = [host.c[name] for name in Host.__struct_fields__]
_ALL = select(*_COLUMNS).order_by(host.c.name)
_ONE = select(*_COLUMNS).where(host.c.id == bindparam("host_id"))
_NAMES = select(host.c.id, host.c.name)
_ADDRESSES = select(host.c.id, host.c.capabilities).where(host.c.id.in_(bindparam("host_ids", expanding=True)))
_DISK_STORES = select(host.c.id, host.c.disk_store)
_NAME_OF = select(host.c.name).where(host.c.id == bindparam("host_id"))
_TWO = select(host.c.id).limit(2)
_ALLOCATION_INSERT = insert(allocation)
_ALLOCATION_DELETE = delete(allocation).where(allocation.c.instance_id == bindparam("of"))
_COMING, _THERE = passage.c, allocation.c  # room is held for what is coming as if it were there
_HELD = union_all(
    select(_THERE.host_id, literal(1).label("there"), _THERE.vcpus, _THERE.memory_mib, _THERE.disk_gib),
    select(_COMING.target_id, literal(0), _COMING.vcpus, _COMING.memory_mib, _COMING.disk_gib),
).subquery()
_SUMS = select(
    _HELD.c.host_id,
    func.sum(_HELD.c.there),
    func.sum(_HELD.c.vcpus),
    func.sum(_HELD.c.memory_mib),
    func.sum(_HELD.c.disk_gib),
).group_by(_HELD.c.host_id)
_ALLOCATION = [allocation.c[name] for name in Allocation.__struct_fields__]


def host_insert(tx: Tx, host_id: str, name: str, zone: str, token_digest: str) -> None:
    """Let a host join; the same host again only gets its new token."""
    if host_fetch(tx, host_id) is not None:
        tx.run(update(host).where(host.c.id == host_id).values(token_digest=token_digest))
        tx.notify(HOST_TOKENS)
        return
    empty = Host(host_id, name, zone, True, "", None, [], [], [], 0, 0, "", 0, tx.now_us)
    row = {field: getattr(empty, field) for field in Host.__struct_fields__}
    tx.run(insert(host), {**row, "token_digest": token_digest})


def host_fetch(tx: Tx, host_id: str) -> Host | None:
    return tx.struct(Host, _ONE, {"host_id": host_id})


def hosts_list(tx: Tx) -> list[Host]:
    """Every host, by name."""
    return tx.structs(Host, _ALL)


def host_update(tx: Tx, host_id: str, **changes: Any) -> None:
    hosts_update(tx, [(host_id, changes)])


def hosts_update(tx: Tx, changes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Change the same columns of several hosts, in the order of their ids: two that do so never wait for each other."""
    if changes:
        rows = [{"of": of, **{f"new_{name}": value for name, value in new.items()}} for of, new in changes]
        rows.sort(key=itemgetter("of"))
        tx.run(_update_of(tuple(changes[0][1])), rows if len(rows) > 1 else rows[0])


@cache
def _update_of(names: tuple[str, ...]) -> Update:
    """One statement for each set of columns that are written together: building one costs more than running it."""
    return update(host).where(host.c.id == bindparam("of")).values({name: bindparam(f"new_{name}") for name in names})


def host_delete(tx: Tx, host_id: str) -> None:
    """Forget a host; its token is worth nothing from then on."""
    tx.run(delete(host).where(host.c.id == host_id))
    tx.notify(HOST_TOKENS)


def hosts_are_several(tx: Tx) -> bool:
    """Say whether there is more than one host."""
    return len(tx.all(_TWO)) > 1


def host_addresses(tx: Tx, host_ids: Sequence[str]) -> dict[str, str]:
    """Where those of these hosts that ever reported are, by id."""
    rows = tx.all(_ADDRESSES, {"host_ids": list(host_ids)}) if host_ids else ()
    return {host_id: found.address for host_id, found in rows if found is not None}


def disk_stores(tx: Tx) -> dict[str, str]:
    """Which store of disks each host has before it, by id; empty where that is not known."""
    return dict(map(tuple, tx.all(_DISK_STORES)))


def host_zones(tx: Tx) -> set[str]:
    """The zones that hosts are in."""
    return {row[0] for row in tx.all(select(host.c.zone).distinct())}


def host_name(tx: Tx, host_id: str) -> str:
    """Its name; the id itself where there is no such host any more."""
    return str(tx.value(_NAME_OF, {"host_id": host_id}) or host_id)


def host_names(tx: Tx) -> dict[str, str]:
    """Names by id."""
    return dict(map(tuple, tx.all(_NAMES)))


def allocation_insert(tx: Tx, row: Allocation) -> None:
    """Promise room on a host; one promise per instance."""
    tx.run(_ALLOCATION_INSERT, {name: getattr(row, name) for name in Allocation.__struct_fields__})


def allocation_set(tx: Tx, row: Allocation) -> None:
    """Change what an instance holds of its host."""
    allocation_delete(tx, row.instance_id)
    allocation_insert(tx, row)


def allocation_delete(tx: Tx, instance_id: str) -> None:
    """Give the room back. None: nothing."""
    tx.run(_ALLOCATION_DELETE, {"of": instance_id})


def allocations_list(tx: Tx) -> list[Allocation]:
    return tx.structs(Allocation, select(*_ALLOCATION))


def allocation_sums(tx: Tx) -> dict[str, tuple[int, int, int, int]]:
    """Instances, and the processors, MiB and GiB promised to them and to those on their way, by host."""
    return {row[0]: (int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in tx.all(_SUMS)}
