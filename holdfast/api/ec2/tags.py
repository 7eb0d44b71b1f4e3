"""Tags: of instances, where they are Nova's metadata under another name. Other objects carry none here.

A tag that could not be kept is refused, so that nobody later searches in vain for what they marked.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import filter_of, page_of
from holdfast.api.ec2.instances.found import server_allow, servers_after, servers_named
from holdfast.api.ec2.lookup import INSTANCE
from holdfast.api.http.call import Call
from holdfast.base.ec2_ids import is_ec2_id
from holdfast.base.errors import BadInput, NotSupported
from holdfast.base.limits import METADATA_ITEMS, NAME_CHARS, PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_change
from holdfast.domain.instance import Instance, InstanceState

_RULE = "os_compute_api:server-metadata"
_GONE = (InstanceState.DELETING, InstanceState.DELETED)


def tags_for(members: Members, kind: str) -> dict[str, str]:
    """The tags that a request gives to what it makes; NotSupported for tags on anything but a `kind`."""
    found: dict[str, str] = {}
    for given in members.get("TagSpecifications", []):
        if given.get("ResourceType", kind) != kind and given.get("Tags"):
            raise NotSupported(f"Tags of a {str(given['ResourceType'])[:64]} are not kept in this cloud.")
        found |= _read(given.get("Tags", []), found)
    return found


def no_tags(members: Members, kind: str) -> None:
    """NotSupported when a request gives tags to what carries none."""
    if any(given.get("Tags") for given in members.get("TagSpecifications", [])):
        raise NotSupported(f"Tags of a {kind} are not kept in this cloud.")


def tags_create(call: Call, members: Members) -> Members:
    """CreateTags."""
    tags = _read(members["Tags"], {})
    _each(call, members["Resources"], lambda row: {**row.properties, **tags})
    return {}


def tags_delete(call: Call, members: Members) -> Members:
    """DeleteTags: those named, with that value if one is given; without any, all. One that is not there is gone."""
    named = [(tag.get("Key", ""), tag.get("Value")) for tag in members.get("Tags", [])]

    def without(row: Instance) -> dict[str, str]:
        gone = {key for key, value in named if value is None or row.properties.get(key) == value}
        return {key: value for key, value in row.properties.items() if named and key not in gone}

    _each(call, members["Resources"], without)
    return {}


def tags_describe(call: Call, members: Members) -> Members:
    """DescribeTags."""
    passes = filter_of(
        members.get("Filters", []), ("key", "value", "resource-id", "resource-type", "tag-key", "tag-value"), tags=True
    )

    def look(tx: Tx) -> list[Members]:
        found: list[Members] = []
        for servers in servers_after(call, tx, "", PAGE_ROWS):
            rows = [server.instance for server in servers if server.instance.state not in _GONE]
            views = [_view(row, key, value) for row in rows for key, value in row.properties.items()]
            found += [view for view in views if passes(_facts(view))]
        return sorted(found, key=_key)

    page, token = page_of(call.services.store.read(look), members, _key)
    return {"Tags": page, "NextToken": token}


def _each(call: Call, resources: list[str], tags_of: object) -> None:
    """Change the tags of every instance named, or of none."""
    for text in resources:
        if not is_ec2_id("i", text):
            raise NotSupported(f"'{text[:64]}' carries no tags in this cloud: only instances do.")

    def change(tx: Tx) -> None:
        for server in servers_named(call, tx, resources):
            server_allow(call, server, f"{_RULE}:update", changes=True)
            row = server.instance
            _write(tx, row, tags_of(row))  # type: ignore[operator]

    call.services.store.write(change)


def _write(tx: Tx, row: Instance, tags: dict[str, str]) -> None:
    if len(tags) > METADATA_ITEMS:
        raise BadInput(f"An instance has at most {METADATA_ITEMS} tags.", code="TagLimitExceeded")
    if tags == row.properties or row.state in _GONE:
        return
    name = tags.get("Name", "").strip()
    renamed = {"name": name} if name and name != row.properties.get("Name") and name.isprintable() else {}
    instance_change(tx, row, properties=tags, **renamed)


def _read(tags: list[Mapping[str, str]], known: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 1 <= len(key) <= NAME_CHARS or len(value) > NAME_CHARS:
            raise BadInput(f"Tag keys and values have at most {NAME_CHARS} characters.", code="InvalidParameterValue")
        if key.lower().startswith("aws:"):
            raise BadInput("Tag keys starting with 'aws:' are reserved for internal use", code="InvalidParameterValue")
        if key in found or key in known:
            raise BadInput(f"Duplicate tag key '{key[:64]}' specified.", code="InvalidParameterValue")
        found[key] = value
    return found


def _view(row: Instance, key: str, value: str) -> Members:
    return {"ResourceId": INSTANCE.id_of(row.id), "ResourceType": "instance", "Key": key, "Value": value}


def _key(view: Members) -> str:
    return f"{view['ResourceId']} {view['Key']}"


def _facts(view: Members) -> dict[str, list[str]]:
    key, value = [view["Key"]], [view["Value"]]
    return {
        **{"key": key, "tag-key": key, "value": value, "tag-value": value, f"tag:{view['Key']}": value},
        "resource-id": [view["ResourceId"]],
        "resource-type": [view["ResourceType"]],
    }


ACTIONS = {
    "CreateTags": Action(f"{_RULE}:update", tags_create),
    "DeleteTags": Action(f"{_RULE}:update", tags_delete),
    "DescribeTags": Action(f"{_RULE}:index", tags_describe),
}
