"""What requests of this service say, checked: names, properties, lists. Everything here came from a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from holdfast.api.http.call import Call
from holdfast.api.volume.views import states_of
from holdfast.base.errors import BadInput, Forbidden, NotFound
from holdfast.base.ids import is_id
from holdfast.base.limits import METADATA_ITEMS, NAME_CHARS, PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.volume.listing import SORTABLE, FileQuery, VolumeWhole, volume_whole
from holdfast.control.store.volume.rows import snapshot_fetch
from holdfast.domain.volume import Snapshot, VolumeState

_YES, _NO = ("true", "1", "yes", "on", "t", "y"), ("false", "0", "no", "off", "f", "n")
_ECHO_CHARS = 64


def find_volume(call: Call, tx: Tx, rule: str) -> VolumeWhole:
    """The volume in the path, if the caller may see it and `rule` allows the act; others are NotFound."""
    volume_id = call.parameters["volume_id"]
    found = volume_whole(tx, volume_id) if is_id(volume_id) else None
    if found is None or not _may_see(call, found.row.project_id):
        raise NotFound(f"Volume {volume_id[:_ECHO_CHARS]} could not be found.")
    call.authorise(rule, {"project_id": found.row.project_id, "user_id": found.row.user_id})
    return found


def find_snapshot(call: Call, tx: Tx, rule: str) -> Snapshot:
    """The same for a snapshot."""
    snapshot_id = call.parameters["snapshot_id"]
    row = snapshot_fetch(tx, snapshot_id) if is_id(snapshot_id) else None
    if row is None or not _may_see(call, row.project_id):
        raise NotFound(f"Snapshot {snapshot_id[:_ECHO_CHARS]} could not be found.")
    call.authorise(rule, {"project_id": row.project_id, "user_id": row.user_id})
    return row


def _may_see(call: Call, project_id: str) -> bool:
    return call.credentials.is_admin or project_id == call.credentials.project_id


def body_object(call: Call, wrapper: str) -> dict[str, Any]:
    """The member of the body that holds everything."""
    found = call.json().get(wrapper)
    if not isinstance(found, dict):
        raise BadInput(f"Invalid input received: the body must have an object '{wrapper}'")
    return found


def text(name: str, value: Any) -> str:
    """A name or description; None is empty. Names are shown on terminals, so no control characters."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > NAME_CHARS:
        raise BadInput(f"Invalid input for field/attribute {name}: text of at most {NAME_CHARS} characters")
    if not value.replace("\n", "").isprintable() or (name != "description" and "\n" in value):
        raise BadInput(f"Invalid input for field/attribute {name}: it has characters that cannot be printed")
    return value.strip()


def identifier(name: str, value: Any) -> str:
    """An id; None is empty."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not is_id(value):
        raise BadInput(f"Invalid input for field/attribute {name}: {str(value)[:_ECHO_CHARS]!r} is not an id")
    return value


def whole_number(name: str, value: Any) -> int:
    """A whole number that is not negative, or its digits as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise BadInput(f"Invalid input for field/attribute {name}: {str(value)[:_ECHO_CHARS]!r} is no whole number")
    return value


def flag(name: str, value: Any) -> bool:
    """True, false, or a word for them."""
    word = str(value).lower()
    if word not in _YES + _NO:
        raise BadInput(f"Invalid value for '{name}': {str(value)[:_ECHO_CHARS]!r} is neither true nor false")
    return word in _YES


def properties(value: Any) -> dict[str, str]:
    """A volume's or snapshot's metadata."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > METADATA_ITEMS:
        raise BadInput(f"Invalid input for field/attribute metadata: an object of at most {METADATA_ITEMS} items")
    for key, item in value.items():
        if not 1 <= len(key) <= NAME_CHARS or not key.isprintable():
            raise BadInput(f"Invalid input for field/attribute metadata: {key[:_ECHO_CHARS]!r} is no name of an item")
        if not isinstance(item, str) or len(item) > NAME_CHARS or "\0" in item:
            raise BadInput(f"Invalid input for field/attribute metadata: the item {key[:_ECHO_CHARS]!r} is not text")
    return value


def file_query(call: Call, snapshots: bool = False) -> FileQuery:
    """Read the query string of a list. A filter that Cinder does not know is ignored, as Cinder does it."""
    admin = call.credentials.is_admin
    everyone = call.argument("all_tenants") not in ("", "0", "false", "False")
    if everyone and not admin:
        everyone = False  # Cinder gives a project its own, and says nothing
    if not call.project_id and not everyone:
        raise Forbidden("this needs a token that is scoped to a project")
    project = (call.argument("project_id") if admin else "") if everyone else call.project_id
    statuses = call.arguments("status")
    return FileQuery(
        project_id=project,
        names=tuple(call.arguments("name") or call.arguments("display_name")),
        states=tuple(state for word in statuses for state in states_of(word)) if statuses else None,
        ids=tuple(call.arguments("id")),
        volume_id=call.argument("volume_id") if snapshots else "",
        bootable=flag("bootable", call.argument("bootable")) if call.argument("bootable") and not snapshots else None,
        properties=_properties_asked(call.argument("metadata")),
        marker=call.argument("marker"),
        limit=min(_number(call, "limit", PAGE_ROWS), PAGE_ROWS),
        offset=_number(call, "offset", 0),
        sort=_sort(call),
    )


def _number(call: Call, name: str, default: int) -> int:
    value = call.argument(name)
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadInput(f"{name} must be a whole number that is not negative")
    return int(value)


def _properties_asked(value: str) -> dict[str, str]:
    """Clients write `{'key': 'value'}`, Python's way, or JSON."""
    if not value:
        return {}
    try:
        found = msgspec.json.decode(value.replace("'", '"'))
    except (msgspec.DecodeError, RecursionError) as err:
        raise BadInput("metadata: an object of names and values is needed") from err
    if not isinstance(found, dict):
        raise BadInput("metadata: an object of names and values is needed")
    return {key: str(item) for key, item in found.items()}


def _sort(call: Call) -> tuple[tuple[str, bool], ...]:
    """`sort=name:asc,size`, or the older `sort_key` and `sort_dir`."""
    words = call.argument("sort")
    if words:
        pairs = [
            (key.strip(), direction or "desc") for key, _, direction in (p.partition(":") for p in words.split(","))
        ]
    else:
        pairs = [(call.argument("sort_key", "created_at"), call.argument("sort_dir", "desc"))]
    for key, direction in pairs:
        if key not in SORTABLE or direction not in ("asc", "desc"):
            raise BadInput(
                f"sort: {key[:_ECHO_CHARS]!r} {direction[:8]!r} is not possible; keys are {', '.join(SORTABLE)}"
            )
    return tuple((key, direction == "desc") for key, direction in pairs)


def page(call: Call, query: FileQuery, noun: str, views: list[Any], count: Callable[[], int]) -> dict[str, Any]:
    """A list's body: the rows, the link to the next page if this one is full, and from 3.45 on how many there are."""
    body: dict[str, Any] = {noun: views}
    if views and len(views) == query.limit:
        pairs = [(key, value) for key, value in call.query if key not in ("marker", "offset")]
        path = f"{call.services.settings.endpoint}/volume{call.path}"
        body[f"{noun}_links"] = [{"rel": "next", "href": f"{path}?{urlencode([*pairs, ('marker', views[-1]['id'])])}"}]
    if call.version >= 45 and call.argument("with_count") and flag("with_count", call.argument("with_count")):
        body["count"] = count()
    return body


def resettable(value: Any) -> VolumeState:
    """What an administrator may declare a volume or snapshot to be."""
    if value == "available":
        return VolumeState.AVAILABLE
    if value == "error":
        return VolumeState.FAILED
    raise BadInput(
        "Invalid input received: status can be reset to available and error only; the rest is seen, not said"
    )
