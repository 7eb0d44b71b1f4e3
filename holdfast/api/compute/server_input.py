"""What clients send to make a server, read strictly: a word that is not known for its version is refused."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Any

from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, NotSupported
from holdfast.base.ids import is_id
from holdfast.base.limits import METADATA_ITEMS, NAME_CHARS, USER_DATA_BYTES
from holdfast.control.operations.flavor import flavor_resolve
from holdfast.control.operations.server.request import CardWanted, ServerWanted
from holdfast.control.store.database import Tx

_KNOWN = {
    "name": 1,
    "imageRef": 1,
    "flavorRef": 1,
    "metadata": 1,
    "networks": 1,
    "security_groups": 1,
    "key_name": 1,
    "user_data": 1,
    "config_drive": 1,
    "availability_zone": 1,
    "min_count": 1,
    "max_count": 1,
    "return_reservation_id": 1,
    "OS-DCF:diskConfig": 1,
    "accessIPv4": 1,
    "accessIPv6": 1,
    "adminPass": 1,
    "personality": 1,
    "block_device_mapping": 1,
    "block_device_mapping_v2": 1,
    "os:scheduler_hints": 1,
    "OS-SCH-HNT:scheduler_hints": 1,
    "description": 19,
    "tags": 52,
    "trusted_image_certificates": 63,
    "host": 74,
    "hypervisor_hostname": 74,
    "hostname": 90,
}


def text(value: Any, field: str, maximum: int = NAME_CHARS, minimum: int = 1) -> str:
    """A line of text from a client; BadInput names the field."""
    if not isinstance(value, str) or not minimum <= len(value) <= maximum:
        raise BadInput(f"Invalid input for field/attribute {field}: must be text of {minimum} to {maximum} characters")
    if not value.isprintable() or (minimum and not value.strip()):
        raise BadInput(
            f"Invalid input for field/attribute {field}: control characters and blanks alone are not allowed"
        )
    return value.strip()


def metadata_items(value: Any, field: str = "metadata") -> dict[str, str]:
    """A server's metadata."""
    if not isinstance(value, dict) or len(value) > METADATA_ITEMS:
        raise BadInput(f"Invalid input for field/attribute {field}: an object of at most {METADATA_ITEMS} items")
    for key, item in value.items():
        if not isinstance(item, str) or not 1 <= len(key) <= NAME_CHARS or len(item) > NAME_CHARS:
            raise BadInput(
                f"Invalid input for field/attribute {field}: keys and values are text of at most 255 characters"
            )
    return value


def server_wanted(call: Call, tx: Tx) -> ServerWanted:
    """Read the body of POST /servers."""
    document = call.json()
    body = document.get("server")
    if not isinstance(body, dict):
        raise BadInput("Invalid input: the body must have an object 'server'")
    hints = document.get("os:scheduler_hints") or document.get("OS-SCH-HNT:scheduler_hints") or {}
    hints = hints or body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    _check_known(body, call.version)
    count_min, count_max = _counts(body)
    flavor_ref = text(body.get("flavorRef"), "flavorRef")
    name = text(body.get("name"), "name")
    return ServerWanted(
        name=name,
        flavor=flavor_resolve(tx, flavor_ref.rstrip("/").rpartition("/")[2], call.project_id),
        image_id=_image_id(body),
        cards=_cards(body, call.version),
        security_groups=_groups(body),
        key_name=text(body["key_name"], "key_name") if body.get("key_name") else "",
        user_data=_user_data(body),
        config_drive=_flag(body.get("config_drive", False), "config_drive"),
        zone=_zone(call, body),
        properties=metadata_items(body.get("metadata") or {}),
        tags=tuple(dict.fromkeys(tag_name(tag) for tag in body.get("tags") or ())),
        description=text(body["description"], "description", minimum=0) if body.get("description") else "",
        hostname=text(body["hostname"], "hostname") if body.get("hostname") else "",
        group_id=_group(hints),
        access_ipv4=access_address(body, 4),
        access_ipv6=access_address(body, 6),
        count_min=count_min,
        count_max=count_max,
    )


def access_address(body: dict[str, Any], version: int) -> str:
    """accessIPv4 or accessIPv6 in its one form; empty for none."""
    field = f"accessIPv{version}"
    value = body.get(field) or ""
    try:
        found = ipaddress.ip_address(value) if value else None
    except ValueError:
        found = None
    if value and (found is None or found.version != version):
        raise BadInput(f"Invalid input for field/attribute {field}: {str(value)[:64]!r} is no IPv{version} address")
    return str(found or "")


def tag_name(tag: Any) -> str:
    """One tag; Nova allows 60 characters without a slash or a comma."""
    if not isinstance(tag, str) or not 1 <= len(tag) <= 60 or "/" in tag or "," in tag or not tag.isprintable():
        raise BadInput(f"Invalid input for field/attribute tags: {str(tag)[:70]!r} is not a tag")
    return tag


def _check_known(body: dict[str, Any], minor: int) -> None:
    unknown = [word for word in body if _KNOWN.get(word, 999) > minor]
    if unknown:
        raise BadInput(f"Additional properties are not allowed ({', '.join(map(repr, sorted(unknown)))} unexpected)")
    if body.get("personality"):
        raise NotSupported("personality files are not supported; use user_data or a config drive")
    for word in ("block_device_mapping", "block_device_mapping_v2"):
        for device in body.get(word) or ():
            local = isinstance(device, dict) and device.get("destination_type") == "local"
            if not local or device.get("source_type") not in ("image",) or str(device.get("boot_index")) != "0":
                raise NotSupported(
                    f"{word}: booting from a volume is not available in this cloud; boot from an image and attach it"
                )


def _counts(body: dict[str, Any]) -> tuple[int, int]:
    try:
        count_min = int(body.get("min_count", 1))
        count_max = int(body.get("max_count", count_min))
    except (TypeError, ValueError) as err:
        raise BadInput("min_count and max_count must be whole numbers") from err
    if not 1 <= count_min <= count_max <= 1000:
        raise BadInput("min_count must be at least 1 and at most max_count, which is at most 1000")
    return count_min, count_max


def _image_id(body: dict[str, Any]) -> str:
    image_ref = body.get("imageRef") or ""
    for device in body.get("block_device_mapping_v2") or ():
        image_ref = image_ref or device.get("uuid", "")
    image_id = str(image_ref).rstrip("/").rpartition("/")[2]
    if not image_id:
        raise BadInput("Invalid imageRef provided: booting without an image is not supported")
    if not is_id(image_id):
        raise BadInput("Invalid imageRef provided: it must be the id of an image")
    return image_id


def _cards(body: dict[str, Any], minor: int) -> tuple[CardWanted, ...] | None:
    networks = body.get("networks")
    if minor >= 37 and networks is None:
        raise BadInput("Invalid input for field/attribute server: 'networks' is a required property")
    if networks == "none" and minor >= 37:
        return ()
    if networks is None or networks == [] or (networks == "auto" and minor >= 37):
        return None
    if not isinstance(networks, list):
        raise BadInput("Invalid input for field/attribute networks: must be a list")
    return tuple(_card(item) for item in networks)


def _card(item: Any) -> CardWanted:
    if not isinstance(item, dict):
        raise BadInput("Invalid input for field/attribute networks: each must be an object")
    port_id, network_id, fixed = (item.get(word) or "" for word in ("port", "uuid", "fixed_ip"))
    if not port_id and not network_id:
        raise BadInput("Invalid input for field/attribute networks: each needs a 'uuid' or a 'port'")
    for value in filter(None, (port_id, network_id)):
        if not isinstance(value, str) or not is_id(value):
            raise BadInput(f"Invalid input for field/attribute networks: {str(value)[:64]!r} is not an id")
    return CardWanted(port_id=port_id, network_id="" if port_id else network_id, fixed=str(fixed))


def _groups(body: dict[str, Any]) -> tuple[str, ...]:
    groups = body.get("security_groups") or ()
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        raise BadInput("Invalid input for field/attribute security_groups: must be a list of objects")
    return tuple(dict.fromkeys(text(group.get("name"), "security_groups.name") for group in groups))


def _user_data(body: dict[str, Any]) -> str:
    data = body.get("user_data") or ""
    if not isinstance(data, str) or len(data) > USER_DATA_BYTES:
        raise BadInput(f"Invalid input for field/attribute user_data: at most {USER_DATA_BYTES} characters of base64")
    try:
        base64.b64decode(data, validate=False)
    except (binascii.Error, ValueError) as err:
        raise BadInput("Invalid input for field/attribute user_data: not base64") from err
    return "".join(data.split())


def _flag(value: Any, field: str) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "1", "yes", "on"):
        return True
    if str(value).lower() in ("false", "0", "no", "off", "", "none"):
        return False
    raise BadInput(f"Invalid input for field/attribute {field}: {str(value)[:32]!r} is neither true nor false")


def _zone(call: Call, body: dict[str, Any]) -> str:
    zone = text(body["availability_zone"], "availability_zone") if body.get("availability_zone") else ""
    host = body.get("host") or body.get("hypervisor_hostname") or ""
    if ":" in zone:
        call.authorise("os_compute_api:servers:create:forced_host")
    if host:
        call.authorise("compute:servers:create:requested_destination")
        zone = f"{zone}:{text(host, 'host')}"
    return ":".join(part for part in zone.split(":")[:2]) if zone else ""


def _group(hints: Any) -> str:
    group = hints.get("group", "") if isinstance(hints, dict) else ""
    group = group[0] if isinstance(group, list) and group else group
    if group and not is_id(str(group)):
        raise BadInput("Invalid input for field/attribute os:scheduler_hints: group must be the id of a server group")
    return str(group)
