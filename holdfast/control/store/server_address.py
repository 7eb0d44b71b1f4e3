"""The addresses and security groups of servers: two queries for any number of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, select

from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import floating_ip
from holdfast.control.store.network.network import network
from holdfast.control.store.network.port import port, port_security_group
from holdfast.control.store.network.security_group import security_group
from holdfast.control.store.network.subnet_address import subnet_address
from holdfast.domain.server import ServerAddress

_ADDRESSES = (
    select(
        port.c.instance_id,
        port.c.network_id,
        network.c.name,
        port.c.id,
        port.c.mac,
        subnet_address.c.address,
        floating_ip.c.address,
    )
    .select_from(port)
    .join(network, network.c.id == port.c.network_id)
    .join(subnet_address, subnet_address.c.port_id == port.c.id)
    .outerjoin(floating_ip, and_(floating_ip.c.port_id == port.c.id, floating_ip.c.fixed == subnet_address.c.address))
    .where(port.c.instance_id.in_(bindparam("ids", expanding=True)))
    .order_by(port.c.created_us, port.c.id, subnet_address.c.position)
)
_GROUPS = (
    select(port.c.instance_id, security_group.c.name)
    .select_from(port)
    .join(port_security_group, port_security_group.c.port_id == port.c.id)
    .join(security_group, security_group.c.id == port_security_group.c.group_id)
    .where(port.c.instance_id.in_(bindparam("ids", expanding=True)))
    .order_by(port.c.created_us, security_group.c.name)
)


def addresses_of(tx: Tx, instance_ids: Sequence[str]) -> dict[str, tuple[ServerAddress, ...]]:
    """Fixed addresses in the order of the cards, each followed by the floating one in front of it."""
    found: dict[str, list[ServerAddress]] = {}
    for row in tx.all(_ADDRESSES, {"ids": list(instance_ids)}) if instance_ids else ():
        instance_id, network_id, name, port_id, mac, fixed, floating = row
        mine = found.setdefault(instance_id, [])
        version = 6 if ":" in fixed else 4
        mine.append(ServerAddress(network_id, name, port_id, mac, fixed, version, False))
        if floating:
            mine.append(ServerAddress(network_id, name, port_id, mac, floating, 4, True))
    return {instance_id: tuple(addresses) for instance_id, addresses in found.items()}


def groups_of(tx: Tx, instance_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of security groups, each once."""
    found: dict[str, dict[str, None]] = {}
    for instance_id, name in tx.all(_GROUPS, {"ids": list(instance_ids)}) if instance_ids else ():
        found.setdefault(instance_id, {})[name] = None
    return {instance_id: tuple(names) for instance_id, names in found.items()}
