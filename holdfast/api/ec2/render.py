"""An EC2 answer's nested members, as XML: the other half of `parse`.

What a handler returns is named as the service model names it; a member or a type that the model does not
know is our own mistake and raises Bug, so that no client ever meets an answer that EC2 could not give.
Instants are microseconds; None means that the member is left out.

Text may come from a guest or from another API: what XML cannot carry is replaced, never sent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from holdfast.api.ec2 import model
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Bug

CONTENT_TYPE = "text/xml;charset=UTF-8"
_SPECIAL = re.compile("[&<>]|[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_DONE = "<return>true</return>"
# EC2 sends the word although the model does not know it, and boto 2 takes its absence for a failure.
_ALSO_RETURN = frozenset({"AssociateAddress"})

Writer = Callable[[list[str], Any], None]


def render(action: str, data: Mapping[str, Any], request_id: str, version: str | None = None) -> bytes:
    """Return the body of a good answer, in the namespace of the API version that the client asked in."""
    output = model.load().action(action).output
    namespace = f"http://ec2.amazonaws.com/doc/{version or model.load().version}/"
    out = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{namespace}">',
        f"<requestId>{_escaped(request_id)}</requestId>",
    ]
    if not output or action in _ALSO_RETURN:
        out.append(_DONE)
    if output:
        _structure(output)(out, data)
    elif data:
        raise Bug(f"{action} answers nothing, not {sorted(data)}")
    out.append(f"</{action}Response>")
    return "".join(out).encode()


def render_error(code: str, message: str, request_id: str) -> bytes:
    """Return the body of an error, as every EC2 client parses it."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{_escaped(code)}</Code><Message>{_escaped(message)}</Message>"
        f"</Error></Errors><RequestID>{_escaped(request_id)}</RequestID></Response>"
    ).encode()


def _escaped(text: str) -> str:
    if not isinstance(text, str):
        raise Bug(f"{type(text).__name__} instead of text in an EC2 answer")
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


def _integer(value: object) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Bug(f"{type(value).__name__} instead of an integer in an EC2 answer")
    return str(value)


def _double(value: object) -> str:
    if not isinstance(value, float):
        raise Bug(f"{type(value).__name__} instead of a float in an EC2 answer")
    return repr(value)


def _boolean(value: object) -> str:
    if not isinstance(value, bool):
        raise Bug(f"{type(value).__name__} instead of a boolean in an EC2 answer")
    return "true" if value else "false"


def timestamp_text(value: object) -> str:
    """Milliseconds, as EC2 writes instants."""
    instant_us = int(_integer(value))
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant_us // SECOND_US))
    return f"{moment}.{instant_us % SECOND_US // 1000:03d}Z"


_TEXT_OF: dict[str, Callable[[Any], str]] = {
    "string": _escaped,
    "integer": _integer,
    "long": _integer,
    "double": _double,
    "boolean": _boolean,
    "timestamp": timestamp_text,
}


@cache
def _structure(name: str) -> Writer:
    """Compile what writes the members of one structure of the model."""
    writers = {member.name: _element(member.wire, member.type) for member in model.load().output[name]}

    def write(out: list[str], value: Mapping[str, Any]) -> None:
        for member, item in value.items():
            if item is not None:
                if member not in writers:
                    raise Bug(f"{name} has no member {member}")
                writers[member](out, item)

    return write


def _element(wire: str, kind: str) -> Writer:
    """Compile what writes one element, its tags included."""
    opening, closing = f"<{wire}>", f"</{wire}>"
    if kind in _TEXT_OF:
        text_of = _TEXT_OF[kind]

        def write_scalar(out: list[str], value: Any) -> None:
            out.append(f"{opening}{text_of(value)}{closing}")

        return write_scalar
    write_inside = _items(kind[1:]) if kind.startswith("[") else _structure(kind)

    def write(out: list[str], value: Any) -> None:
        out.append(opening)
        write_inside(out, value)
        out.append(closing)

    return write


def _items(kind: str) -> Writer:
    write_item = _element("item", kind)

    def write(out: list[str], value: list[Any]) -> None:
        for item in value:
            write_item(out, item)

    return write
