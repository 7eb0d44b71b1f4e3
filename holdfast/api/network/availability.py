"""How full the networks are: counted from the rows that hold addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.network.listing import selected
from holdfast.api.network.networks import NETWORK
from holdfast.api.network.resource import found_visible
from holdfast.control.store.database import Tx
from holdfast.control.store.network.network import NETWORKS
from holdfast.control.store.network.query import Listing, object_list
from holdfast.control.store.network.subnet import subnets_of_networks
from holdfast.control.store.network.subnet_address import addresses_used, pools_of
from holdfast.domain.address import pool_size
from holdfast.domain.network import Network

_NAMES = {"network_id": "id", "network_name": "name", "project_id": "project_id", "tenant_id": "project_id"}


def availabilities_listed(call: Call) -> Reply:
    """GET /v2.0/network-ip-availabilities"""
    wanted = tuple(
        (_NAMES.get(name, name), (value,)) for name, value in call.query if name not in ("fields", "ip_version")
    )
    versions = {int(value) for value in call.arguments("ip_version") if value in ("4", "6")} or {4, 6}

    def look(tx: Tx) -> Reply:
        found = _render(tx, object_list(tx, NETWORKS, Listing(filters=wanted)), versions)
        return Reply(200, {"network_ip_availabilities": [selected(call, each) for each in found]})

    return call.services.store.read(look)


def availability_shown(call: Call) -> Reply:
    """GET /v2.0/network-ip-availabilities/NETWORK"""

    def look(tx: Tx) -> Reply:
        network = found_visible(tx, call, NETWORK, call.parameters["id"])
        return Reply(200, {"network_ip_availability": _render(tx, [network], {4, 6})[0]})

    return call.services.store.read(look)


def _render(tx: Tx, networks: Sequence[Network], versions: set[int]) -> list[dict[str, Any]]:
    subnets = subnets_of_networks(tx, [each.id for each in networks])
    subnet_ids = [subnet.id for each in subnets.values() for subnet in each]
    pools, used = pools_of(tx, subnet_ids), addresses_used(tx, subnet_ids)
    shown = []
    for network in networks:
        ranges: list[dict[str, Any]] = [
            {
                "subnet_id": subnet.id,
                "subnet_name": subnet.name,
                "cidr": subnet.cidr,
                "ip_version": subnet.ip_version,
                "used_ips": used.get(subnet.id, 0),
                "total_ips": sum(pool_size(pool) for pool in pools.get(subnet.id, [])),
            }
            for subnet in subnets.get(network.id, [])
            if subnet.ip_version in versions
        ]
        shown.append(
            {
                "network_id": network.id,
                "network_name": network.name,
                "tenant_id": network.project_id,
                "project_id": network.project_id,
                "subnet_ip_availability": ranges,
                "used_ips": sum(each["used_ips"] for each in ranges),
                "total_ips": sum(each["total_ips"] for each in ranges),
            }
        )
    return shown
