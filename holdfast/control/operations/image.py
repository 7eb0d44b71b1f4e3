"""What may be done with images, for every API: make one, boot from one, share one.

Functions on a transaction; whoever calls them has authorised the caller. Bytes are not handled here
(operations/image_file).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from holdfast.base.errors import BadInput, Conflict, Forbidden, NotFound
from holdfast.base.ids import new_id
from holdfast.base.limits import IMAGE_WORDS
from holdfast.control.store.database import Tx
from holdfast.control.store.image import (
    image_count,
    image_delete,
    image_fetch,
    image_insert,
    image_visible,
    member_fetch,
    member_insert,
    member_list,
)
from holdfast.control.store.quota import quota_require
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import ImageSource
from holdfast.domain.image import Image, Member, Status, boot_format


class BootImage(NamedTuple):
    """What a server is made of. `min_disk_gib` and `min_ram_mib` are the owner's; 0: none."""

    image: ImageSource
    kernel: ImageSource | None
    ramdisk: ImageSource | None
    min_disk_gib: int
    min_ram_mib: int
    properties: dict[str, str]
    virtual_bytes: int  # the disk must be at least this large


def image_new(tx: Tx, project_id: str, image_id: str = "", **words: object) -> Image:
    """Return a queued image without bytes; nothing is stored yet."""
    blank = Image(
        id=image_id or new_id(),
        project_id=project_id,
        name="",
        status=Status.QUEUED,
        reason="",
        visibility="shared",
        disk_format="",
        container_format="",
        content="",
        upload="",
        size_bytes=0,
        virtual_bytes=0,
        md5="",
        sha512="",
        min_disk_gib=0,
        min_ram_mib=0,
        protected=False,
        hidden=False,
        properties={},
        tags=(),
        created_us=tx.now_us,
        updated_us=tx.now_us,
    )
    return msgspec.structs.replace(blank, **words)


def image_create(tx: Tx, new: Image) -> Image:
    """Store a queued image within its owner's quota; Conflict when the id is taken."""
    if image_fetch(tx, new.id) is not None:
        raise Conflict(f"Image ID {new.id} already exists!", code="image_exists")
    quota_require(tx, new.project_id, "image", image_count(tx, new.project_id))
    image_insert(tx, new)
    return new


def image_create_from_host(
    tx: Tx, project_id: str, name: str, properties: dict[str, str], min_disk_gib: int = 0, min_ram_mib: int = 0
) -> Image:
    """Store the queued image that a host will upload a server's disk into, as qcow2 (api/image/upload.image_receive).

    The words of a snapshot (instance_uuid, base_image_ref, image_type) are the caller's to give.
    """
    new = image_new(tx, project_id, name=name, visibility="private", disk_format="qcow2", container_format="bare")
    words = {"properties": properties, "min_disk_gib": min_disk_gib, "min_ram_mib": min_ram_mib}
    return image_create(tx, msgspec.structs.replace(new, **words))


def image_remove(tx: Tx, image: Image) -> None:
    """Forget an image; Forbidden while it is protected. Its file goes when nobody holds it (image_sweep)."""
    if image.protected:
        raise Forbidden(f"Image {image.id} is protected and cannot be deleted.", code="image_protected")
    if not image_delete(tx, image.id):
        raise NotFound(f"Failed to find image {image.id} to delete", code="image_not_found")


def image_source(image: Image) -> ImageSource:
    """The image as hosts know it; it means something for an active one only."""
    return ImageSource(image.id, image.sha512, image.size_bytes, boot_format(image))


def image_for_boot(tx: Tx, image_id: str, project_id: str, admin: bool = False) -> BootImage:
    """Everything needed to boot; NotFound unless the project may see it, BadInput unless it can be booted."""
    image = _usable(tx, image_id, project_id, admin)
    if image.disk_format in ("aki", "ari"):
        raise BadInput(f"Image {image.id} is a kernel or a ramdisk: it is no disk to boot from.")
    kernel = image.properties.get("kernel_id", "")
    ramdisk = image.properties.get("ramdisk_id", "")
    return BootImage(
        image_source(image),
        image_source(_usable(tx, kernel, project_id, admin)) if kernel else None,
        image_source(_usable(tx, ramdisk, project_id, admin)) if ramdisk else None,
        image.min_disk_gib,
        image.min_ram_mib,
        image.properties,
        image.virtual_bytes,
    )


def _usable(tx: Tx, image_id: str, project_id: str, admin: bool) -> Image:
    roles = frozenset({"admin"}) if admin else frozenset[str]()
    asker = Credentials(user_id="", user_name="", user_domain_id="", project_id=project_id, roles=roles)
    image = image_visible(tx, image_id, asker)
    if image.status is not Status.ACTIVE:
        raise BadInput(f"Image {image.id} is not active.", code="image_not_active")
    return image


def member_add(tx: Tx, image: Image, project_id: str) -> Member:
    """Offer an image to a project; only a shared image has members."""
    _shared(image)
    if member_fetch(tx, image.id, project_id) is not None:
        raise Conflict(f"The target member {project_id} is already associated with image {image.id}.")
    if len(member_list(tx, image.id)) >= IMAGE_WORDS:
        raise Forbidden(f"Image {image.id} has {IMAGE_WORDS} members already.")
    member = Member(image.id, project_id, "pending", tx.now_us, tx.now_us)
    member_insert(tx, member)
    return member


def _shared(image: Image) -> None:
    if image.visibility != "shared":
        raise Forbidden("Only shared images have members.")
