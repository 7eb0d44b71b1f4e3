"""What a client may say about an image: which words it may set, and how each becomes a field. Used by POST and PATCH.

The invariant: every word of Glance's own is either in `FIELDS` or refused by name; whatever else is text is a
property of the owner's and changes nothing but itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, Forbidden
from holdfast.base.ids import is_id
from holdfast.base.limits import IMAGE_VALUE_CHARS, IMAGE_WORDS, NAME_CHARS
from holdfast.domain.image import CONTAINER_FORMATS, DISK_FORMATS, VISIBILITIES, Image, Status

READ_ONLY: Final = {
    "created_at",
    "updated_at",
    "status",
    "checksum",
    "size",
    "virtual_size",
    "os_hash_algo",
    "os_hash_value",
    "direct_url",
    "self",
    "file",
    "schema",
    "stores",
    "locations",
    "deleted",
    "deleted_at",
    "holdfast_reason",
}
INT_MAX: Final = 2**31 - 1


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > NAME_CHARS or not _is_plain(value):
        raise BadInput(f"Invalid value for '{name}': at most {NAME_CHARS} printable characters")
    return value


def _is_plain(text: str) -> bool:
    """Say whether the text has no control characters: names are shown on terminals, properties in logs."""
    return not any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in text)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"Invalid value for '{name}': true or false is needed")
    return value


def _count(name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise BadInput(f"Invalid value for '{name}': a number from 0 to {INT_MAX} is needed")
    return value


def _choice(*allowed: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value is None and name != "visibility":
            return ""
        if value not in allowed:
            raise BadInput(f"Invalid value for '{name}': one of {', '.join(allowed)} is needed")
        return str(value)

    return check


def _tags(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadInput("Invalid value for 'tags': a list is needed")
    tags = tuple(dict.fromkeys(tag_checked(tag) for tag in value))
    if len(tags) > IMAGE_WORDS:
        raise BadInput(f"an image has at most {IMAGE_WORDS} tags")
    return tags


def tag_checked(value: Any) -> str:
    """The tag; BadInput for what is none."""
    if not isinstance(value, str) or not value:
        raise BadInput("a tag is text")
    return _text("tags", value)


def _id(name: str, value: Any) -> str:
    if not isinstance(value, str) or not is_id(value):
        raise BadInput(f"Invalid image id {str(value)[:64]!r}: a lower-case UUID is needed")
    return value


FIELDS: Final[dict[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "id": ("id", _id),
    "name": ("name", _text),
    "owner": ("project_id", _text),
    "visibility": ("visibility", _choice(*VISIBILITIES)),
    "protected": ("protected", _flag),
    "os_hidden": ("hidden", _flag),
    "disk_format": ("disk_format", _choice(*DISK_FORMATS)),
    "container_format": ("container_format", _choice(*CONTAINER_FORMATS)),
    "min_disk": ("min_disk_gib", _count),
    "min_ram": ("min_ram_mib", _count),
    "tags": ("tags", _tags),
}


def refuse_reserved(name: str) -> None:
    """Raise Forbidden for a word that only the service sets."""
    if name in READ_ONLY:
        raise Forbidden(f"Attribute '{name}' is read-only.")
    if name.startswith("os_glance"):
        raise Forbidden(f"Attribute '{name}' is reserved.")


def image_with(image: Image, words: dict[str, Any]) -> Image:
    """Return the image with these words set; BadInput or Forbidden names the first that cannot be."""
    fields: dict[str, Any] = {}
    properties = dict(image.properties)
    for name, value in words.items():
        refuse_reserved(name)
        if name in FIELDS:
            field, check = FIELDS[name]
            fields[field] = check(name, value)
        else:
            properties[_property_name(name)] = _property(name, value)
    if len(properties) > IMAGE_WORDS:
        raise BadInput(f"an image has at most {IMAGE_WORDS} properties")
    return msgspec.structs.replace(image, **fields, properties=properties)


def _property_name(name: str) -> str:
    if not name or len(name) > NAME_CHARS or not _is_plain(name):
        raise BadInput(f"the name of a property has 1 to {NAME_CHARS} printable characters")
    return name


def _property(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > IMAGE_VALUE_CHARS or "\0" in value:
        raise BadInput(f"Invalid value for the property '{name}': text of at most {IMAGE_VALUE_CHARS} characters")
    return value


def authorise_change(call: Call, before: Image, after: Image) -> None:
    """Raise Forbidden for what this caller may not make of the image."""
    target = {"project_id": before.project_id}
    if after.visibility != before.visibility:
        if after.visibility == "public":
            call.authorise("publicize_image", target)
        if after.visibility == "community":
            call.authorise("communitize_image", target)
    if after.project_id != before.project_id and not call.credentials.is_admin:
        raise Forbidden(f"You are not permitted to give images to '{after.project_id}'.")
    formats = (after.disk_format, after.container_format) != (before.disk_format, before.container_format)
    if formats and before.status is not Status.QUEUED:
        raise Forbidden(f"Attributes disk_format and container_format cannot change once an image is {before.status}.")
