"""What Nova's resources share: bodies checked field by field, query arguments, pages and links.

A check is a function `(field, value) -> value`; it raises BadInput in the words of Nova's own validation, or
returns the value as handlers use it. Values are hostile: what a message repeats of them is cut short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlencode

from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput
from holdfast.base.limits import NAME_CHARS, PAGE_ROWS

Check = Callable[[str, Any], Any]
INTEGER_MAX: Final = 0x7FFFFFFF  # Nova's columns
STRICT_QUERY: Final = 75  # from 2.75 an unknown query argument is refused
_ECHO_CHARS: Final = 200  # of a refused value in a message
_TRUE = (True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes")
_FALSE = (False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no")


def refuse(field: str, value: Any, why: str) -> NoReturn:
    """Raise BadInput as Nova's validation says it."""
    shown = str(value)
    shown = shown if len(shown) <= _ECHO_CHARS else shown[:_ECHO_CHARS] + "..."
    raise BadInput(f"Invalid input for field/attribute {field}. Value: {shown}. {why}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _ECHO_CHARS else text[:_ECHO_CHARS] + "..."


def text(least: int = 0, most: int = NAME_CHARS, pattern: str = "") -> Check:
    """A string of so many characters that matches."""

    def check(field: str, value: Any) -> str:
        if not isinstance(value, str):
            refuse(field, value, f"{_shown(value)} is not of type 'string'")
        if len(value) < least:
            refuse(field, value, f"{_shown(value)} is too short")
        if len(value) > most:
            refuse(field, value, f"{_shown(value)} is too long")
        if pattern and not re.fullmatch(pattern, value):
            refuse(field, value, f"{_shown(value)} does not match '^{pattern}$'")
        return value

    return check


def name(field: str, value: Any) -> str:
    """A name: printable, 1 to 255 characters, no space at either end."""
    found: str = text(1)(field, value)
    if not found.isprintable() or found != found.strip():
        raise BadInput(
            f"An invalid '{field}' value was provided. The {field} must be: printable characters. "
            "Can not start or end with whitespace."
        )
    return found


def printable(most: int) -> Check:
    """Text for people, on one line; None is empty."""

    def check(field: str, value: Any) -> str:
        found: str = "" if value is None else text(0, most)(field, value)
        if not found.isprintable():
            refuse(field, value, f"{_shown(value)} has characters that cannot be printed")
        return found

    return check


def integer(least: int = 0, most: int = INTEGER_MAX) -> Check:
    """A whole number, or its digits as text."""

    def check(field: str, value: Any) -> int:
        if type(value) is not int and not isinstance(value, str):
            refuse(field, value, f"{_shown(value)} is not of type 'integer', 'string'")
        if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}" if least < 0 else "[0-9]{1,19}", value):
            refuse(field, value, f"{_shown(value)} does not match '^[0-9]*$'")
        number = int(value)
        if number < least:
            refuse(field, value, f"{number} is less than the minimum of {least}")
        if number > most:
            refuse(field, value, f"{number} is greater than the maximum of {most}")
        return number

    return check


def boolean(field: str, value: Any) -> bool:
    """True, false, or one of the words that Nova takes for them."""
    if isinstance(value, bool | str):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
    refuse(field, value, f"{_shown(value)} is not one of {list(_TRUE + _FALSE)}")


def choice(*words: str) -> Check:
    """One of some words."""

    def check(field: str, value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            refuse(field, value, f"{_shown(value)} is not one of {list(words)}")
        return value

    return check


def mapping(field: str, value: Any, checks: Mapping[str, Check], required: Collection[str] = ()) -> dict[str, Any]:
    """An object with these members and no others."""
    if not isinstance(value, dict):
        refuse(field, value, f"{_shown(value)} is not of type 'object'")
    for member in required:
        if member not in value:
            refuse(field, value, f"'{member}' is a required property")
    for member in value:
        if member not in checks:
            refuse(field, value, f"Additional properties are not allowed ({_shown(member)} was unexpected)")
    return {member: checks[member](member, given) for member, given in value.items()}


def body_of(call: Call, wrapper: str, checks: Mapping[str, Check], required: Collection[str] = ()) -> dict[str, Any]:
    """The member `wrapper` of the body, its only one, checked."""
    return mapping(wrapper, wrapped(call, wrapper), checks, required)


def wrapped(call: Call, wrapper: str) -> Any:
    """The only member of the body."""
    document = call.json()
    if wrapper not in document:
        raise BadInput(f"'{wrapper}' is a required property")
    for member in document:
        if member != wrapper:
            raise BadInput(f"Additional properties are not allowed ({_shown(member)} was unexpected)")
    return document[wrapper]


def query_known(call: Call, known: Collection[str], strict_since: int = STRICT_QUERY) -> None:
    """Refuse a query argument that the resource does not have, from the version that does so."""
    if call.version < strict_since:
        return
    for argument, _ in call.query:
        if argument not in known:
            raise BadInput(f"Additional properties are not allowed ({_shown(argument)} was unexpected)")


def query_number(call: Call, argument: str, default: int) -> int:
    """A query argument that is a whole number, 0 or more."""
    value = call.argument(argument)
    if not value and argument not in dict(call.query):
        return default
    if not re.fullmatch("[0-9]{1,18}", value):
        shown = value[:_ECHO_CHARS]
        raise BadInput(f"Invalid input for query parameters {argument}. Value: {shown}. It must be a whole number.")
    return int(value)


def query_flag(call: Call, argument: str) -> bool:
    """A query argument that is a boolean; absent: false."""
    return boolean(argument, call.argument(argument, "false").lower())


def page_limit(call: Call) -> int:
    """How many rows the caller wants, at most a page."""
    return min(query_number(call, "limit", PAGE_ROWS), PAGE_ROWS)


def base_url(call: Call) -> str:
    """Where Nova's version 2.1 is."""
    return f"{call.services.settings.endpoint}/compute/v2.1"


def links(call: Call, collection: str, identifier: str) -> list[dict[str, str]]:
    """The links of one object."""
    path = f"{collection}/{quote(identifier, safe='')}"
    return [
        {"rel": "self", "href": f"{base_url(call)}/{path}"},
        {"rel": "bookmark", "href": f"{call.services.settings.endpoint}/compute/{path}"},
    ]


def next_links(call: Call, collection: str, shown: int, last: str) -> list[dict[str, str]]:
    """The link to the next page, if this one is full; `last` is the marker that it starts after."""
    limit = page_limit(call)
    if not limit or shown < limit:
        return []
    arguments = {**dict(call.query), "marker": last}
    return [{"rel": "next", "href": f"{base_url(call)}/{collection}?{urlencode(sorted(arguments.items()))}"}]
