"""Addresses of subnets: who holds which, and which one is handed out next.

An address that was ever used has one row, for as long as it may come back: either a port holds it, or it
remembers when it was let go. (subnet, address) is the primary key, so no address ever has two holders.

    never used --take--> held --release--> resting --take, longest released first--> held

A pool's `used` counts from its start how many addresses were ever looked at: everything behind it is fresh, so a
fresh address is one step. Only when none is fresh do released ones come back, the longest released first; one that
has rested for less than ADDRESS_COOL_DOWN_S is thus taken only when nothing else is left, and the log says so (seed
001: addresses that were recycled while leased).
The release instant is an integer; it is never compared as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict
from holdfast.base.limits import ADDRESS_COOL_DOWN_S
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import instant, metadata
from holdfast.domain import address as addresses
from holdfast.domain.address import POOL_RECYCLED_MAX, Pool
from holdfast.domain.port import FixedAddress

log = logs.get(__name__)
WINDOW_MAX = 512  # candidates of one query, when addresses were picked by hand ahead of us

subnet_pool = Table(
    "subnet_pool",
    metadata,
    Column("subnet_id", String, ForeignKey("subnet.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("first", String, nullable=False),
    Column("last", String, nullable=False),
    Column("used", BigInteger, nullable=False),
)

subnet_address = Table(
    "subnet_address",
    metadata,
    Column("subnet_id", String, ForeignKey("subnet.id", ondelete="CASCADE"), primary_key=True),
    Column("address", String, primary_key=True),
    Column("port_id", String, ForeignKey("port.id"), index=True),  # NULL: resting
    Column("position", Integer, nullable=False),  # among the port's own
    Column("recycled", Boolean, nullable=False),  # in a pool: comes back once released
    instant("released_us", nullable=True),
)
Index(
    "ix_subnet_address_resting",
    subnet_address.c.subnet_id,
    subnet_address.c.released_us,
    sqlite_where=subnet_address.c.port_id.is_(None),
    postgresql_where=subnet_address.c.port_id.is_(None),
)
Index("ix_subnet_address_address", subnet_address.c.address)

# what every new port runs, built once
_POOLS = (
    select(subnet_pool.c.position, subnet_pool.c.first, subnet_pool.c.last, subnet_pool.c.used)
    .where(subnet_pool.c.subnet_id == bindparam("subnet_id"))
    .order_by(subnet_pool.c.position)
)
_KNOWN = select(subnet_address.c.address).where(
    subnet_address.c.subnet_id == bindparam("subnet_id"),
    subnet_address.c.address.in_(bindparam("candidates", expanding=True)),
)
_INSERT = insert(subnet_address)
_ADVANCE = (
    update(subnet_pool)
    .where(subnet_pool.c.subnet_id == bindparam("of"), subnet_pool.c.position == bindparam("number"))
    .values(used=bindparam("so_far"))
)
_HELD = (
    select(subnet_address.c.port_id, subnet_address.c.subnet_id, subnet_address.c.address)
    .where(subnet_address.c.port_id.in_(bindparam("port_ids", expanding=True)))
    .order_by(subnet_address.c.position, subnet_address.c.subnet_id, subnet_address.c.address)
)


def address_take(tx: Tx, subnet_ids: Sequence[str], port_id: str, position: int = 0) -> FixedAddress | None:
    """Give the port the address that rested longest in one of the subnets; None when all are full."""
    for subnet_id in subnet_ids:
        if address := _take_fresh(tx, subnet_id, port_id, position):
            return FixedAddress(port_id, subnet_id, address)
    return _take_released(tx, subnet_ids, port_id, position)


def address_take_exactly(tx: Tx, subnet_id: str, address: str, port_id: str, position: int = 0) -> FixedAddress:
    """Give the port this very address; Conflict when another one holds it."""
    columns = subnet_address.c
    row = (columns.subnet_id == subnet_id, columns.address == address)
    known = tx.all(select(columns.port_id).where(*row))
    if known and known[0][0] is not None:
        message = f"IP address {address} already allocated in subnet {subnet_id}"
        raise Conflict(message, code="IpAddressAlreadyAllocated")
    if known:
        tx.run(update(subnet_address).where(*row).values(port_id=port_id, position=position, released_us=None))
    else:
        pools = [(first, last) for _, first, last, _ in _pools(tx, subnet_id)]
        comes_back = any(_comes_back(pool) and addresses.in_pools(address, [pool]) for pool in pools)
        _insert(tx, subnet_id, address, port_id, position, comes_back)
    return FixedAddress(port_id, subnet_id, address)


def addresses_release(tx: Tx, port_ids: Sequence[str]) -> None:
    """Let go of everything that these ports hold; nothing held: nothing."""
    held = subnet_address.c.port_id.in_(port_ids)
    tx.run(delete(subnet_address).where(held, subnet_address.c.recycled.is_(False)))
    tx.run(update(subnet_address).where(held).values(port_id=None, released_us=tx.now_us))


def address_release(tx: Tx, fixed: FixedAddress) -> None:
    """Let go of one address."""
    columns = subnet_address.c
    row = (columns.subnet_id == fixed.subnet_id, columns.address == fixed.address, columns.port_id == fixed.port_id)
    tx.run(delete(subnet_address).where(*row, columns.recycled.is_(False)))
    tx.run(update(subnet_address).where(*row).values(port_id=None, released_us=tx.now_us))


def addresses_of_ports(tx: Tx, port_ids: Sequence[str]) -> dict[str, list[FixedAddress]]:
    """What each port holds, in one query."""
    found: dict[str, list[FixedAddress]] = {}
    for row in tx.structs(FixedAddress, _HELD, {"port_ids": list(port_ids)}) if port_ids else []:
        found.setdefault(row.port_id, []).append(row)
    return found


def holder_of(tx: Tx, subnet_id: str, address: str) -> str:
    """The port that holds an address; empty when none does."""
    columns = subnet_address.c
    return tx.value(select(columns.port_id).where(columns.subnet_id == subnet_id, columns.address == address)) or ""


def pools_of(tx: Tx, subnet_ids: Sequence[str]) -> dict[str, list[Pool]]:
    """The pools of each subnet, in one query."""
    columns = subnet_pool.c
    statement = select(columns.subnet_id, columns.first, columns.last).where(columns.subnet_id.in_(subnet_ids))
    found: dict[str, list[Pool]] = {}
    for subnet_id, first, last in tx.all(statement.order_by(columns.position)):
        found.setdefault(subnet_id, []).append((first, last))
    return found


def pools_set(tx: Tx, subnet_id: str, pools: Sequence[Pool]) -> None:
    """Make these the pools. What was used before is still known, and what is outside now never comes back."""
    tx.run(delete(subnet_pool).where(subnet_pool.c.subnet_id == subnet_id))
    tx.run(
        insert(subnet_pool),
        [
            {"subnet_id": subnet_id, "position": n, "first": first, "last": last, "used": 0}
            for n, (first, last) in enumerate(pools)
        ],
    )
    columns = subnet_address.c
    kept = [pool for pool in pools if _comes_back(pool)]
    for address, port_id in tx.all(select(columns.address, columns.port_id).where(columns.subnet_id == subnet_id)):
        row = (columns.subnet_id == subnet_id, columns.address == address)
        inside = addresses.in_pools(address, kept)
        if port_id is None and not inside:
            tx.run(delete(subnet_address).where(*row))
        else:
            tx.run(update(subnet_address).where(*row).values(recycled=inside))


def addresses_used(tx: Tx, subnet_ids: Sequence[str]) -> Mapping[str, int]:
    """How many addresses of each subnet are held."""
    columns = subnet_address.c
    statement = select(columns.subnet_id, func.count()).where(
        columns.subnet_id.in_(subnet_ids), columns.port_id.is_not(None)
    )
    return dict(map(tuple, tx.all(statement.group_by(columns.subnet_id))))


def _pools(tx: Tx, subnet_id: str) -> Sequence[tuple[int, str, str, int]]:
    return [tuple(row) for row in tx.all(_POOLS, {"subnet_id": subnet_id})]


def _comes_back(pool: Pool) -> bool:
    return addresses.pool_size(pool) <= POOL_RECYCLED_MAX


def _take_fresh(tx: Tx, subnet_id: str, port_id: str, position: int) -> str:
    for number, first, last, used in _pools(tx, subnet_id):
        pool, window = (first, last), 1
        while candidates := addresses.pool_slice(pool, used, window):
            known = _known(tx, subnet_id, candidates)
            free = next((n for n, address in enumerate(candidates) if address not in known), None)
            used += len(candidates) if free is None else free + 1
            if free is not None:
                _pool_advance(tx, subnet_id, number, used)
                _insert(tx, subnet_id, candidates[free], port_id, position, _comes_back(pool))
                return candidates[free]
            window = min(window * 8, WINDOW_MAX)
            _pool_advance(tx, subnet_id, number, used)
    return ""


def _known(tx: Tx, subnet_id: str, candidates: Sequence[str]) -> set[str]:
    return {row[0] for row in tx.all(_KNOWN, {"subnet_id": subnet_id, "candidates": list(candidates)})}


def _pool_advance(tx: Tx, subnet_id: str, number: int, used: int) -> None:
    tx.run(_ADVANCE, {"of": subnet_id, "number": number, "so_far": used})


def _take_released(tx: Tx, subnet_ids: Sequence[str], port_id: str, position: int) -> FixedAddress | None:
    """The longest released one, whether it has rested or not: there is nothing else."""
    columns = subnet_address.c
    resting = (columns.subnet_id.in_(subnet_ids), columns.port_id.is_(None))
    oldest = select(columns.subnet_id, columns.address, columns.released_us).where(*resting)
    rows = tx.all(oldest.order_by(columns.released_us, columns.address).limit(1))
    if not rows:
        return None
    subnet_id, address, released_us = rows[0]
    row = (columns.subnet_id == subnet_id, columns.address == address)
    tx.run(update(subnet_address).where(*row).values(port_id=port_id, position=position, released_us=None))
    rested_s = (tx.now_us - released_us) // SECOND_US
    if rested_s < ADDRESS_COOL_DOWN_S:
        log.warn("address_reused_early", subnet=subnet_id, address=address, rested_s=rested_s, port=port_id)
    return FixedAddress(port_id, subnet_id, address)


def _insert(tx: Tx, subnet_id: str, address: str, port_id: str, position: int, recycled: bool) -> None:
    row = {"subnet_id": subnet_id, "address": address, "port_id": port_id, "position": position}
    tx.run(_INSERT, {**row, "recycled": recycled, "released_us": None})
