"""Request bodies of the network service: which attributes an object has, their types, and who may set them.

One table per noun says everything: `read` refuses what is not in it, in Neutron's words. An attribute's `rule` is
the end of the policy that must allow setting it: `shared` of a network is `create_network:shared`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, Forbidden
from holdfast.base.limits import BULK_OBJECTS, NAME_CHARS
from holdfast.domain.address import invalid

Text = Annotated[str, msgspec.Meta(max_length=NAME_CHARS)]
_LINES = str.maketrans("", "", "\n\r\t")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its type, the name behind the API, and where and by whom it may be set."""

    kind: Any
    field: str
    post: bool = True
    put: bool = True
    rule: str = ""


def shown_only(*names: str) -> dict[str, Attribute]:
    """Attributes that nobody sets."""
    return {name: Attribute(Any, name, post=False, put=False) for name in names}


RESOURCE = {
    "name": Attribute(Text, "name"),
    "description": Attribute(Text, "description"),
    "project_id": Attribute(Text, "project_id", put=False),
    "tenant_id": Attribute(Text, "project_id", put=False),
    **shown_only("id", "status", "tags", "created_at", "updated_at", "revision_number"),
}


def documents(call: Call, noun: str, plural: str) -> tuple[list[dict[str, Any]], bool]:
    """The objects of a POST, and whether it is a bulk one."""
    body = call.json()
    if set(body) == {noun} and isinstance(body[noun], dict):
        return [body[noun]], False
    found = body.get(plural)
    if set(body) != {plural} or not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadInput(f"Resource body required: a member '{noun}' or '{plural}'", code="HTTPBadRequest")
    if not 0 < len(found) <= BULK_OBJECTS:
        raise BadInput(f"a bulk request has 1 to {BULK_OBJECTS} objects", code="HTTPBadRequest")
    return found, True


def document(call: Call, noun: str) -> dict[str, Any]:
    """The object of a PUT."""
    body = call.json()
    if set(body) != {noun} or not isinstance(body[noun], dict):
        raise BadInput(f"Resource body required: a member '{noun}'", code="HTTPBadRequest")
    found: dict[str, Any] = body[noun]
    return found


def read(
    call: Call,
    table: Mapping[str, Attribute],
    given: Mapping[str, Any],
    action: str,
    target: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The attributes that were given, by the names behind the API. `action` is create_NOUN or update_NOUN."""
    creating = action.startswith("create_")
    unknown = [name for name in given if name not in table]
    if unknown:
        raise BadInput(f"Unrecognized attribute(s) '{', '.join(unknown)[:200]}'", code="HTTPBadRequest")
    found: dict[str, Any] = {}
    for name, value in given.items():
        attribute = table[name]
        if not (attribute.post if creating else attribute.put):
            words = (
                f"Attribute '{name}' not allowed in POST" if creating else f"Cannot update read-only attribute {name}"
            )
            raise BadInput(words, code="HTTPBadRequest")
        if attribute.rule:
            require(call, f"{action}:{attribute.rule}", target)
        found[attribute.field] = _convert(name, value, attribute.kind)
    return found


def _convert(name: str, value: Any, kind: Any) -> Any:
    try:
        converted = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as err:
        raise invalid(name, f"{err}.") from err
    _printable(name, value)
    return converted


def _printable(name: str, value: Any) -> None:
    """Refuse control characters anywhere: names end in logs, in DHCP's files and on terminals."""
    if isinstance(value, str):
        text = value.translate(_LINES) if name == "description" else value
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
            raise invalid(name, "it has control characters.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _printable(name, key)
            _printable(name, inner)
    elif isinstance(value, list):
        for inner in value:
            _printable(name, inner)


def project_for(call: Call, fields: dict[str, Any], action: str) -> str:
    """The project that a new object is for: the caller's, or another one where the policy allows it."""
    named = fields.pop("project_id", "")
    if not named or named == call.credentials.project_id:
        return call.project_id
    require(call, action, {"project_id": named})
    return str(named)


def require(call: Call, rule: str, target: Mapping[str, Any] | None = None) -> None:
    """Raise Forbidden, in Neutron's words, unless the policy allows it."""
    if not call.may(rule, target):
        raise Forbidden(f"rule:{rule} is disallowed by policy", code="PolicyNotAuthorized")
