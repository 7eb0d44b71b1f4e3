"""Every public address that was ever handed out: who holds it, or since when nobody does. One query a page."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import and_, func, or_, select

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import ADDRESS_COOL_DOWN_S
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import project
from holdfast.control.store.instance import instance
from holdfast.control.store.network.floating_ip import floating_ip
from holdfast.control.store.network.network import network
from holdfast.control.store.network.port import port
from holdfast.control.store.network.subnet import subnet
from holdfast.control.store.network.subnet_address import pools_of, subnet_address
from holdfast.domain.address import pool_size


class PublicAddress(msgspec.Struct, frozen=True):
    """One address of an external subnet; nothing where there is nothing to name."""

    subnet_id: str
    address: str
    holder_id: str = ""  # the port that has it; empty: nobody
    holder_kind: str = ""  # the port's device_owner
    held_us: int = 0  # since when it is held
    released_us: int = 0  # when it was let go; 0: it is held
    project_id: str = ""
    project: str = ""
    floating_ip_id: str = ""
    port_id: str = ""  # where the floating address leads
    up: bool = False
    reason: str = ""  # why it is not up
    server_id: str = ""
    server: str = ""


class PublicPool(msgspec.Struct, frozen=True):
    """How full the pools of one external subnet are, in addresses; total = held + cooling + free."""

    network_id: str
    network: str
    subnet_id: str
    cidr: str
    total: int
    held: int
    cooling: int  # let go less than ADDRESS_COOL_DOWN_S ago: taken only when nothing else is free
    free: int


_target = port.alias("target")
_FOUND = (
    select(  # in the order of PublicAddress
        subnet_address.c.subnet_id,
        subnet_address.c.address,
        subnet_address.c.port_id,
        port.c.device_owner,
        func.coalesce(floating_ip.c.created_us, port.c.created_us),
        subnet_address.c.released_us,
        func.coalesce(floating_ip.c.project_id, port.c.project_id),
        project.c.name,
        floating_ip.c.id,
        floating_ip.c.port_id,
        floating_ip.c.up,
        floating_ip.c.reason,
        instance.c.id,
        instance.c.name,
    )
    .select_from(subnet_address)
    .join(subnet, subnet.c.id == subnet_address.c.subnet_id)
    .join(network, and_(network.c.id == subnet.c.network_id, network.c.external))
    .outerjoin(port, port.c.id == subnet_address.c.port_id)
    .outerjoin(
        floating_ip,
        and_(floating_ip.c.network_id == network.c.id, floating_ip.c.address == subnet_address.c.address),
    )
    .outerjoin(_target, _target.c.id == floating_ip.c.port_id)
    .outerjoin(instance, instance.c.id == func.coalesce(_target.c.instance_id, port.c.instance_id))
    .outerjoin(project, project.c.id == func.coalesce(floating_ip.c.project_id, port.c.project_id))
    .order_by(subnet_address.c.subnet_id, subnet_address.c.address)
)


def public_addresses(tx: Tx, after: tuple[str, str], limit: int) -> list[PublicAddress]:
    """At most `limit` of them behind (subnet, address), in the order of these."""
    columns = subnet_address.c
    behind = or_(columns.subnet_id > after[0], and_(columns.subnet_id == after[0], columns.address > after[1]))
    names = PublicAddress.__struct_fields__
    rows = (zip(names, row, strict=True) for row in tx.all(_FOUND.where(behind).limit(limit)))
    return [PublicAddress(**{name: value for name, value in row if value is not None}) for row in rows]


def public_pools(tx: Tx) -> list[PublicPool]:
    """Every subnet of external networks, by network name."""
    external = select(network.c.id, network.c.name, subnet.c.id, subnet.c.cidr).join(subnet).where(network.c.external)
    rows: Sequence[tuple[str, str, str, str]] = [tuple(row) for row in tx.all(external.order_by(network.c.name))]
    subnet_ids = [row[2] for row in rows]
    columns = subnet_address.c
    warm = columns.released_us > tx.now_us - ADDRESS_COOL_DOWN_S * SECOND_US
    counts = select(columns.subnet_id, columns.port_id.is_(None), func.count()).where(
        columns.subnet_id.in_(subnet_ids), columns.recycled, or_(columns.port_id.is_not(None), warm)
    )
    counted = {
        (subnet_id, bool(resting)): number
        for subnet_id, resting, number in tx.all(counts.group_by(columns.subnet_id, columns.port_id.is_(None)))
    }
    pools, found = pools_of(tx, subnet_ids), []
    for network_id, name, subnet_id, cidr in rows:
        total = sum(pool_size(pool) for pool in pools.get(subnet_id, []))
        held, cooling = (counted.get((subnet_id, resting), 0) for resting in (False, True))
        found.append(PublicPool(network_id, name, subnet_id, cidr, total, held, cooling, total - held - cooling))
    return found
