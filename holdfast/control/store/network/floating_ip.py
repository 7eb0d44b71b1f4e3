"""Floating addresses: the table. One row per address and per fixed address, by constraint."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Table,
    UniqueConstraint,
    and_,
    or_,
)

from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import Listable, object_fetch, object_where, objects_in, resource_columns
from holdfast.control.store.schema import metadata
from holdfast.domain.floating_ip import FloatingIp

floating_ip = Table(
    "floating_ip",
    metadata,
    *resource_columns(),
    Column("network_id", String, ForeignKey("network.id"), nullable=False),
    Column("address", String, nullable=False, index=True),
    Column("port_id", String, nullable=False, index=True),
    Column("fixed", String, nullable=False),
    Column("router_id", String, nullable=False, index=True),
    Column("auto_for_instance", Boolean, nullable=False),
    Column("request_key", String, nullable=False),
    Column("up", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    UniqueConstraint("network_id", "address"),
)
_attached = floating_ip.c.port_id != ""
Index(
    "uq_floating_ip_port_id_fixed",
    floating_ip.c.port_id,
    floating_ip.c.fixed,
    unique=True,
    sqlite_where=_attached,
    postgresql_where=_attached,
)
_keyed = floating_ip.c.request_key != ""
Index(
    "uq_floating_ip_project_id_request_key",
    floating_ip.c.project_id,
    floating_ip.c.request_key,
    unique=True,
    sqlite_where=_keyed,
    postgresql_where=_keyed,
)


def _status(values: Sequence[str]) -> ColumnElement[bool]:
    active = and_(_attached, floating_ip.c.up)
    words = {value.upper() for value in values}
    return or_(
        *([active] if "ACTIVE" in words else []), *([~active] if "DOWN" in words else []), floating_ip.c.id == ""
    )


FLOATING_IPS = Listable(
    FloatingIp,
    floating_ip,
    "FloatingIP",
    {
        "id": floating_ip.c.id,
        "description": floating_ip.c.description,
        "project_id": floating_ip.c.project_id,
        "tenant_id": floating_ip.c.project_id,
        "floating_network_id": floating_ip.c.network_id,
        "floating_ip_address": floating_ip.c.address,
        "port_id": floating_ip.c.port_id,
        "fixed_ip_address": floating_ip.c.fixed,
        "router_id": floating_ip.c.router_id,
        "revision_number": floating_ip.c.revision,
        "created_at": floating_ip.c.created_us,
        "updated_at": floating_ip.c.updated_us,
    },
    {"status": _status},
)


def floating_ip_fetch(tx: Tx, floating_ip_id: str) -> FloatingIp | None:
    """The address, or None."""
    found: FloatingIp | None = object_fetch(tx, FLOATING_IPS, floating_ip_id)
    return found


def floating_ip_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own."""
    return floating_ip.c.project_id == project_id


def floating_ips_of_ports(tx: Tx, port_ids: Sequence[str]) -> list[FloatingIp]:
    """Every floating address that leads to one of the ports, in one query."""
    return objects_in(tx, FLOATING_IPS, floating_ip.c.port_id, port_ids)


def floating_ips_of_router(tx: Tx, router_id: str) -> list[FloatingIp]:
    """Every floating address whose path goes through the router."""
    return object_where(tx, FLOATING_IPS, floating_ip.c.router_id == router_id)


def floating_ip_of_fixed(tx: Tx, port_id: str, fixed: str) -> FloatingIp | None:
    """The floating address that leads to a fixed one, or None."""
    rows = object_where(tx, FLOATING_IPS, floating_ip.c.port_id == port_id, floating_ip.c.fixed == fixed)
    return rows[0] if rows else None


def floating_ip_of_key(tx: Tx, project_id: str, request_key: str) -> FloatingIp | None:
    """The floating address that an earlier request with the key got, or None."""
    where = (floating_ip.c.project_id == project_id, floating_ip.c.request_key == request_key)
    rows = object_where(tx, FLOATING_IPS, *where)
    return rows[0] if rows else None
