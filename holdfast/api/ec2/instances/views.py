"""Instances in EC2's words, computed from the same facts as Nova's.

    building                      pending
    ready, asked to run           running       also while it reboots or gets another size
    a stop goes on                stopping
    ready, asked to stop or pause stopped       a start and an unpause bring it back
    a start goes on               pending
    failed                        what its host sees of it: running or else stopped, and StateReason says why
    deleting                      shutting-down
    deleted                       terminated, shown for an hour

An instance that could not be made is `stopped`, not `terminated`: nothing of it runs, but it is there, counts
for the quota, and goes by TerminateInstances only.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.ec2.facade import Members
from holdfast.api.ec2.lookup import IMAGE, INSTANCE, vpc_id
from holdfast.api.ec2.network.cards import (
    Card,
    association_view,
    attachment_id,
    card_view,
    group_views,
    private_views,
    public_of,
    subnet_id_of,
)
from holdfast.base.ec2_ids import ec2_id
from holdfast.domain.desired import Power
from holdfast.domain.instance import Fault, Instance, InstanceState
from holdfast.domain.observed import Phase
from holdfast.domain.server import Server, status

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
ROOT_DEVICE = "/dev/vda"
_STATES = {"BUILD": "pending", "REBUILD": "pending", "PAUSED": "stopped", "DELETED": "terminated"}
_BY_POWER = {Power.RUNNING: "running", Power.STOPPED: "stopped", Power.PAUSED: "stopped"}
_GOING_ON = {
    "server_delete": "shutting-down",
    "server_stop": "stopping",
    "server_pause": "stopping",
    "server_start": "pending",
    "server_unpause": "pending",
}
_USER_SHUT_DOWN = "Client.UserInitiatedShutdown"
_GUEST_SHUT_DOWN = "Client.InstanceInitiatedShutdown"


def state_of(server: Server) -> str:
    """EC2's one word."""
    if server.instance.state is InstanceState.DELETING:
        return "shutting-down"
    if server.act in _GOING_ON:
        return _GOING_ON[server.act]
    word = status(server)
    if word == "ERROR":
        return "running" if server.phase == Phase.RUNNING else "stopped"
    return _STATES.get(word, _BY_POWER[server.instance.power])


def state_view(state: str) -> Members:
    return {"Code": CODES[state], "Name": state}


def change_view(server: Server, before: str, after: str) -> Members:
    """One instance in the answer of an act."""
    return {
        "InstanceId": INSTANCE.id_of(server.instance.id),
        "CurrentState": state_view(after),
        "PreviousState": state_view(before),
    }


def instance_view(server: Server, cards: Sequence[Card], zone: str) -> Members:
    """An instance whole. `zone` is where one is that no host has yet."""
    row, first, state = server.instance, cards[0] if cards else None, state_of(server)
    public = public_of(first) if first else None
    return {
        "InstanceId": INSTANCE.id_of(row.id),
        "ImageId": IMAGE.id_of(row.image_id),
        "KernelId": _source_id(row, "kernel", "aki"),
        "RamdiskId": _source_id(row, "ramdisk", "ari"),
        "State": state_view(state),
        "StateReason": _reason_view(server, state),
        "StateTransitionReason": _transition(server, state),
        "PrivateDnsName": row.hostname if first else "",
        "PublicDnsName": "",
        "KeyName": row.key_name or None,
        "AmiLaunchIndex": row.launch_index,
        "ProductCodes": [],
        "InstanceType": row.flavor.name,
        "LaunchTime": row.created_us,
        "Placement": {"AvailabilityZone": zone_of(row, zone), "GroupName": "", "Tenancy": "default"},
        "Monitoring": {"State": "disabled"},
        "SubnetId": subnet_id_of(first) if first else None,
        "VpcId": vpc_id(row.project_id) if first else None,
        "PrivateIpAddress": first.v4[0].address if first and first.v4 else None,
        "PublicIpAddress": public.address if public else None,
        "Architecture": "x86_64",
        "RootDeviceType": "instance-store",
        "RootDeviceName": ROOT_DEVICE,
        "BlockDeviceMappings": [],
        "VirtualizationType": "hvm",
        "EbsOptimized": False,
        "SourceDestCheck": first.port.port_security if first else None,
        "SecurityGroups": group_views(first) if first else [],
        "NetworkInterfaces": [_card_view(card, row) for card in cards],
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(row.properties.items())],
    }


def zone_of(row: Instance, zone: str) -> str:
    return row.zone or row.zone_asked.partition(":")[0] or zone


def reservation_view(views: Sequence[Members], reservation_id: str, owner_id: str) -> Members:
    """The instances of one launch."""
    return {"ReservationId": reservation_id, "OwnerId": owner_id, "Groups": [], "Instances": list(views)}


def _card_view(card: Card, row: Instance) -> Members:
    public = public_of(card)
    return {
        **card_view(card, row.project_id),
        "PrivateIpAddresses": private_views(card, ids=False),
        "Association": association_view(public, ids=False) if public else None,
        "Attachment": {
            "AttachmentId": attachment_id(card),
            "DeviceIndex": card.index,
            "Status": "attached",
            "AttachTime": row.created_us,
            "DeleteOnTermination": card.port.auto_for_instance,
        },
    }


def _source_id(row: Instance, name: str, prefix: str) -> str | None:
    source = row.image.get(name)
    return ec2_id(prefix, source["id"]) if source else None


def _reason_view(server: Server, state: str) -> Members | None:
    row = server.instance
    if row.fault and state in ("running", "stopped"):
        return _fault_view(row.fault)
    if state == "stopped" and server.reason == "guest-shutdown":
        return {"Code": _GUEST_SHUT_DOWN, "Message": f"{_GUEST_SHUT_DOWN}: Instance initiated shutdown"}
    if state in ("stopping", "stopped", "shutting-down", "terminated"):
        return {"Code": _USER_SHUT_DOWN, "Message": f"{_USER_SHUT_DOWN}: User initiated shutdown"}
    return None


def _fault_view(fault: Fault) -> Members:
    code, words = "Server.InternalError", fault.message
    if words.startswith("No valid host"):  # which hosts there are is not the caller's to know
        code, words = "Server.InsufficientInstanceCapacity", "There was not enough capacity to launch the instance"
    return {"Code": code, "Message": f"{code}: {words}"}


def _transition(server: Server, state: str) -> str:
    if server.instance.fault and state != "terminated":
        return "Server.InternalError"
    return "User initiated" if state in ("shutting-down", "terminated", "stopping", "stopped") else ""
