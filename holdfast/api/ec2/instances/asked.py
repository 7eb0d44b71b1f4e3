"""What a RunInstances asks for, in the words of `server_request`.

What would change what is made and cannot be had here is refused by name, never ignored. Ids and names are
resolved among what the caller's project may see and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.api.ec2.facade import Members
from holdfast.api.ec2.images import image_named
from holdfast.api.ec2.keypairs import key_pair_require
from holdfast.api.ec2.network.interfaces import port_named
from holdfast.api.ec2.network.security_groups import groups_named
from holdfast.api.ec2.network.subnets import subnet_named
from holdfast.api.ec2.tags import tags_for
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, NotSupported
from holdfast.base.limits import BULK_OBJECTS, NAME_CHARS, USER_DATA_BYTES
from holdfast.control.operations.network.network import default_network_for
from holdfast.control.operations.server.request import CardWanted, ServerWanted
from holdfast.control.store.database import Tx
from holdfast.control.store.flavor import flavors_list
from holdfast.control.store.host import hosts_list
from holdfast.domain.instance import Flavor

_DEFAULT_TYPE = "m1.small"  # EC2's own
# What a member may be here; any other value asks for something that this cloud does not do.
_ONLY: Mapping[str, Sequence[Any]] = {
    "Ipv6AddressCount": (0,),
    "EbsOptimized": (False,),
    "DisableApiTermination": (False,),
    "DisableApiStop": (False,),
    "EnablePrimaryIpv6": (False,),
    "InstanceInitiatedShutdownBehavior": ("stop",),
    "Monitoring": ({"Enabled": False},),
    "HibernationOptions": ({"Configured": False},),
    "EnclaveOptions": ({"Enabled": False},),
}
_NOT_HERE = (
    *("LaunchTemplate", "IamInstanceProfile", "InstanceMarketOptions", "ElasticGpuSpecification", "CpuOptions"),
    *("ElasticInferenceAccelerators", "CapacityReservationSpecification", "LicenseSpecifications"),
    *("SecondaryInterfaces", "KernelId", "RamdiskId", "PrivateDnsNameOptions", "NetworkPerformanceOptions"),
    *("Operator", "Ipv6Addresses"),
)
_METADATA = {
    "HttpTokens": ("optional",),
    "HttpEndpoint": ("enabled",),
    "HttpProtocolIpv6": ("disabled",),
    "InstanceMetadataTags": ("disabled",),
}
_PLACEMENT = {"AvailabilityZone", "Tenancy"}
_CARD = {
    *("DeviceIndex", "SubnetId", "NetworkInterfaceId", "PrivateIpAddress", "Groups", "DeleteOnTermination"),
    *("AssociatePublicIpAddress", "PrivateIpAddresses", "Description", "InterfaceType", "NetworkCardIndex"),
}


class Asked(NamedTuple):
    """A launch. `public`: whether each must have a public address; None: if there is one."""

    wanted: ServerWanted
    public: bool | None


def check_supported(members: Members) -> None:
    """Raise NotSupported for what would be made otherwise than asked."""
    for name in _NOT_HERE:
        if members.get(name):
            raise _not_here(name)
    for name, values in _ONLY.items():
        if name in members and members[name] not in values:
            raise _not_here(name)
    for name, values in _METADATA.items():
        if members.get("MetadataOptions", {}).get(name, values[0]) not in values:
            raise _not_here(f"MetadataOptions.{name}")
    placement = members.get("Placement", {})
    for name in placement.keys() - _PLACEMENT:
        raise _not_here(f"Placement.{name}")
    if placement.get("Tenancy", "default") != "default":
        raise _not_here("Placement.Tenancy")
    for device in members.get("BlockDeviceMappings", []):
        if device.get("Ebs") or device.get("VirtualName"):
            raise NotSupported("Volumes are not available in this cloud yet: BlockDeviceMapping is not supported.")
    for card in members.get("NetworkInterfaces", []):
        for name in card.keys() - _CARD:
            raise _not_here(f"NetworkInterface.{name}")


def launch_asked(call: Call, tx: Tx, members: Members) -> Asked:
    """Read a launch; raises EC2's own errors for what is not there."""
    count_min, count_max = members["MinCount"], members["MaxCount"]
    if not 1 <= count_min <= count_max:
        raise BadInput("MinCount must be at least 1 and at most MaxCount.", code="InvalidParameterValue")
    if count_max > BULK_OBJECTS:
        raise BadInput(f"At most {BULK_OBJECTS} instances at once.", code="InstanceLimitExceeded")
    if not members.get("ImageId"):
        raise BadInput("The request must contain the parameter ImageId", code="MissingParameter")
    image = image_named(call, tx, members["ImageId"])
    flavor = flavor_named(call, tx, members.get("InstanceType", _DEFAULT_TYPE))
    key_name = members.get("KeyName", "")
    if key_name:
        key_pair_require(tx, call.credentials.user_id, key_name)
    tags = tags_for(members, "instance")
    cards, groups, public = _network(call, tx, members)
    wanted = ServerWanted(
        name=_name(tags),
        flavor=flavor,
        image_id=image.id,
        cards=cards,
        security_groups=groups,
        key_name=key_name,
        user_data=user_data_check(members.get("UserData", "")),
        zone=_zone(call, tx, members),
        properties=tags,
        count_min=count_min,
        count_max=count_max,
    )
    return Asked(wanted, public)


def user_data_check(text: str) -> str:
    """Return user data as it is kept: base64 on one line."""
    kept = "".join(text.split())
    try:
        base64.b64decode(kept, validate=True)
    except (binascii.Error, ValueError) as err:
        raise BadInput("Invalid BASE64 encoding of user data.", code="InvalidParameterValue") from err
    if len(kept) > USER_DATA_BYTES:
        raise BadInput(f"User data is limited to {USER_DATA_BYTES} bytes of base64", code="InvalidParameterValue")
    return kept


def _name(tags: dict[str, str]) -> str:
    """The tag `Name` is what people call an instance; without one its id is."""
    name = tags.get("Name", "").strip()
    return name[:NAME_CHARS] if name.isprintable() else ""


def flavor_named(call: Call, tx: Tx, name: str) -> Flavor:
    """The flavor of this name that the project may use."""
    for flavor in flavors_list(tx, call.project_id):
        if flavor.name == name and not flavor.disabled:
            return flavor
    raise BadInput(f"Invalid value '{name[:64]}' for InstanceType.", code="InvalidParameterValue")


def _zone(call: Call, tx: Tx, members: Members) -> str:
    zone = str(members.get("Placement", {}).get("AvailabilityZone", ""))
    if zone and zone != call.services.settings.zone and zone not in {host.zone for host in hosts_list(tx)}:
        raise BadInput(f"Invalid availability zone: [{zone[:64]}]", code="InvalidParameterValue")
    return zone


def _network(call: Call, tx: Tx, members: Members) -> tuple[tuple[CardWanted, ...], tuple[str, ...], bool | None]:
    """The interfaces, the ids of their groups, and whether a public address must be there."""
    interfaces = sorted(members.get("NetworkInterfaces", []), key=lambda card: int(card.get("DeviceIndex", 0)))
    group_ids, names = members.get("SecurityGroupIds", []), members.get("SecurityGroups", [])
    fixed = members.get("PrivateIpAddress", "")
    if not interfaces:
        groups = groups_named(call, tx, group_ids, names)
        return (_card(call, tx, members.get("SubnetId", ""), fixed),), tuple(group.id for group in groups), None
    if group_ids or names or fixed or members.get("SubnetId"):
        raise BadInput(
            "Network interfaces and an instance-level subnet, address or security groups may not be specified on"
            " the same request",
            code="InvalidParameterCombination",
        )
    named = {tuple(card.get("Groups", [])) for card in interfaces if "NetworkInterfaceId" not in card}
    if len(named) > 1:
        raise NotSupported("The interfaces of one launch must have the same security groups.")
    groups = groups_named(call, tx, next(iter(named), ()), ())
    public = [card["AssociatePublicIpAddress"] for card in interfaces if "AssociatePublicIpAddress" in card]
    cards = tuple(_interface(call, tx, card) for card in interfaces)
    return cards, tuple(group.id for group in groups), public[0] if public else None


def _interface(call: Call, tx: Tx, card: Members) -> CardWanted:
    if "NetworkInterfaceId" in card:
        if card.keys() & {"SubnetId", "PrivateIpAddress", "PrivateIpAddresses", "Groups"}:
            raise BadInput(
                "A network interface that is there has its subnet, address and groups already.",
                code="InvalidParameterCombination",
            )
        return CardWanted(port_id=port_named(call, tx, card["NetworkInterfaceId"]).id)
    fixed = [address["PrivateIpAddress"] for address in card.get("PrivateIpAddresses", [])]
    fixed += [card["PrivateIpAddress"]] if "PrivateIpAddress" in card else []
    if len(fixed) > 1:
        raise NotSupported("An interface gets one private address at a launch.")
    return _card(call, tx, card.get("SubnetId", ""), fixed[0] if fixed else "")


def _card(call: Call, tx: Tx, subnet_id: str, fixed: str) -> CardWanted:
    if subnet_id:
        subnet = subnet_named(call, tx, subnet_id)
        return CardWanted(network_id=subnet.network_id, subnet_id=subnet.id, fixed=fixed)
    network = default_network_for(tx, call.project_id)
    if network is None:
        raise BadInput("This project has no network. Name a SubnetId.", code="VPCIdNotSpecified")
    return CardWanted(network_id=network.id, fixed=fixed)


def _not_here(name: str) -> NotSupported:
    return NotSupported(f"This cloud does not do what {name} asks for.", code="UnsupportedOperation")
