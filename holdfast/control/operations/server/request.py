"""Accept servers: everything that can be checked is checked, and everything they hold is taken, at once.

One transaction takes the quota, the ports with their addresses and the rows, and records the operation for
each server; either all of it happened or nothing did. Nova's and EC2's APIs both come through here.
"""

from __future__ import annotations

import msgspec

from holdfast.base import ids
from holdfast.base.ec2_ids import ec2_id
from holdfast.base.errors import BadInput, Conflict, NotFound, QuotaExceeded
from holdfast.base.limits import OPERATION_DEADLINE_S, USER_DATA_BYTES
from holdfast.control.operations.network.network import default_network_for
from holdfast.control.operations.network.port import port_create
from holdfast.control.operations.network.port_instance import port_bind
from holdfast.control.operations.network.security_group import security_groups_resolve
from holdfast.control.operations.server.create import CREATE
from holdfast.control.operations.server.rebuild import boot_sources
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_insert, instance_usage
from holdfast.control.store.keypair import keypair_fetch
from holdfast.control.store.network.port import port_fetch
from holdfast.control.store.operation import operation_insert
from holdfast.control.store.quota import quota_fits, quota_limits
from holdfast.control.store.revision import revision_next
from holdfast.control.store.server_group import server_group_fetch
from holdfast.domain.credentials import Credentials
from holdfast.domain.instance import Flavor, Instance, Keypair, hostname_of, instance_new, reservation_id
from holdfast.domain.port import COMPUTE, FixedWanted, PortWanted


class CardWanted(msgspec.Struct, frozen=True):
    """One network card that is asked for: an existing port, or an address in a network."""

    port_id: str = ""
    network_id: str = ""
    fixed: str = ""
    subnet_id: str = ""  # empty: any of the network


class ServerWanted(msgspec.Struct, frozen=True):
    """What a caller asks for. `cards` None: the project's own network; empty: no network."""

    name: str  # empty: its EC2 id
    flavor: Flavor
    image_id: str
    cards: tuple[CardWanted, ...] | None = None
    security_groups: tuple[str, ...] = ()  # names or ids
    key_name: str = ""
    user_data: str = ""  # base64
    config_drive: bool = False
    zone: str = ""  # zone, or zone:host
    properties: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    description: str = ""
    hostname: str = ""
    group_id: str = ""
    access_ipv4: str = ""
    access_ipv6: str = ""
    count_min: int = 1
    count_max: int = 1


def servers_accept(tx: Tx, wanted: ServerWanted, credentials: Credentials, request_id: str) -> list[Instance]:
    """Accept `count_max` servers, or as many as the quota allows but `count_min`; raises and takes nothing."""
    project_id = credentials.project_id
    key = _key(tx, wanted, credentials)
    sources = boot_sources(tx, wanted.image_id, wanted.flavor, credentials)
    if len(wanted.user_data) > USER_DATA_BYTES:
        raise BadInput(f"user_data is longer than {USER_DATA_BYTES} bytes of base64")
    if wanted.group_id and server_group_fetch(tx, wanted.group_id) is None:
        raise BadInput(f"server group {wanted.group_id} could not be found")
    count = _count(tx, wanted, project_id)
    cards = wanted.cards
    if cards is None:
        network = default_network_for(tx, project_id)
        cards = (CardWanted(network_id=network.id),) if network else ()
    if count > 1 and any(card.port_id or card.fixed for card in cards):
        raise BadInput("several servers cannot share one port or one fixed address; ask for one server each")
    groups = _groups(tx, wanted, project_id)
    first = ids.new_id()
    accepted = []
    for index in range(count):
        row = _row(tx, wanted, credentials, first if index == 0 else ids.new_id(), first, index, count, key)
        row = msgspec.structs.replace(row, image_id=wanted.image_id, image=msgspec.to_builtins(sources))
        instance_insert(tx, row)
        for card in cards:
            _plug(tx, row, card, groups)
        operation_insert(
            tx,
            kind=CREATE.kind,
            step=CREATE.steps[0].name,
            resource_id=row.id,
            project_id=project_id,
            user_id=credentials.user_id,
            request_id=request_id,
            deadline_s=OPERATION_DEADLINE_S,
        )
        accepted.append(row)
    return accepted


def _key(tx: Tx, wanted: ServerWanted, credentials: Credentials) -> Keypair | None:
    if not wanted.key_name:
        return None
    key = keypair_fetch(tx, credentials.user_id, wanted.key_name)
    if key is None:
        raise BadInput(f"Invalid key_name provided: you have no key pair {wanted.key_name!r}", code="keypair_unknown")
    return key


def _groups(tx: Tx, wanted: ServerWanted, project_id: str) -> list[str] | None:
    """Ids of the security groups asked for; None: the default one."""
    if not wanted.security_groups:
        return None
    try:
        return [group.id for group in security_groups_resolve(tx, project_id, wanted.security_groups)]
    except NotFound as err:
        raise BadInput(err.message, code="security_group_unknown") from err


def _count(tx: Tx, wanted: ServerWanted, project_id: str) -> int:
    """How many the quota allows."""
    used, limits = instance_usage(tx, project_id), quota_limits(tx, project_id)
    for count in range(wanted.count_max, 0, -1):
        try:
            quota_fits(limits, project_id, "instances", used[0], count)
            quota_fits(limits, project_id, "cores", used[1], count * wanted.flavor.vcpus)
            quota_fits(limits, project_id, "ram", used[2], count * wanted.flavor.memory_mib)
            return count
        except QuotaExceeded:
            if count <= wanted.count_min:
                raise
    raise Conflict("no server was asked for")


def _row(
    tx: Tx,
    wanted: ServerWanted,
    credentials: Credentials,
    instance_id: str,
    first_id: str,
    index: int,
    count: int,
    key: Keypair | None,
) -> Instance:
    name = _name(wanted, instance_id, index, count)
    return instance_new(
        tx.now_us,
        id=instance_id,
        project_id=credentials.project_id,
        user_id=credentials.user_id,
        name=name,
        description=wanted.description,
        hostname=wanted.hostname or hostname_of(name),
        revision=revision_next(tx),
        flavor=wanted.flavor,
        key_name=key.name if key else "",
        key_public=key.public_key if key else "",
        user_data=wanted.user_data,
        config_drive=wanted.config_drive,
        zone_asked=wanted.zone,
        properties=wanted.properties,
        tags=list(wanted.tags),
        security_groups=list(wanted.security_groups),
        group_id=wanted.group_id,
        access_ipv4=wanted.access_ipv4,
        access_ipv6=wanted.access_ipv6,
        reservation_id=reservation_id(first_id),
        launch_index=index,
    )


def _name(wanted: ServerWanted, instance_id: str, index: int, count: int) -> str:
    if not wanted.name:
        return ec2_id("i", instance_id)
    return wanted.name if count == 1 else f"{wanted.name}-{index + 1}"


def _plug(tx: Tx, row: Instance, card: CardWanted, groups: list[str] | None) -> None:
    """Give the server one card: the port that was named, or a new one that goes with the server."""
    if card.port_id:
        _port_check(tx, card.port_id, row.project_id)
        port_bind(tx, card.port_id, row.id)
        return
    port_create(
        tx,
        PortWanted(
            project_id=row.project_id,
            network_id=card.network_id,
            fixed=[FixedWanted(card.subnet_id, card.fixed)] if card.subnet_id or card.fixed else None,
            security_groups=groups,
            device_id=row.id,
            device_owner=COMPUTE,
            instance_id=row.id,
            auto_for_instance=True,
            dns_name=row.hostname,
        ),
    )


def _port_check(tx: Tx, port_id: str, project_id: str) -> None:
    """A port of another project does not exist for the caller."""
    port = port_fetch(tx, port_id)
    if port is None or port.project_id != project_id:
        raise BadInput(f"Port {port_id} could not be found.", code="port_unknown")
