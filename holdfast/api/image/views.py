"""Images as Glance writes them. The only place of this service that knows the wire's names."""

from __future__ import annotations

from typing import Any

from holdfast.base.clock import iso_z
from holdfast.domain.image import Image, Member


def image_view(image: Image) -> dict[str, Any]:
    """One image; the owner's properties stand beside Glance's own words."""
    return {
        **image.properties,
        **({"holdfast_reason": image.reason} if image.reason else {}),
        "id": image.id,
        "name": image.name or None,
        "status": image.status.value,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.hidden,
        "owner": image.project_id or None,
        "disk_format": image.disk_format or None,
        "container_format": image.container_format or None,
        "size": image.size_bytes if image.has_bytes else None,
        "virtual_size": image.virtual_bytes if image.has_bytes else None,
        "checksum": image.md5 or None,
        "os_hash_algo": "sha512" if image.sha512 else None,
        "os_hash_value": image.sha512 or None,
        "min_disk": image.min_disk_gib,
        "min_ram": image.min_ram_mib,
        "tags": list(image.tags),
        "created_at": iso_z(image.created_us),
        "updated_at": iso_z(image.updated_us),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


def member_view(member: Member) -> dict[str, Any]:
    """One member of an image."""
    return {
        "image_id": member.image_id,
        "member_id": member.project_id,
        "status": member.status,
        "created_at": iso_z(member.created_us),
        "updated_at": iso_z(member.updated_us),
        "schema": "/v2/schemas/member",
    }
