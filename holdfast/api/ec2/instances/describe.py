"""DescribeInstances and DescribeInstanceStatus: what there is, filtered, in pages.

A page is read by the key of the last instance that the caller has, never by an offset: what is launched or
ends in between is neither left out nor shown twice. Without filters a page costs what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import Facts, after_of, filter_of, first_page, limit_of
from holdfast.api.ec2.instances.found import servers_after, servers_named
from holdfast.api.ec2.instances.views import instance_view, reservation_view, state_of, state_view, zone_of
from holdfast.api.ec2.network.cards import cards_of_instances
from holdfast.api.ec2.render import timestamp_text
from holdfast.api.http.call import Call
from holdfast.base.ec2_ids import ec2_id
from holdfast.base.errors import BadInput
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.domain.observed import Phase
from holdfast.domain.server import Server

_RULE = "os_compute_api:servers:detail"
_PLAIN = {
    "architecture": "Architecture",
    "image-id": "ImageId",
    "instance-id": "InstanceId",
    "instance-type": "InstanceType",
    "ip-address": "PublicIpAddress",
    "kernel-id": "KernelId",
    "key-name": "KeyName",
    "private-dns-name": "PrivateDnsName",
    "private-ip-address": "PrivateIpAddress",
    "ramdisk-id": "RamdiskId",
    "reason": "StateTransitionReason",
    "root-device-name": "RootDeviceName",
    "root-device-type": "RootDeviceType",
    "subnet-id": "SubnetId",
    "virtualization-type": "VirtualizationType",
    "vpc-id": "VpcId",
}
_CARD = {
    "network-interface.network-interface-id": "NetworkInterfaceId",
    "network-interface.subnet-id": "SubnetId",
    "network-interface.vpc-id": "VpcId",
    "network-interface.mac-address": "MacAddress",
    "network-interface.owner-id": "OwnerId",
    "network-interface.status": "Status",
    "network-interface.description": "Description",
}
_COMPUTED = (
    *("availability-zone", "group-id", "group-name", "instance.group-id", "instance.group-name", "launch-index"),
    *("instance-state-code", "instance-state-name", "launch-time", "owner-id", "reservation-id", "tenancy"),
    *("state-reason-code", "tag-key", "tag-value", "network-interface.addresses.private-ip-address"),
    *("network-interface.addresses.association.public-ip", "network-interface.association.public-ip"),
    *("network-interface.group-id", "network-interface.group-name", "dns-name", "requester-id"),
)
_STATUS_FILTERS = (
    *("availability-zone", "instance-state-code", "instance-state-name", "instance-status.status"),
    *("instance-status.reachability", "system-status.status", "system-status.reachability"),
)
Shown = tuple[Server, Members]


def instances_describe(call: Call, members: Members) -> Members:
    """DescribeInstances."""
    passes = filter_of(members.get("Filters", []), (*_PLAIN, *_CARD, *_COMPUTED), tags=True)
    page, token = call.services.store.read(
        lambda tx: _page(call, tx, members, lambda rows: views_of(call, tx, rows), lambda s, v: passes(_facts(s, v)))
    )
    by_launch: dict[str, list[Members]] = {}
    for server, view in page:
        by_launch.setdefault(server.instance.reservation_id, []).append(view)
    made = [reservation_view(views, launch, call.project_id) for launch, views in by_launch.items()]
    return {"Reservations": made, "NextToken": token}


def statuses_describe(call: Call, members: Members) -> Members:
    """DescribeInstanceStatus: of those that run, unless all are asked for."""
    passes, zone = filter_of(members.get("Filters", []), _STATUS_FILTERS), call.services.settings.zone
    everyone = members.get("IncludeAllInstances", False)

    def wanted(server: Server, view: Members) -> bool:
        return (everyone or state_of(server) == "running") and passes(_status_facts(view))

    page, token = call.services.store.read(
        lambda tx: _page(call, tx, members, lambda rows: [_status_view(row, zone) for row in rows], wanted)
    )
    return {"InstanceStatuses": [view for _, view in page], "NextToken": token}


def views_of(call: Call, tx: Tx, servers: Sequence[Server]) -> list[Members]:
    """Instances as they are shown."""
    cards = cards_of_instances(tx, [server.instance.id for server in servers])
    zone = call.services.settings.zone
    return [instance_view(server, cards.get(server.instance.id, []), zone) for server in servers]


def _page(
    call: Call,
    tx: Tx,
    members: Members,
    show: Callable[[list[Server]], list[Members]],
    wanted: Callable[[Server, Members], bool],
) -> tuple[list[Shown], str | None]:
    asked, limit, kept = members.get("InstanceIds", []), limit_of(members), list[Shown]()
    if asked and ("MaxResults" in members or "NextToken" in members):
        raise BadInput("MaxResults cannot be used with InstanceIds.", code="InvalidParameterCombination")
    if asked:
        rows = servers_named(call, tx, asked)
        return [pair for pair in zip(rows, show(rows), strict=True) if wanted(*pair)], None
    for rows in servers_after(call, tx, after_of(members), PAGE_ROWS if members.get("Filters") else limit + 1):
        kept += [pair for pair in zip(rows, show(rows), strict=True) if wanted(*pair)]
        if len(kept) > limit:
            break
    return first_page(kept, limit, lambda pair: pair[0].instance.id)


def _facts(server: Server, view: Members) -> Facts:
    row, cards = server.instance, view["NetworkInterfaces"]
    privates = [private for card in cards for private in card["PrivateIpAddresses"]]
    publics = [private["Association"]["PublicIp"] for private in privates if private["Association"]]
    facts = {name: _text(view[member]) for name, member in _PLAIN.items()}
    facts |= {name: [text for card in cards for text in _text(card[member])] for name, member in _CARD.items()}
    groups = {(group["GroupId"], group["GroupName"]) for card in cards for group in card["Groups"]}
    for prefix in ("", "instance.", "network-interface."):
        facts[f"{prefix}group-id"] = [group_id for group_id, _ in groups]
        facts[f"{prefix}group-name"] = [name for _, name in groups]
    for name in ("addresses.association.public-ip", "association.public-ip"):
        facts[f"network-interface.{name}"] = publics
    facts["network-interface.addresses.private-ip-address"] = [p["PrivateIpAddress"] for p in privates]
    facts["availability-zone"] = [view["Placement"]["AvailabilityZone"]]
    facts["tenancy"], facts["launch-index"] = ["default"], [str(row.launch_index)]
    facts["instance-state-code"] = [str(view["State"]["Code"])]
    facts["instance-state-name"] = [view["State"]["Name"]]
    facts["state-reason-code"] = [view["StateReason"]["Code"]] if view["StateReason"] else []
    facts["owner-id"], facts["reservation-id"] = [row.project_id], [row.reservation_id]
    facts["launch-time"] = [timestamp_text(row.created_us)]
    facts["tag-key"], facts["tag-value"] = list(row.properties), list(row.properties.values())
    return {**facts, **{f"tag:{key}": [value] for key, value in row.properties.items()}}


def _text(value: str | None) -> list[str]:
    return [] if value is None else [value]


def _status_view(server: Server, zone: str) -> Members:
    row, state = server.instance, state_of(server)
    running = state == "running"
    system = ("ok" if server.host_up else "impaired") if running else "not-applicable"
    guest = "not-applicable"
    if running:
        known = server.host_up and server.phase == Phase.RUNNING and not row.fault
        guest = "ok" if known else "impaired" if row.fault else "insufficient-data"
    return {
        "InstanceId": ec2_id("i", row.id),
        "AvailabilityZone": zone_of(row, zone),
        "InstanceState": state_view(state),
        "InstanceStatus": _summary(guest),
        "SystemStatus": _summary(system),
        "Events": [],
    }


def _summary(word: str) -> Members:
    details = {"ok": "passed", "impaired": "failed", "insufficient-data": "insufficient-data"}
    reach = [{"Name": "reachability", "Status": details[word]}] if word in details else []
    return {"Status": word, "Details": reach}


def _status_facts(view: Mapping[str, Members]) -> Facts:
    facts = {
        "availability-zone": [str(view["AvailabilityZone"])],
        "instance-state-code": [str(view["InstanceState"]["Code"])],
        "instance-state-name": [view["InstanceState"]["Name"]],
    }
    for name, member in (("instance-status", "InstanceStatus"), ("system-status", "SystemStatus")):
        facts[f"{name}.status"] = [view[member]["Status"]]
        facts[f"{name}.reachability"] = [detail["Status"] for detail in view[member]["Details"]]
    return facts


ACTIONS = {
    "DescribeInstances": Action(_RULE, instances_describe),
    "DescribeInstanceStatus": Action(_RULE, statuses_describe),
}
