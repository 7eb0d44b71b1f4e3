"""Everything that an audit compares, read in one snapshot."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from holdfast.control.store.database import Tx
from holdfast.control.store.host import allocations_list, hosts_list
from holdfast.control.store.image import images_with_bytes
from holdfast.control.store.instance import COLUMNS as INSTANCE
from holdfast.control.store.instance import instance, observations_all
from holdfast.control.store.network.floating_ip import floating_ip
from holdfast.control.store.network.port import port
from holdfast.control.store.network.subnet_address import subnet_address
from holdfast.control.store.operation import COLUMNS as OPERATION
from holdfast.control.store.operation import operation
from holdfast.control.store.placement.passage import passages_list
from holdfast.domain.host import Allocation, Host, Passage
from holdfast.domain.image import Image
from holdfast.domain.instance import Instance, InstanceState, Observation
from holdfast.domain.operation import Operation, OperationState


class AuditFacts(msgspec.Struct, frozen=True):
    """The facts. Deleted instances are among them only while something is still theirs."""

    now_us: int
    instances: list[Instance]
    observations: dict[str, Observation]
    allocations: list[Allocation]
    passages: list[Passage]
    open_acts: list[Operation]
    hosts: list[Host]
    port_ids: list[str]
    plugged: list[tuple[str, str]]  # (port, instance)
    floating: list[tuple[str, str]]  # (floating address, port)
    addresses: list[tuple[str, str]]  # (address, port)
    images: list[Image]


def audit_facts(tx: Tx) -> AuditFacts:
    """Read them all."""
    there = (instance.c.state != InstanceState.DELETED) | (instance.c.host_id != "")
    ports = tx.all(select(port.c.id, port.c.instance_id))
    return AuditFacts(
        now_us=tx.now_us,
        instances=tx.structs(Instance, select(*INSTANCE).where(there)),
        observations=observations_all(tx),
        allocations=allocations_list(tx),
        passages=passages_list(tx),
        open_acts=tx.structs(Operation, select(*OPERATION).where(operation.c.state == OperationState.OPEN)),
        hosts=hosts_list(tx),
        port_ids=[row[0] for row in ports],
        plugged=[(row[0], row[1]) for row in ports if row[1]],
        floating=[(row[0], row[1]) for row in tx.all(select(floating_ip.c.id, floating_ip.c.port_id))],
        addresses=[(row[0], row[1]) for row in tx.all(_HELD)],
        images=images_with_bytes(tx),
    )


_HELD = select(subnet_address.c.address, subnet_address.c.port_id).where(subnet_address.c.port_id.is_not(None))
