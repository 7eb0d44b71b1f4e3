"""Ports: the table, the groups of each, and the queries about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    String,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
)

from holdfast.base.errors import BadInput
from holdfast.control.store.database import Tx
from holdfast.control.store.network.network import network
from holdfast.control.store.network.query import (
    Listable,
    object_fetch,
    object_where,
    objects_in,
    one_of,
    resource_columns,
)
from holdfast.control.store.network.subnet_address import subnet_address
from holdfast.control.store.schema import Json, metadata
from holdfast.domain.port import DHCP, Port

port = Table(
    "port",
    metadata,
    *resource_columns(),
    Column("network_id", String, ForeignKey("network.id"), nullable=False),
    Column("name", String, nullable=False, index=True),
    Column("admin_state_up", Boolean, nullable=False),
    Column("mac", String, nullable=False),
    Column("device_id", String, nullable=False, index=True),
    Column("device_owner", String, nullable=False),
    Column("instance_id", String, nullable=False, index=True),
    Column("auto_for_instance", Boolean, nullable=False),
    Column("host_id", String, nullable=False, index=True),
    Column("up", Boolean, nullable=False),
    Column("vnic_type", String, nullable=False),
    Column("profile", Json, nullable=False),
    Column("port_security", Boolean, nullable=False),
    Column("allowed_pairs", Json, nullable=False),
    Column("dns_name", String, nullable=False),
    UniqueConstraint("network_id", "mac"),
)

port_security_group = Table(
    "port_security_group",
    metadata,
    Column("port_id", String, ForeignKey("port.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", String, ForeignKey("security_group.id"), primary_key=True, index=True),
)


def _fixed(values: Sequence[str]) -> ColumnElement[bool]:
    """`fixed_ips=ip_address=10.0.0.5`, repeated or joined by commas: each must hold."""
    columns = subnet_address.c
    kinds: dict[str, Callable[[str], ColumnElement[bool]]] = {
        "ip_address": lambda text: columns.address == text,
        "subnet_id": lambda text: columns.subnet_id == text,
        "ip_address_substr": lambda text: columns.address.contains(text, autoescape=True),
    }
    wanted: dict[str, list[ColumnElement[bool]]] = {}
    for part in (part for value in values for part in value.split(",")):
        name, _, text = part.partition("=")
        if name not in kinds:
            raise BadInput(f"Invalid filter fixed_ips: '{part[:64]}'", code="HTTPBadRequest")
        wanted.setdefault(name, []).append(kinds[name](text))
    matches = [or_(*options) for options in wanted.values()]
    return port.c.id.in_(select(columns.port_id).where(and_(*matches), columns.port_id.is_not(None)))


PORTS = Listable(
    Port,
    port,
    "Port",
    {
        "id": port.c.id,
        "name": port.c.name,
        "description": port.c.description,
        "project_id": port.c.project_id,
        "tenant_id": port.c.project_id,
        "network_id": port.c.network_id,
        "admin_state_up": port.c.admin_state_up,
        "mac_address": port.c.mac,
        "device_id": port.c.device_id,
        "device_owner": port.c.device_owner,
        "binding:host_id": port.c.host_id,
        "binding:vnic_type": port.c.vnic_type,
        "port_security_enabled": port.c.port_security,
        "dns_name": port.c.dns_name,
        "revision_number": port.c.revision,
        "created_at": port.c.created_us,
        "updated_at": port.c.updated_us,
    },
    {
        "fixed_ips": _fixed,
        "status": one_of(port.c.up, {"ACTIVE": True, "DOWN": False}),
        "ip_address": lambda values: _fixed([f"ip_address={value}" for value in values]),
        "security_groups": lambda values: port.c.id.in_(
            select(port_security_group.c.port_id).where(port_security_group.c.group_id.in_(values))
        ),
    },
)


_GROUPS_OF = (
    select(port_security_group.c.port_id, port_security_group.c.group_id)
    .where(port_security_group.c.port_id.in_(bindparam("port_ids", expanding=True)))
    .order_by(port_security_group.c.group_id)
)
_OF_NETWORK = select(port.c.id).where(port.c.network_id == bindparam("network_id")).limit(1)
_WITH_MAC = _OF_NETWORK.where(port.c.mac == bindparam("mac"))
_HERE = _OF_NETWORK.where(port.c.host_id == bindparam("host_id"), port.c.id != bindparam("but"))
_WITH_PORTS = (
    select(port.c.host_id)
    .where(port.c.network_id.in_(bindparam("network_ids", expanding=True)), port.c.host_id != "")
    .distinct()
)
_WITH_MEMBERS = (
    select(port.c.host_id)
    .join(port_security_group, port_security_group.c.port_id == port.c.id)
    .where(port_security_group.c.group_id.in_(bindparam("group_ids", expanding=True)), port.c.host_id != "")
    .distinct()
)
_IN_GROUP = (
    select(port.c.id)
    .join(port_security_group, port_security_group.c.port_id == port.c.id)
    .where(port_security_group.c.group_id == bindparam("group_id"))
    .where(port.c.host_id == bindparam("host_id"), port.c.id != bindparam("but"))
    .limit(1)
)


def port_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own, and whatever is plugged into its networks."""
    own = select(network.c.id).where(network.c.project_id == project_id)
    return or_(port.c.project_id == project_id, port.c.network_id.in_(own))


def ports_of_project(tx: Tx, project_id: str) -> list[Port]:
    """The project's own ports, oldest first."""
    return object_where(tx, PORTS, port.c.project_id == project_id)


def port_fetch(tx: Tx, port_id: str) -> Port | None:
    """The port, or None."""
    found: Port | None = object_fetch(tx, PORTS, port_id)
    return found


def ports_of_device(tx: Tx, device_id: str, *owners: str) -> list[Port]:
    """The ports of a router or a network's service, by owner words."""
    return object_where(tx, PORTS, port.c.device_id == device_id, port.c.device_owner.in_(owners))


def ports_of_network(tx: Tx, network_id: str) -> list[Port]:
    """Every port of a network."""
    return object_where(tx, PORTS, port.c.network_id == network_id)


def ports_of_instance_ids(tx: Tx, instance_ids: Sequence[str]) -> list[Port]:
    """Every port plugged into one of the instances, in the order they were made."""
    return objects_in(tx, PORTS, port.c.instance_id, instance_ids)


def mac_taken(tx: Tx, network_id: str, mac: str) -> bool:
    """Say whether a port of the network has it."""
    return tx.value(_WITH_MAC, {"network_id": network_id, "mac": mac}) is not None


def groups_of_ports(tx: Tx, port_ids: Sequence[str]) -> dict[str, list[str]]:
    """The security groups of each port, in one query."""
    found: dict[str, list[str]] = {}
    for port_id, group_id in tx.all(_GROUPS_OF, {"port_ids": list(port_ids)}) if port_ids else []:
        found.setdefault(port_id, []).append(group_id)
    return found


def port_groups_set(tx: Tx, port_id: str, group_ids: Sequence[str]) -> None:
    """Make these the security groups of a port."""
    tx.run(delete(port_security_group).where(port_security_group.c.port_id == port_id))
    tx.run(insert(port_security_group), [{"port_id": port_id, "group_id": group} for group in sorted(set(group_ids))])


def network_has_ports(tx: Tx, network_id: str, host_id: str, but: str) -> bool:
    """Say whether another port of the network is plugged on a host."""
    return tx.value(_HERE, {"network_id": network_id, "host_id": host_id, "but": but}) is not None


def hosts_of_networks(tx: Tx, network_ids: Sequence[str]) -> set[str]:
    """The hosts with a port of one of the networks."""
    return {row[0] for row in tx.all(_WITH_PORTS, {"network_ids": list(network_ids)})} if network_ids else set()


def hosts_of_groups(tx: Tx, group_ids: Sequence[str]) -> set[str]:
    """The hosts with a port in one of the security groups."""
    return {row[0] for row in tx.all(_WITH_MEMBERS, {"group_ids": list(group_ids)})} if group_ids else set()


def group_has_ports(tx: Tx, group_id: str, host_id: str, but: str) -> bool:
    """Say whether another port on a host is in a security group."""
    return tx.value(_IN_GROUP, {"group_id": group_id, "host_id": host_id, "but": but}) is not None


def ports_on_host(tx: Tx, host_id: str) -> list[Port]:
    """Every port that is plugged on a host."""
    return object_where(tx, PORTS, port.c.host_id == host_id)


def ports_of_networks_elsewhere(tx: Tx, network_ids: Sequence[str], host_id: str) -> list[Port]:
    """The ports of these networks that are plugged on another host."""
    if not network_ids:
        return []
    return object_where(tx, PORTS, port.c.network_id.in_(network_ids), port.c.host_id.not_in(("", host_id)))


def dhcp_ports_of_networks(tx: Tx, network_ids: Sequence[str]) -> list[Port]:
    """The ports that hold the addresses which answer DHCP."""
    if not network_ids:
        return []
    return object_where(tx, PORTS, port.c.network_id.in_(network_ids), port.c.device_owner == DHCP)


def ports_fetch(tx: Tx, port_ids: Sequence[str]) -> dict[str, Port]:
    """The ports with these ids."""
    return {each.id: each for each in objects_in(tx, PORTS, port.c.id, port_ids)}
