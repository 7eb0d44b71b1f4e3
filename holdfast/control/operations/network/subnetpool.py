"""Subnet pools: made, grown, deleted, and cut from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.base import ids
from holdfast.base.errors import Conflict
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import object_count, object_delete, object_insert, object_update
from holdfast.control.store.network.subnetpool import SUBNETPOOLS, subnetpool_fetch, subnets_of_pool
from holdfast.control.store.quota import quota_require
from holdfast.domain.address import range_parse
from holdfast.domain.subnetpool import SubnetPool, cut, grown_check, lengths_check, prefixes_parse


def subnetpool_create(tx: Tx, project_id: str, prefixes: Sequence[str], fields: Mapping[str, Any]) -> SubnetPool:
    """Make a pool; lengths that nobody names are the family's own."""
    quota_require(tx, project_id, "subnetpool", object_count(tx, SUBNETPOOLS, project_id))
    ranges = prefixes_parse(prefixes)
    version = range_parse(ranges[0]).version
    low = fields.get("min_prefixlen") or (8 if version == 4 else 64)
    high = fields.get("max_prefixlen") or (32 if version == 4 else 128)
    made = SubnetPool(
        id=ids.new_id(),
        project_id=project_id,
        name=fields.get("name", ""),
        description=fields.get("description", ""),
        ip_version=version,
        prefixes=ranges,
        min_prefixlen=low,
        max_prefixlen=high,
        default_prefixlen=fields.get("default_prefixlen") or low,
        shared=fields.get("shared", False),
        is_default=fields.get("is_default", False),
        created_us=tx.now_us,
        updated_us=tx.now_us,
        revision=1,
    )
    lengths_check(version, made.min_prefixlen, made.default_prefixlen, made.max_prefixlen)
    object_insert(tx, SUBNETPOOLS, made)
    return made


def subnetpool_update(tx: Tx, pool: SubnetPool, changes: Mapping[str, Any]) -> SubnetPool:
    """Write the changes; a range is never taken away."""
    written = {name: value for name, value in changes.items() if value is not None}
    if "prefixes" in written:
        written["prefixes"] = prefixes_parse(written["prefixes"])
        grown_check(pool.prefixes, written["prefixes"])
    names = ("min_prefixlen", "default_prefixlen", "max_prefixlen")
    lengths_check(pool.ip_version, *[written.get(name, getattr(pool, name)) for name in names])
    object_update(tx, SUBNETPOOLS, pool.id, written)
    return subnetpool_fetch(tx, pool.id) or pool


def subnetpool_delete(tx: Tx, pool: SubnetPool) -> None:
    """Forget a pool; Conflict while a subnet is cut from it."""
    if subnets_of_pool(tx, pool.id):
        message = "Unable to delete subnet pool: Subnet pool has existing allocations."
        raise Conflict(message, code="SubnetPoolDeleteError")
    object_delete(tx, SUBNETPOOLS, pool.id)


def subnetpool_cut(tx: Tx, pool: SubnetPool, cidr: str = "", prefix_length: int = 0) -> str:
    """Return a range of the pool that no subnet has: the one asked for, or the first of the length."""
    return cut(pool, [subnet.cidr for subnet in subnets_of_pool(tx, pool.id)], cidr, prefix_length)
