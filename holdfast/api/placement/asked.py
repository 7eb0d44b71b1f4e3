"""What queries of Placement's lists say, checked strictly: a filter that is not understood is an error, never ignored,
for whoever reads the answer would take it for a filtered one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from holdfast.api.http.call import Call, Reply
from holdfast.api.placement.inventory import CLASSES, TRAITS, Provider
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput
from holdfast.base.ids import is_id

_ECHO_CHARS = 64
_CACHE_SINCE, _FORBIDDEN_SINCE, _SEVERAL_SINCE = 15, 22, 24


def query_known(call: Call, known: Mapping[str, int]) -> None:
    """Raise BadInput for a key that this version has not; `known` says since when each is there."""
    for key, _ in call.query:
        if known.get(key, call.version + 1) > call.version:
            raise BadInput(
                f"Invalid query string parameters: '{key[:_ECHO_CHARS]}' is not one of them in version 1.{call.version}"
            )


def amounts(call: Call) -> dict[str, int]:
    """`resources=VCPU:1,DISK_GB:2`; empty when it was not asked for."""
    text = call.argument("resources")
    found: dict[str, int] = {}
    for part in text.split(",") if text or call.arguments("resources") else ():
        name, _, number = part.partition(":")
        if not number.isdecimal() or len(number) > 9 or int(number) < 1:
            raise BadInput(f"Badly formed resources parameter. Expected CLASS:AMOUNT, got {part[:_ECHO_CHARS]!r}")
        if name not in CLASSES:
            raise BadInput(f"Invalid resource class in resources parameter: {name[:_ECHO_CHARS]}")
        if name in found:
            raise BadInput(f"Badly formed resources parameter: {name} is there twice")
        found[name] = int(number)
    return found


@dataclass(frozen=True, slots=True)
class Wish:
    """Conditions on a provider that both lists share."""

    required: frozenset[str]
    forbidden: frozenset[str]
    in_no_aggregate: bool  # every provider is in no aggregate: what asks for one finds nothing

    def fits(self, provider: Provider) -> bool:
        traits = set(provider.traits)
        return not self.in_no_aggregate and self.required <= traits and not self.forbidden & traits


def wish(call: Call) -> Wish:
    """`required=A,!B` and `member_of=ID`, as this version reads them."""
    words = [word for text in call.arguments("required") for word in text.split(",")]
    forbidden = [word[1:] for word in words if word.startswith("!") and call.version >= _FORBIDDEN_SINCE]
    required = [word for word in words if not (word.startswith("!") and call.version >= _FORBIDDEN_SINCE)]
    if unknown := [word for word in required + forbidden if word not in TRAITS]:
        raise BadInput(f"No such trait(s): {', '.join(word[:_ECHO_CHARS] or repr('') for word in unknown)}.")
    groups = call.arguments("member_of")
    if len(groups) > 1 and call.version < _SEVERAL_SINCE:
        raise BadInput("Multiple member_of parameters are not supported")
    for group in groups:
        for one in group.removeprefix("in:").split(","):
            identity(one, "member_of")
    return Wish(frozenset(required), frozenset(forbidden), bool(groups))


def identity(text: str, what: str) -> str:
    """The text if it is an id."""
    if not is_id(text):
        raise BadInput(f"Invalid {what}: expected a UUID, got {text[:_ECHO_CHARS]!r}")
    return text


def shown(call: Call, body: object) -> Reply:
    """An answer, which since 1.15 says of when it is and that it is not to be kept."""
    if call.version < _CACHE_SINCE:
        return Reply(200, body)
    now_s = call.services.clock.now_us() // SECOND_US
    return Reply(200, body, {"last-modified": formatdate(now_s, usegmt=True), "cache-control": "no-cache"})
