"""Routers: the table. Their legs are ports."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Boolean, Column, ColumnElement, String, Table, select

from holdfast.control.store.database import Tx
from holdfast.control.store.network.port import PORTS, port
from holdfast.control.store.network.query import Listable, always, object_fetch, object_where, resource_columns
from holdfast.control.store.schema import Json, metadata
from holdfast.domain.port import ROUTER_GATEWAY, ROUTER_INTERFACE, Port
from holdfast.domain.router import Router

router = Table(
    "router",
    metadata,
    *resource_columns(),
    Column("name", String, nullable=False, index=True),
    Column("admin_state_up", Boolean, nullable=False),
    Column("external_network_id", String, nullable=False, index=True),
    Column("snat", Boolean, nullable=False),
    Column("routes", Json, nullable=False),
    Column("zone_hints", Json, nullable=False, server_default="[]"),
)

ROUTERS = Listable(
    Router,
    router,
    "Router",
    {
        "id": router.c.id,
        "name": router.c.name,
        "description": router.c.description,
        "project_id": router.c.project_id,
        "tenant_id": router.c.project_id,
        "admin_state_up": router.c.admin_state_up,
        "revision_number": router.c.revision,
        "created_at": router.c.created_us,
        "updated_at": router.c.updated_us,
    },
    {"status": always("ACTIVE")},
)


def router_fetch(tx: Tx, router_id: str) -> Router | None:
    """The router, or None."""
    found: Router | None = object_fetch(tx, ROUTERS, router_id)
    return found


def router_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own."""
    return router.c.project_id == project_id


def router_legs(tx: Tx, router_ids: Sequence[str]) -> list[Port]:
    """Every leg of the routers: interfaces and gateways, in one query."""
    owners = (ROUTER_INTERFACE, ROUTER_GATEWAY)
    return object_where(tx, PORTS, port.c.device_id.in_(router_ids), port.c.device_owner.in_(owners))


def routers_of_networks(tx: Tx, network_ids: Sequence[str]) -> list[str]:
    """The ids of the routers with an interface in one of the networks."""
    where = (port.c.network_id.in_(network_ids), port.c.device_owner == ROUTER_INTERFACE)
    return [row[0] for row in tx.all(select(port.c.device_id).where(*where).distinct())]


def routers_fetch(tx: Tx, router_ids: Sequence[str]) -> list[Router]:
    """The routers with these ids."""
    return object_where(tx, ROUTERS, router.c.id.in_(router_ids))
