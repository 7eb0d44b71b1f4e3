"""Network interfaces: the project's ports."""

from __future__ import annotations

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import Facts, filter_of, page_of
from holdfast.api.ec2.lookup import INSTANCE, INTERFACE, pick
from holdfast.api.ec2.network.cards import (
    Card,
    association_view,
    attachment_id,
    card_view,
    cards_of,
    private_views,
    public_of,
)
from holdfast.api.http.call import Call
from holdfast.base.errors import NotFound
from holdfast.control.store.database import Tx
from holdfast.control.store.network.port import ports_of_project
from holdfast.domain.port import COMPUTE, RESERVED, Port

_PLAIN = {
    "availability-zone": "AvailabilityZone",
    "description": "Description",
    "mac-address": "MacAddress",
    "network-interface-id": "NetworkInterfaceId",
    "owner-id": "OwnerId",
    "private-ip-address": "PrivateIpAddress",
    "status": "Status",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}
_COMPUTED = (
    *("addresses.private-ip-address", "addresses.association.public-ip", "association.public-ip"),
    *("association.allocation-id", "association.association-id", "attachment.instance-id", "attachment.attachment-id"),
    *("attachment.device-index", "attachment.status", "group-id", "group-name", "requester-managed"),
)


def interfaces_describe(call: Call, members: Members) -> Members:
    """DescribeNetworkInterfaces."""
    passes = filter_of(members.get("Filters", []), (*_PLAIN, *_COMPUTED))
    asked = members.get("NetworkInterfaceIds", [])

    def look(tx: Tx) -> list[Members]:
        rows = ports_of_project(tx, call.project_id)
        rows = pick(INTERFACE, asked, rows, lambda row: row.id) if asked else rows
        return [_view(call, card) for card in cards_of(tx, rows)]

    views = sorted(call.services.store.read(look), key=lambda view: str(view["NetworkInterfaceId"]))
    kept = [view for view in views if passes(_facts(view))]
    page, token = page_of(kept, members, lambda view: str(view["NetworkInterfaceId"]))
    return {"NetworkInterfaces": page, "NextToken": token}


def port_named(call: Call, tx: Tx, asked: str) -> Port:
    """The project's own port with this id, that a machine can have."""
    found = pick(INTERFACE, [asked], ports_of_project(tx, call.project_id), lambda row: row.id)[0]
    if found.device_owner.startswith(RESERVED):
        raise NotFound(f"The networkInterface ID '{asked}' does not exist", code=INTERFACE.missing)
    return found


def _view(call: Call, card: Card) -> Members:
    public, own = public_of(card), card.port.device_owner.startswith(RESERVED)
    return {
        **card_view(card, call.project_id),
        "AvailabilityZone": call.services.settings.zone,
        "PrivateIpAddresses": private_views(card, ids=True),
        "Association": association_view(public, ids=True) if public else None,
        "Attachment": _attachment(card),
        "RequesterManaged": own,
        "TagSet": [],
    }


def _attachment(card: Card) -> Members | None:
    if not card.port.device_owner:
        return None
    view: Members = {
        "AttachmentId": attachment_id(card),
        "Status": "attached",
        "DeviceIndex": card.index,
        "DeleteOnTermination": card.port.auto_for_instance,
    }
    if card.port.instance_id and card.port.device_owner == COMPUTE:
        owner = {"InstanceId": INSTANCE.id_of(card.port.instance_id), "InstanceOwnerId": card.port.project_id}
        return {**view, **owner}
    return view


def _facts(view: Members) -> Facts:
    facts = {name: [str(view[member])] if view[member] else [] for name, member in _PLAIN.items()}
    privates, attached = view["PrivateIpAddresses"], view["Attachment"] or {}
    publics = [private["Association"] for private in privates if private["Association"]]
    facts["addresses.private-ip-address"] = [private["PrivateIpAddress"] for private in privates]
    for name in ("addresses.association.public-ip", "association.public-ip"):
        facts[name] = [public["PublicIp"] for public in publics]
    for name, member in (("allocation-id", "AllocationId"), ("association-id", "AssociationId")):
        facts[f"association.{name}"] = [public[member] for public in publics if member in public]
    for name, member in (("instance-id", "InstanceId"), ("attachment-id", "AttachmentId"), ("status", "Status")):
        facts[f"attachment.{name}"] = [attached[member]] if member in attached else []
    facts["attachment.device-index"] = [str(attached["DeviceIndex"])] if attached else []
    facts["group-id"] = [group["GroupId"] for group in view["Groups"]]
    facts["group-name"] = [group["GroupName"] for group in view["Groups"]]
    facts["requester-managed"] = ["true" if view["RequesterManaged"] else "false"]
    return facts


ACTIONS = {"DescribeNetworkInterfaces": Action("get_port", interfaces_describe)}
