"""Images: what can be booted, and the images that are made of instances.

A caller sees its own, those shared with it and the public ones. Bytes come and go by the image service's
own API, which EC2 does not have: what would need them is refused with words that say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import Facts, after_of, filter_of, first_page, limit_of
from holdfast.api.ec2.instances.found import server_allow, servers_named
from holdfast.api.ec2.lookup import IMAGE, INSTANCE, bounds, check, pick
from holdfast.api.ec2.tags import no_tags
from holdfast.api.http.call import Call
from holdfast.base.clock import iso_z
from holdfast.base.ec2_ids import ec2_id
from holdfast.base.errors import BadInput, Conflict, Forbidden, NotSupported
from holdfast.base.limits import NAME_CHARS, PAGE_ROWS
from holdfast.control.operations.image import image_remove
from holdfast.control.operations.server.capture import server_capture_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.image import ImageQuery, image_list
from holdfast.domain.credentials import Credentials
from holdfast.domain.image import Image, Status

_STATES = {
    Status.QUEUED: "pending",
    Status.SAVING: "pending",
    Status.ACTIVE: "available",
    Status.KILLED: "failed",
    Status.DEACTIVATED: "disabled",
}
_KINDS = {"aki": "kernel", "ari": "ramdisk"}
_ARCHITECTURES = {"aarch64": "arm64", "i686": "i386"}
_ORDER = (("created_us", True), ("id", True))
_PLAIN = {
    "architecture": "Architecture",
    "creation-date": "CreationDate",
    "description": "Description",
    "image-id": "ImageId",
    "image-type": "ImageType",
    "kernel-id": "KernelId",
    "manifest-location": "ImageLocation",
    "name": "Name",
    "owner-alias": "ImageOwnerAlias",
    "owner-id": "OwnerId",
    "platform": "Platform",
    "ramdisk-id": "RamdiskId",
    "root-device-name": "RootDeviceName",
    "root-device-type": "RootDeviceType",
    "state": "State",
    "virtualization-type": "VirtualizationType",
}


def images_describe(call: Call, members: Members) -> Members:
    """DescribeImages."""
    passes = filter_of(members.get("Filters", []), (*_PLAIN, "is-public"))
    asked, limit = members.get("ImageIds", []), limit_of(members)
    owners = {call.project_id if owner == "self" else owner for owner in members.get("Owners", [])}
    users = members.get("ExecutableUsers", [])

    def wanted(image: Image) -> bool:
        public = image.visibility in ("public", "community")
        launches = not users or ("all" in users and public) or ("self" in users and not public)
        return launches and (not owners or image.project_id in owners) and passes(_facts(image_view(image)))

    def look(tx: Tx) -> tuple[list[Image], str | None]:
        if asked:
            return [image for image in images_named(call, tx, asked) if wanted(image)], None
        kept: list[Image] = []
        for rows in _after(call, tx, after_of(members)):
            kept += [image for image in rows if wanted(image)]
            if len(kept) > limit:
                break
        return first_page(kept, limit, lambda image: image.id)

    page, token = call.services.store.read(look)
    return {"Images": [image_view(image) for image in page], "NextToken": token}


def image_register(call: Call, members: Members) -> Members:
    """RegisterImage: there is nothing here that an image could be registered from."""
    raise NotSupported(
        "There are no snapshots and no bucket to register an image from. Upload it with: openstack image create"
    )


def image_deregister(call: Call, members: Members) -> Members:
    """DeregisterImage: the project's own; instances that were made from it go on."""
    no_snapshots = members.get("DeleteAssociatedSnapshots", False)
    if no_snapshots:
        raise NotSupported("There are no snapshots to delete.")

    def change(tx: Tx) -> None:
        image = image_named(call, tx, members["ImageId"])
        if image.project_id != call.project_id:
            raise Forbidden(f"Not authorized for image:{members['ImageId'][:64]}", code="AuthFailure")
        call.authorise("delete_image", {"project_id": image.project_id})
        image_remove(tx, image)

    call.services.store.write(change)
    return {"Return": True, "DeleteSnapshotResults": []}


def image_create(call: Call, members: Members) -> Members:
    """CreateImage: of an instance's disk as it is at that moment. It never reboots the instance."""
    no_tags(members, "image")
    if any(device.get("Ebs") or device.get("VirtualName") for device in members.get("BlockDeviceMappings", [])):
        raise NotSupported("Volumes are not available in this cloud yet: BlockDeviceMapping is not supported.")
    if "SnapshotLocation" in members or "BootModeOverride" in members:
        raise NotSupported("SnapshotLocation and BootModeOverride are not supported.")
    name = members["Name"]
    if not 3 <= len(name) <= 128 or not name.isprintable():
        raise BadInput("AMI names must be between 3 and 128 characters long.", code="InvalidAMIName.Malformed")
    description = members.get("Description", "")[:NAME_CHARS]

    def change(tx: Tx) -> str:
        server = servers_named(call, tx, [members["InstanceId"]])[0]
        server_allow(call, server, "os_compute_api:servers:create_image", changes=True)
        if server.act or not server.instance.host_id:
            instance_id = INSTANCE.id_of(server.instance.id)
            raise Conflict(
                f"The instance '{instance_id}' is not in a state to make an image of.", code="IncorrectState"
            )
        if _name_taken(call, tx, name):
            raise Conflict(f"AMI name {name} is already in use by another AMI", code="InvalidAMIName.Duplicate")
        properties = {"description": description} if description else {}
        return server_capture_begin(tx, server.instance, name, properties, call.credentials, call.request_id)

    return {"ImageId": IMAGE.id_of(call.services.store.write(change))}


def images_named(call: Call, tx: Tx, asked: Sequence[str]) -> list[Image]:
    """The images with these ids that the caller may boot, in their order."""
    seen: dict[str, Image] = {}
    for low, high in bounds(IMAGE, asked):
        query = ImageQuery("all", "all", (("id", "ge", low), ("id", "le", high)), limit=2)
        seen |= {image.id: image for image in image_list(tx, query, _asker(call))}
    return pick(IMAGE, asked, seen.values(), lambda image: image.id)


def image_named(call: Call, tx: Tx, asked: str) -> Image:
    """One of them."""
    check(IMAGE, [asked])
    return images_named(call, tx, [asked])[0]


def image_view(image: Image) -> Members:
    """An image, a kernel or a ramdisk."""
    kind = _KINDS.get(image.disk_format, "machine")
    words = image.properties
    architecture = words.get("architecture") or words.get("hw_architecture") or "x86_64"
    machine = kind == "machine"
    return {
        "ImageId": ec2_id(image.disk_format if not machine else "ami", image.id),
        "ImageType": kind,
        "ImageLocation": f"{image.project_id}/{image.name}",
        "Name": image.name or None,
        "Description": words.get("description"),
        "State": _STATES[image.status],
        "StateReason": {"Code": "Client.InvalidImage", "Message": image.reason} if image.reason else None,
        "OwnerId": image.project_id,
        "Public": image.visibility in ("public", "community"),
        "Architecture": _ARCHITECTURES.get(architecture, architecture),
        "KernelId": ec2_id("aki", words["kernel_id"]) if words.get("kernel_id") else None,
        "RamdiskId": ec2_id("ari", words["ramdisk_id"]) if words.get("ramdisk_id") else None,
        "CreationDate": iso_z(image.created_us).replace("Z", ".000Z"),
        "SourceInstanceId": ec2_id("i", words["instance_uuid"]) if words.get("instance_uuid") else None,
        "RootDeviceType": "instance-store" if machine else None,
        "RootDeviceName": "/dev/vda" if machine else None,
        "VirtualizationType": "hvm" if machine else None,
        "BlockDeviceMappings": [],
        "Tags": [],
    }


def _facts(view: Members) -> Facts:
    facts = {name: [view[member]] if view.get(member) else [] for name, member in _PLAIN.items()}
    return {**facts, "is-public": ["true" if view["Public"] else "false"]}


def _asker(call: Call) -> Credentials:
    """The caller as its project: in EC2 an administrator sees no other project's images either."""
    return msgspec.structs.replace(call.credentials, roles=frozenset[str]())


def _after(call: Call, tx: Tx, marker: str) -> Iterator[list[Image]]:
    """The images that a list is made of, newest first, after one of them."""
    while True:
        rows = image_list(tx, ImageQuery(sort=_ORDER, marker=marker, limit=PAGE_ROWS), _asker(call))
        yield rows
        if len(rows) < PAGE_ROWS:
            return
        marker = rows[-1].id


def _name_taken(call: Call, tx: Tx, name: str) -> bool:
    conditions = (("name", "eq", name), ("project_id", "eq", call.project_id))
    return bool(image_list(tx, ImageQuery("all", "all", conditions, limit=1), _asker(call)))


ACTIONS = {
    "DescribeImages": Action("get_images", images_describe),
    "RegisterImage": Action("add_image", image_register),
    "DeregisterImage": Action("delete_image", image_deregister),
    "CreateImage": Action("os_compute_api:servers:create_image", image_create),
}
