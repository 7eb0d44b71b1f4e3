"""Subnets: the table and its queries. What is taken of a subnet is in store/subnet_address."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Boolean, Column, ColumnElement, ForeignKey, Integer, String, Table, or_, select

from holdfast.control.store.database import Tx
from holdfast.control.store.network.network import NETWORKS, network
from holdfast.control.store.network.query import Listable, object_fetch, object_where, objects_in, resource_columns
from holdfast.control.store.schema import Json, metadata
from holdfast.domain.network import Subnet

subnet = Table(
    "subnet",
    metadata,
    *resource_columns(),
    Column("network_id", String, ForeignKey("network.id"), nullable=False, index=True),
    Column("name", String, nullable=False, index=True),
    Column("ip_version", Integer, nullable=False),
    Column("cidr", String, nullable=False),
    Column("gateway", String, nullable=False),
    Column("dhcp", Boolean, nullable=False),
    Column("nameservers", Json, nullable=False),
    Column("routes", Json, nullable=False),
    Column("ipv6_address_mode", String, nullable=False),
    Column("ipv6_ra_mode", String, nullable=False),
    Column("subnetpool_id", String, nullable=False, index=True),
)

SUBNETS = Listable(
    Subnet,
    subnet,
    "Subnet",
    {
        "id": subnet.c.id,
        "name": subnet.c.name,
        "description": subnet.c.description,
        "project_id": subnet.c.project_id,
        "tenant_id": subnet.c.project_id,
        "network_id": subnet.c.network_id,
        "ip_version": subnet.c.ip_version,
        "cidr": subnet.c.cidr,
        "gateway_ip": subnet.c.gateway,
        "enable_dhcp": subnet.c.dhcp,
        "ipv6_address_mode": subnet.c.ipv6_address_mode,
        "ipv6_ra_mode": subnet.c.ipv6_ra_mode,
        "subnetpool_id": subnet.c.subnetpool_id,
        "revision_number": subnet.c.revision,
        "created_at": subnet.c.created_us,
        "updated_at": subnet.c.updated_us,
    },
    {
        "shared": lambda values: subnet.c.network_id.in_(
            select(network.c.id).where(network.c.shared.in_([value.lower() in ("true", "1") for value in values]))
        ),
        "router:external": lambda values: subnet.c.network_id.in_(
            select(network.c.id).where(network.c.external.in_([value.lower() in ("true", "1") for value in values]))
        ),
    },
)


def subnet_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own, and those of shared networks. Ranges of a way out stay the owner's."""
    shared = select(network.c.id).where(or_(network.c.shared, network.c.project_id == project_id))
    return or_(subnet.c.project_id == project_id, subnet.c.network_id.in_(shared))


def subnets_pluggable(tx: Tx, project_id: str) -> list[Subnet]:
    """The IPv4 subnets that machines of the project can be in, oldest first: none of an external network."""
    inside = select(network.c.id).where(network.c.external.is_(False))
    where = (subnet_visible(project_id), subnet.c.ip_version == 4, subnet.c.network_id.in_(inside))
    return object_where(tx, SUBNETS, *where)


def subnet_fetch(tx: Tx, subnet_id: str) -> Subnet | None:
    """The subnet, or None."""
    found: Subnet | None = object_fetch(tx, SUBNETS, subnet_id)
    return found


def subnets_of_network(tx: Tx, network_id: str) -> list[Subnet]:
    """Every subnet of a network, in the order they were made."""
    return objects_in(tx, SUBNETS, subnet.c.network_id, [network_id])


def subnets_of_networks(tx: Tx, network_ids: Sequence[str]) -> dict[str, list[Subnet]]:
    """The subnets of each network, in one query."""
    found: dict[str, list[Subnet]] = {}
    for row in objects_in(tx, SUBNETS, subnet.c.network_id, network_ids):
        found.setdefault(row.network_id, []).append(row)
    return found


def subnets_fetch(tx: Tx, subnet_ids: Sequence[str]) -> dict[str, Subnet]:
    """The subnets with these ids."""
    return {row.id: row for row in objects_in(tx, SUBNETS, subnet.c.id, subnet_ids)}


NETWORKS_WITH_SUBNETS = Listable(
    NETWORKS.kind,
    NETWORKS.table,
    NETWORKS.noun,
    NETWORKS.columns,
    {
        **NETWORKS.clauses,
        "subnets": lambda values: network.c.id.in_(select(subnet.c.network_id).where(subnet.c.id.in_(values))),
    },
)
