"""Networks: the table and who sees which."""

from __future__ import annotations

import hashlib

from sqlalchemy import Boolean, Column, ColumnElement, Integer, String, Table, UniqueConstraint, or_, select

from holdfast.base.errors import NoCapacity
from holdfast.base.limits import MAC_ATTEMPTS
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import Listable, always, object_fetch, one_of, resource_columns
from holdfast.control.store.schema import Json, metadata
from holdfast.domain.network import VNI_MAX, Network

network = Table(
    "network",
    metadata,
    *resource_columns(),
    Column("name", String, nullable=False, index=True),
    Column("admin_state_up", Boolean, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("external", Boolean, nullable=False),
    Column("mtu", Integer, nullable=False),
    Column("port_security", Boolean, nullable=False),
    Column("network_type", String, nullable=False),
    Column("physical_network", String, nullable=False),
    Column("vni", Integer, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("zone_hints", Json, nullable=False, server_default="[]"),
    UniqueConstraint("vni"),
)

# `subnets` is added by store/subnet, which knows that table
NETWORKS = Listable(
    Network,
    network,
    "Network",
    {
        "id": network.c.id,
        "name": network.c.name,
        "description": network.c.description,
        "project_id": network.c.project_id,
        "tenant_id": network.c.project_id,
        "admin_state_up": network.c.admin_state_up,
        "shared": network.c.shared,
        "router:external": network.c.external,
        "mtu": network.c.mtu,
        "port_security_enabled": network.c.port_security,
        "provider:network_type": network.c.network_type,
        "provider:physical_network": network.c.physical_network,
        "provider:segmentation_id": network.c.vni,
        "is_default": network.c.is_default,
        "revision_number": network.c.revision,
        "created_at": network.c.created_us,
        "updated_at": network.c.updated_us,
    },
    {"status": always("ACTIVE"), "admin_state": one_of(network.c.admin_state_up, {"UP": True, "DOWN": False})},
)


def network_fetch(tx: Tx, network_id: str) -> Network | None:
    """The network, or None."""
    found: Network | None = object_fetch(tx, NETWORKS, network_id)
    return found


def network_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own, what is shared, and the ways out."""
    return or_(network.c.project_id == project_id, network.c.shared, network.c.external)


def vni_free(tx: Tx, network_id: str) -> int:
    """A VXLAN identifier that no network has: drawn from the id, so that a freed one does not come back at once."""
    for attempt in range(MAC_ATTEMPTS):
        digest = hashlib.sha256(f"vni {network_id} {attempt}".encode()).digest()
        vni = int.from_bytes(digest[:4], "big") % VNI_MAX + 1
        if not vni_taken(tx, vni):
            return vni
    raise NoCapacity("No VXLAN network identifier is free.", code="NoNetworkAvailable")


def vni_taken(tx: Tx, vni: int) -> bool:
    """Say whether a network has it."""
    return tx.value(select(network.c.id).where(network.c.vni == vni)) is not None
