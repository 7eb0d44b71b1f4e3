"""VPCs and subnets: views of the project's networks. A project has one VPC, with every network that it may use.

A subnet of EC2's is an IPv4 subnet of a network that instances can be plugged into: never one of an external
network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import Facts, filter_of, page_of
from holdfast.api.ec2.lookup import SUBNET, VPC, check, missing, pick, vpc_id
from holdfast.api.http.call import Call
from holdfast.base.errors import Conflict
from holdfast.control.operations.network.network import default_network_for
from holdfast.control.store.database import Tx
from holdfast.control.store.network.router import routers_fetch, routers_of_networks
from holdfast.control.store.network.subnet import subnets_pluggable
from holdfast.control.store.network.subnet_address import addresses_used, pools_of
from holdfast.domain.address import pool_size
from holdfast.domain.network import Subnet

_VPC_FILTERS = {"cidr": "CidrBlock", "owner-id": "OwnerId", "state": "State", "vpc-id": "VpcId"}
_SUBNET_FILTERS = {
    "availability-zone": "AvailabilityZone",
    "availabilityZone": "AvailabilityZone",
    "cidr": "CidrBlock",
    "cidr-block": "CidrBlock",
    "cidrBlock": "CidrBlock",
    "owner-id": "OwnerId",
    "state": "State",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}


def vpcs_describe(call: Call, members: Members) -> Members:
    """DescribeVpcs: the one of the project."""
    flags = ("is-default", "isDefault")
    passes = filter_of(members.get("Filters", []), (*_VPC_FILTERS, *flags, "cidr-block-association.cidr-block"))
    check(VPC, members.get("VpcIds", []))
    for text in members.get("VpcIds", []):
        vpc_check(call, text)
    cidrs = [subnet.cidr for subnet in call.services.store.read(lambda tx: subnets_pluggable(tx, call.project_id))]
    view = {
        "VpcId": vpc_id(call.project_id),
        "State": "available",
        "CidrBlock": _covering(cidrs),
        "CidrBlockAssociationSet": [
            {"AssociationId": f"{vpc_id(call.project_id)}-{i}", "CidrBlock": cidr, "CidrBlockState": _ASSOCIATED}
            for i, cidr in enumerate(cidrs)
        ],
        "OwnerId": call.project_id,
        "InstanceTenancy": "default",
        "IsDefault": True,
        "DhcpOptionsId": "default",
        "Tags": [],
    }
    facts = {name: [str(view[member])] for name, member in _VPC_FILTERS.items()}
    facts |= {"is-default": ["true"], "isDefault": ["true"], "cidr-block-association.cidr-block": cidrs}
    return {"Vpcs": [view] if passes(facts) else []}


def subnets_describe(call: Call, members: Members) -> Members:
    """DescribeSubnets."""
    flags = ("default-for-az", "defaultForAz", "map-public-ip-on-launch")
    passes = filter_of(members.get("Filters", []), (*_SUBNET_FILTERS, *flags))
    asked = members.get("SubnetIds", [])

    def look(tx: Tx) -> list[Members]:
        rows = subnets_pluggable(tx, call.project_id)
        kept = pick(SUBNET, asked, rows, lambda subnet: subnet.id) if asked else rows
        return _views(call, tx, kept)

    views = sorted(call.services.store.read(look), key=lambda view: str(view["SubnetId"]))
    kept = [view for view in views if passes(_facts(view))]
    page, token = page_of(kept, members, lambda view: str(view["SubnetId"]))
    return {"Subnets": page, "NextToken": token}


def subnet_named(call: Call, tx: Tx, asked: str) -> Subnet:
    """The subnet with this id, among those that the project may plug into."""
    return pick(SUBNET, [asked], subnets_pluggable(tx, call.project_id), lambda subnet: subnet.id)[0]


def vpc_check(call: Call, asked: str) -> None:
    """NotFound unless it is the project's VPC."""
    check(VPC, [asked])
    if asked != vpc_id(call.project_id):
        raise missing(VPC, asked)


def _views(call: Call, tx: Tx, rows: Sequence[Subnet]) -> list[Members]:
    ids, networks = [row.id for row in rows], sorted({row.network_id for row in rows})
    pools, used = pools_of(tx, ids), addresses_used(tx, ids)
    led_out = {network for network in networks if _leads_out(tx, network)}
    default = _default_network_id(tx, call.project_id)
    return [
        {
            "SubnetId": SUBNET.id_of(row.id),
            "VpcId": vpc_id(call.project_id),
            "State": "available",
            "CidrBlock": row.cidr,
            "AvailableIpAddressCount": max(0, sum(map(pool_size, pools.get(row.id, []))) - used.get(row.id, 0)),
            "AvailabilityZone": call.services.settings.zone,
            "DefaultForAz": row.network_id == default,
            "MapPublicIpOnLaunch": row.network_id in led_out,
            "AssignIpv6AddressOnCreation": False,
            "Ipv6CidrBlockAssociationSet": [],
            "OwnerId": row.project_id,
            "Tags": [],
        }
        for row in rows
    ]


def _leads_out(tx: Tx, network_id: str) -> bool:
    return any(router.external_network_id for router in routers_fetch(tx, routers_of_networks(tx, [network_id])))


def _default_network_id(tx: Tx, project_id: str) -> str:
    """The network of an instance that names none; empty when it must name one."""
    try:
        network = default_network_for(tx, project_id)
    except Conflict:
        return ""
    return network.id if network else ""


def _facts(view: Members) -> Facts:
    facts = {name: [str(view[member])] for name, member in _SUBNET_FILTERS.items()}
    for name, member in (
        ("default-for-az", "DefaultForAz"),
        ("defaultForAz", "DefaultForAz"),
        ("map-public-ip-on-launch", "MapPublicIpOnLaunch"),
    ):
        facts[name] = ["true" if view[member] else "false"]
    return facts


def _covering(cidrs: Sequence[str]) -> str:
    """The smallest range around all of them, since a VPC shows one."""
    ranges = [ipaddress.IPv4Network(cidr) for cidr in cidrs]
    if not ranges:
        return "0.0.0.0/0"
    whole = ranges[0]
    while not all(each.subnet_of(whole) for each in ranges):
        whole = whole.supernet()
    return str(whole)


_ASSOCIATED = {"State": "associated"}
ACTIONS = {
    "DescribeVpcs": Action("get_network", vpcs_describe),
    "DescribeSubnets": Action("get_subnet", subnets_describe),
}
