"""Subnet pools: the table. What was cut from one are the subnets that name it."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ColumnElement, Integer, String, Table, or_

from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import Listable, object_fetch, object_where, resource_columns
from holdfast.control.store.network.subnet import SUBNETS, subnet
from holdfast.control.store.schema import Json, metadata
from holdfast.domain.network import Subnet
from holdfast.domain.subnetpool import SubnetPool

subnetpool = Table(
    "subnetpool",
    metadata,
    *resource_columns(),
    Column("name", String, nullable=False, index=True),
    Column("ip_version", Integer, nullable=False),
    Column("prefixes", Json, nullable=False),
    Column("min_prefixlen", Integer, nullable=False),
    Column("max_prefixlen", Integer, nullable=False),
    Column("default_prefixlen", Integer, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
)

SUBNETPOOLS = Listable(
    SubnetPool,
    subnetpool,
    "SubnetPool",
    {
        "id": subnetpool.c.id,
        "name": subnetpool.c.name,
        "description": subnetpool.c.description,
        "project_id": subnetpool.c.project_id,
        "tenant_id": subnetpool.c.project_id,
        "ip_version": subnetpool.c.ip_version,
        "min_prefixlen": subnetpool.c.min_prefixlen,
        "max_prefixlen": subnetpool.c.max_prefixlen,
        "default_prefixlen": subnetpool.c.default_prefixlen,
        "shared": subnetpool.c.shared,
        "is_default": subnetpool.c.is_default,
        "revision_number": subnetpool.c.revision,
        "created_at": subnetpool.c.created_us,
        "updated_at": subnetpool.c.updated_us,
    },
)


def subnetpool_fetch(tx: Tx, pool_id: str) -> SubnetPool | None:
    """The pool, or None."""
    found: SubnetPool | None = object_fetch(tx, SUBNETPOOLS, pool_id)
    return found


def subnetpool_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own, and what is shared."""
    return or_(subnetpool.c.project_id == project_id, subnetpool.c.shared)


def subnets_of_pool(tx: Tx, pool_id: str) -> list[Subnet]:
    """The subnets that were cut from a pool."""
    return object_where(tx, SUBNETS, subnet.c.subnetpool_id == pool_id)
