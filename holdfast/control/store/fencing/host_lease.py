"""Leases of hosts, proofs that they are off, and who used to hold what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from holdfast.base import ids
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host
from holdfast.control.store.revision import revision_next
from holdfast.control.store.schema import Word, instant, metadata
from holdfast.domain.lease import Departed, FenceProof, HostLease, HostPhase, Proof, nobody

host_lease = Table(
    "host_lease",
    metadata,
    Column("host_id", String, primary_key=True),
    Column("phase", Word(HostPhase), nullable=False),
    Column("incarnation", Integer, nullable=False),
    Column("boot_id", String, nullable=False),
    Column("machine", String, nullable=False),
    instant("until_us"),
    Column("enforced", Boolean, nullable=False),
    instant("renewed_us"),
    instant("fenced_us"),
    Column("fenced_by", String, nullable=False),
    Index(None, "phase", "until_us"),
)

fence_proof = Table(
    "fence_proof",
    metadata,
    Column("id", String, primary_key=True),
    Column("host_id", String, nullable=False),
    Column("kind", Word(Proof), nullable=False),
    instant("at_us"),
    Column("user_id", String, nullable=False),
    Column("words", Text, nullable=False),
    Index(None, "host_id", "at_us"),
)

departed = Table(
    "departed",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("host_id", String, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("erase", Boolean, nullable=False),
    instant("at_us"),
    Index(None, "host_id", "revision"),
)

_LEASE = [host_lease.c[name] for name in HostLease.__struct_fields__]
_ONE = select(*_LEASE).where(host_lease.c.host_id == bindparam("host_id"))
_ALL = select(*_LEASE)
_SOME = _ALL.where(host_lease.c.host_id.in_(bindparam("host_ids", expanding=True)))
_RENEW = (
    update(host_lease)
    .where(host_lease.c.host_id == bindparam("of"))
    .values(until_us=bindparam("until"), enforced=bindparam("enforce"), renewed_us=bindparam("now"))
)
_SHARES = select(host.c.id).where(
    host.c.disk_store == bindparam("store"), host.c.disk_store != "", host.c.id != bindparam("host_id")
)
_SHARES_ONE = _SHARES.limit(1)
_TROUBLED = (
    select(host.c.id)
    .outerjoin(host_lease, host_lease.c.host_id == host.c.id)
    .where(or_(host_lease.c.phase == HostPhase.FENCED, host.c.reported_us.between(1, bindparam("silent"))))
    .limit(1)
)
_STORE_OF = select(host.c.disk_store).where(host.c.id == bindparam("host_id"))
_STORES_OF = select(host.c.id, host.c.disk_store).where(
    host.c.id.in_(bindparam("host_ids", expanding=True)), host.c.disk_store != ""
)
_STORES_SHARED = (
    select(host.c.disk_store)
    .where(host.c.disk_store.in_(bindparam("stores", expanding=True)))
    .group_by(host.c.disk_store)
    .having(func.count() > 1)
)
_PROOF = [fence_proof.c[name] for name in FenceProof.__struct_fields__]
_DEPARTED = [departed.c[name] for name in Departed.__struct_fields__]
_DEPARTED_SINCE = (
    select(*_DEPARTED)
    .where(departed.c.host_id == bindparam("host_id"), departed.c.revision > bindparam("since"))
    .order_by(departed.c.revision)
)
_DEPARTED_INSERT = insert(departed)
_DEPARTED_DROP = delete(departed).where(
    departed.c.instance_id == bindparam("instance"), departed.c.host_id == bindparam("holder")
)
_DEPARTED_OF = select(*_DEPARTED).where(departed.c.instance_id == bindparam("instance_id"))


def lease_fetch(tx: Tx, host_id: str) -> HostLease:
    """The lease of a host, which may be one that it never had."""
    return tx.struct(HostLease, _ONE, {"host_id": host_id}) or nobody(host_id)


def leases_fetch(tx: Tx, host_ids: Sequence[str]) -> dict[str, HostLease]:
    """The leases of some hosts, by host; none for one that never had any."""
    found = tx.structs(HostLease, _SOME, {"host_ids": list(host_ids)})
    return {row.host_id: row for row in found}


def leases_by_host(tx: Tx) -> dict[str, HostLease]:
    """Every lease that there ever was, by host."""
    return {row.host_id: row for row in tx.structs(HostLease, _ALL)}


def hosts_are_well(tx: Tx, silent_us: int) -> bool:
    """Whether no host is fenced, and none that ever reported has been silent since an instant."""
    return tx.value(_TROUBLED, {"silent": silent_us}) is None


def lease_write(tx: Tx, row: HostLease) -> None:
    """Replace a host's lease."""
    tx.run(delete(host_lease).where(host_lease.c.host_id == row.host_id))
    tx.run(insert(host_lease), {name: getattr(row, name) for name in HostLease.__struct_fields__})


def leases_extend(tx: Tx, until_us: int, enforced: Mapping[str, bool]) -> None:
    """Grant more to each of these hosts, to be enforced or not; in the order of their ids, as `hosts_update`."""
    same = {"until": until_us, "now": tx.now_us}
    tx.run(_RENEW, [{**same, "of": host_id, "enforce": enforce} for host_id, enforce in sorted(enforced.items())])


def lease_forget(tx: Tx, host_id: str) -> None:
    """Drop what is kept of a host that is forgotten."""
    tx.run(delete(host_lease).where(host_lease.c.host_id == host_id))
    tx.run(delete(departed).where(departed.c.host_id == host_id))


def hosts_sharing_disks(tx: Tx, host_id: str) -> bool:
    """Whether another host has the disks of this one before it."""
    store = tx.value(_STORE_OF, {"host_id": host_id})
    return bool(store) and tx.value(_SHARES_ONE, {"host_id": host_id, "store": store}) is not None


def hosts_that_share_disks(tx: Tx, host_ids: Sequence[str]) -> set[str]:
    """Those of these hosts whose disks another host has before it."""
    stores = dict(map(tuple, tx.all(_STORES_OF, {"host_ids": list(host_ids)})))
    if not stores:
        return set()
    shared = {row[0] for row in tx.all(_STORES_SHARED, {"stores": sorted(set(stores.values()))})}
    return {host_id for host_id, store in stores.items() if store in shared}


def proof_add(tx: Tx, host_id: str, kind: Proof, user_id: str, words: str) -> FenceProof:
    """Write down what shows that a host is off."""
    row = FenceProof(ids.new_id(), host_id, kind, tx.now_us, user_id, words)
    tx.run(insert(fence_proof), {name: getattr(row, name) for name in FenceProof.__struct_fields__})
    return row


def proofs_of(tx: Tx, host_id: str, since_us: int = -1) -> list[FenceProof]:
    """What was ever seen, or after an instant, newest first."""
    columns = fence_proof.c
    statement = select(*_PROOF).where(columns.host_id == host_id, columns.at_us > since_us)
    return tx.structs(FenceProof, statement.order_by(columns.at_us.desc()))


def departed_add(tx: Tx, instance_id: str, host_id: str, generation: int, erase: bool) -> None:
    """Ask a host to end what it has of an instance. Said again, it must confirm the newer generation."""
    departed_drop(tx, instance_id, host_id)
    row = Departed(instance_id, host_id, generation, revision_next(tx), erase, tx.now_us)
    tx.run(_DEPARTED_INSERT, {name: getattr(row, name) for name in Departed.__struct_fields__})


def departed_drop(tx: Tx, instance_id: str, host_id: str) -> int:
    """The host confirmed; returns how many rows that were."""
    return tx.run(_DEPARTED_DROP, {"instance": instance_id, "holder": host_id})


def departed_since(tx: Tx, host_id: str, revision: int) -> list[Departed]:
    """What left a host after a revision."""
    return tx.structs(Departed, _DEPARTED_SINCE, {"host_id": host_id, "since": revision})


def departed_from(tx: Tx, instance_id: str) -> list[Departed]:
    """The former holders of an instance that have not confirmed."""
    return tx.structs(Departed, _DEPARTED_OF, {"instance_id": instance_id})


def departed_fetch(tx: Tx, instance_id: str, host_id: str) -> Departed | None:
    """What one host has to confirm of one instance."""
    return next((row for row in departed_from(tx, instance_id) if row.host_id == host_id), None)


def hosts_of_store(tx: Tx, disk_store: str, but: str) -> list[str]:
    """The other hosts that have a store of disks before them."""
    rows: Any = tx.all(_SHARES, {"store": disk_store, "host_id": but})
    return [row[0] for row in rows]
