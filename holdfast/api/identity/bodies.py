"""What every handler of this facade does with a request's body and its filters, once.

Keystone keeps attributes that it does not know; here they are bounded, and none may take the name of one
that means something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput
from holdfast.base.limits import IDENTITY_EXTRA_BYTES
from holdfast.domain.identity import DEFAULT_DOMAIN

Body = Mapping[str, Any]
_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "": lambda mine, wanted: mine == wanted,
    "contains": lambda mine, wanted: wanted in mine,
    "icontains": lambda mine, wanted: wanted.lower() in mine.lower(),
    "startswith": lambda mine, wanted: mine.startswith(wanted),
    "istartswith": lambda mine, wanted: mine.lower().startswith(wanted.lower()),
    "endswith": lambda mine, wanted: mine.endswith(wanted),
    "iendswith": lambda mine, wanted: mine.lower().endswith(wanted.lower()),
    "iequals": lambda mine, wanted: mine.lower() == wanted.lower(),
}


def member(call: Call, name: str) -> dict[str, Any]:
    """The one object that the body holds."""
    found = call.json().get(name)
    if not isinstance(found, dict):
        raise BadInput(f"Expecting to find {name} in the request body.")
    return found


def text(body: Body, name: str, default: str = "", most: int = 1_000) -> str:
    """A text of the body; null counts as absent."""
    found = body.get(name)
    if found is None:
        return default
    if not isinstance(found, str) or len(found) > most:
        raise BadInput(f"Invalid input for field '{name}': a text of at most {most} characters is expected.")
    return found


def flag(body: Body, name: str, default: bool) -> bool:
    """A boolean of the body."""
    found = body.get(name, default)
    if not isinstance(found, bool):
        raise BadInput(f"Invalid input for field '{name}': true or false is expected.")
    return found


def extra(body: Body, known: Collection[str], before: Body | None = None) -> dict[str, Any]:
    """The attributes that only the client knows, over those from before; null removes one."""
    merged = {**(before or {}), **{name: value for name, value in body.items() if name not in known}}
    kept = {name: value for name, value in merged.items() if value is not None}
    if len(msgspec.json.encode(kept)) > IDENTITY_EXTRA_BYTES:
        raise BadInput(f"additional attributes may have {IDENTITY_EXTRA_BYTES} bytes together")
    return kept


def own_domain(call: Call, body: Body) -> str:
    """The domain that a new thing belongs to: the named one, or the token's."""
    credentials = call.credentials
    return text(body, "domain_id") or credentials.domain_id or credentials.project_domain_id or DEFAULT_DOMAIN


def require_same(body: Body, name: str, value: str | bool) -> None:
    """Refuse to change what never changes."""
    if body.get(name) not in (None, value):
        raise BadInput(f"Cannot change {name}.")


def truth(value: str) -> bool:
    """What a boolean filter means; an empty one means yes."""
    return value.lower() not in ("0", "false", "no", "off", "f", "n")


def filtered(call: Call, entries: Sequence[dict[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
    """The entries that match every filter of the query that Keystone has; others are ignored, as there."""
    kept = list(entries)
    for key, wanted in call.query:
        name, _, operator = key.partition("__")
        if name in names and operator in _MATCHES:
            kept = [entry for entry in kept if _matches(entry.get(name), operator, wanted)]
    return kept


def _matches(mine: Any, operator: str, wanted: str) -> bool:
    if isinstance(mine, bool):
        return mine == truth(wanted)
    return _MATCHES[operator]("" if mine is None else str(mine), wanted)
