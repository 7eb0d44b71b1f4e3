"""What this image service is: versions, schemas, stores, import methods, usage. Only what is true is advertised.

Versions and schemas need no store.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.http.call import Call, Reply
from holdfast.base.errors import NotFound, NotSupported
from holdfast.control.store.image import image_count
from holdfast.control.store.quota import quota_limits
from holdfast.domain.image import CONTAINER_FORMATS, DISK_FORMATS, MEMBER_STATUSES, VISIBILITIES, Status

MINORS: Final = (9, 7, 6, 5, 4, 3, 2, 1, 0)  # Glance with one store; 2.8 and later ones are about several


def _versions(call: Call) -> dict[str, Any]:
    base = call.services.settings.endpoint
    links = [{"rel": "self", "href": f"{base}/image/v2/"}]
    return {
        "versions": [
            {"id": f"v2.{minor}", "status": "CURRENT" if minor == MINORS[0] else "SUPPORTED", "links": links}
            for minor in MINORS
        ]
    }


def versions_choose(call: Call) -> Reply:
    """GET /: 300, as Glance answers where a client has named no version."""
    return Reply(300, _versions(call))


def versions_show(call: Call) -> Reply:
    """GET /versions: the same list, 200."""
    return Reply(200, _versions(call))


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": ["null", "string"], "description": description, **more}


def _read_only(kind: str | list[str], description: str) -> dict[str, Any]:
    return {"type": kind, "readOnly": True, "description": description}


IMAGE: Final[dict[str, Any]] = {
    "name": "image",
    "properties": {
        "id": {"type": "string", "description": "An identifier for the image", "pattern": "^([0-9a-f-]){36}$"},
        "name": _text("Descriptive name for the image", maxLength=255),
        "status": {**_read_only("string", "Status of the image"), "enum": [status.value for status in Status]},
        "visibility": {"type": "string", "description": "Scope of image accessibility", "enum": list(VISIBILITIES)},
        "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
        "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list."},
        "owner": _text("Owner of the image", maxLength=255),
        "container_format": _text("Format of the container", enum=[None, *CONTAINER_FORMATS]),
        "disk_format": _text("Format of the disk", enum=[None, *DISK_FORMATS]),
        "size": _read_only(["null", "integer"], "Size of image file in bytes"),
        "virtual_size": _read_only(["null", "integer"], "Virtual size of image in bytes"),
        "checksum": _read_only(["null", "string"], "md5 hash of image contents."),
        "os_hash_algo": _read_only(["null", "string"], "Algorithm to calculate the os_hash_value"),
        "os_hash_value": _read_only(["null", "string"], "Hexdigest of the image contents"),
        "min_ram": {"type": "integer", "description": "Amount of ram (in MB) required to boot image."},
        "min_disk": {"type": "integer", "description": "Amount of disk space (in GB) required to boot image."},
        "tags": {
            "type": "array",
            "items": {"type": "string", "maxLength": 255},
            "description": "List of strings related to the image",
        },
        "created_at": _read_only("string", "Date and time of image registration"),
        "updated_at": _read_only("string", "Date and time of the last image modification"),
        "self": _read_only("string", "An image self url"),
        "file": _read_only("string", "An image file url"),
        "schema": _read_only("string", "An image schema url"),
        "holdfast_reason": _read_only("string", "Why the image was killed"),
        "kernel_id": _text("ID of the image to use as kernel when booting an AMI-style image."),
        "ramdisk_id": _text("ID of the image to use as ramdisk when booting an AMI-style image."),
        "os_distro": {"type": "string", "description": "Common name of operating system distribution"},
        "os_version": {"type": "string", "description": "Operating system version"},
        "architecture": {"type": "string", "description": "Operating system architecture"},
        "instance_uuid": {"type": "string", "description": "The server that the image was made from"},
    },
    "additionalProperties": {"type": "string"},
    "links": [
        {"rel": "self", "href": "{self}"},
        {"rel": "enclosure", "href": "{file}"},
        {"rel": "describedby", "href": "{schema}"},
    ],
}
MEMBER: Final[dict[str, Any]] = {
    "name": "member",
    "properties": {
        "image_id": {"type": "string", "description": "An identifier for the image"},
        "member_id": {"type": "string", "description": "An identifier for the image member (project)"},
        "status": {"type": "string", "description": "The status of this image member", "enum": list(MEMBER_STATUSES)},
        "created_at": {"type": "string", "description": "Date and time of image member creation"},
        "updated_at": {"type": "string", "description": "Date and time of last modification of image member"},
        "schema": {"type": "string", "readOnly": True},
    },
}


def _several(one: dict[str, Any]) -> dict[str, Any]:
    plural = one["name"] + "s"
    links = [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}]
    properties = {
        plural: {"type": "array", "items": one},
        "first": {"type": "string"},
        "next": {"type": "string"},
        "schema": {"type": "string"},
    }
    return {"name": plural, "properties": properties, "links": [*links, {"rel": "describedby", "href": "{schema}"}]}


SCHEMAS: Final = {"image": IMAGE, "images": _several(IMAGE), "member": MEMBER, "members": _several(MEMBER)}


def schema_show(call: Call) -> Reply:
    """GET /v2/schemas/{schema}."""
    if (schema := SCHEMAS.get(call.parameters["schema"])) is None:
        raise NotFound("The resource could not be found.")
    return Reply(200, schema)


def import_show(call: Call) -> Reply:
    """GET /v2/info/import: no import methods; clients then upload with PUT."""
    methods = {"description": "Import methods available.", "type": "array", "value": []}
    return Reply(200, {"import-methods": methods})


def stores_show(call: Call) -> Reply:
    """GET /v2/info/stores: the one directory."""
    return Reply(200, {"stores": [{"id": "local", "default": "true", "description": "files of this cloud"}]})


def usage_show(call: Call) -> Reply:
    """GET /v2/info/usage: the project's quota and what it uses of it, counted now."""

    def look(tx: Any) -> dict[str, Any]:
        limit = quota_limits(tx, call.project_id)["image"]
        return {"usage": {"image_count_total": {"limit": limit, "usage": image_count(tx, call.project_id)}}}

    return Reply(200, call.services.store.read(look))


def tasks_show(call: Call) -> Reply:
    """GET /v2/tasks: there are none; an upload is one request here."""
    return Reply(200, {"tasks": [], "first": "/v2/tasks", "schema": "/v2/schemas/tasks"})


def task_show(call: Call) -> Reply:
    """GET and DELETE /v2/tasks/{task_id}."""
    raise NotFound(f"Task not found: {call.parameters['task_id'][:64]}")


def import_refuse(call: Call) -> Reply:
    """POST of a task, an import or staged data."""
    raise NotSupported("This cloud takes image data with PUT /v2/images/{id}/file; it has no import methods.")
