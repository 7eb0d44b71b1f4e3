"""An EC2 request's flat parameters, as the nested members that the service model names.

    parse("RunInstances", {"MinCount": "1", "TagSpecification.1.Tag.2.Key": "a", ...})
        -> {"MinCount": 1, "TagSpecifications": [{"Tags": [{"Key": "a"}]}], ...}

Strict: what the model does not name is refused, so a misspelt parameter cannot be silently ignored, and no
handler ever sees a value of another type than the model's. Instants are microseconds, blobs are bytes.
Old clients are understood where it is unambiguous: a scalar may be sent as `Name.1` (boto 2).

Every action's parameters are compiled once, at its first call, into nested tables.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from holdfast.api.ec2 import model
from holdfast.base.clock import parse_iso
from holdfast.base.errors import BadInput
from holdfast.base.limits import EC2_LIST_ITEMS

# About the request, not of the action: the envelope and the signatures' parameters (versions 2 and 4).
_ENVELOPE = frozenset(
    {
        "Action",
        "Version",
        "AWSAccessKeyId",
        "Expires",
        "SecurityToken",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "Timestamp",
    }
)
_VERSION = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")
_INDEX = re.compile(r"[1-9][0-9]{0,3}")
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Structure:
    fields: dict[str, _Field]  # by wire name
    required: tuple[tuple[str, str], ...]  # (member, wire name)


@dataclass(frozen=True, slots=True)
class _Field:
    member: str
    is_list: bool
    convert: Callable[[str], object] | None  # None: a structure
    below: _Structure


def parse(action: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return the action's members; raises BadInput with EC2's own codes."""
    plan = _plan(model.load().action(action).input)
    request: dict[Any, Any] = {}
    filled = _Filled(lists=[], structures=[(request, plan, "")])
    for key, text in params.items():
        if key not in _ENVELOPE and not key.startswith("X-Amz-"):
            _place(request, plan, key, text, filled)
    for holder, member in filled.lists:
        holder[member] = [item for _, item in sorted(holder[member].items())]
    for structure, its_plan, prefix in filled.structures:
        for member, wire in its_plan.required:
            if member not in structure:
                raise BadInput(f"The request must contain the parameter {prefix}{wire}", code="MissingParameter")
    return request


def api_version(params: Mapping[str, str]) -> str:
    """The API version that the client speaks, which its answer's namespace must name; ours where it names none."""
    version = params.get("Version", model.load().version)
    if _VERSION.fullmatch(version) is None:
        raise BadInput(f"The requested version ({version[:64]}) is not valid.", code="NoSuchVersion")
    return version


@dataclass(frozen=True, slots=True)
class _Filled:
    """What one parse has begun: lists, still tables by index, and structures, not yet checked."""

    lists: list[tuple[dict[Any, Any], str]]
    structures: list[tuple[dict[Any, Any], _Structure, str]]


def _place(here: dict[Any, Any], plan: _Structure, key: str, text: str, filled: _Filled) -> None:
    """Put one parameter where it belongs: down from structure to structure, one word of the key at a time."""
    words = key.split(".")
    at = 0
    while at < len(words) and (field := plan.fields.get(words[at])) is not None:
        slot: str | int = field.member
        at += 1
        if field.is_list:
            here, slot = _list_slot(here, field.member, words[at : at + 1], key, filled)
            at += 1
        if field.convert is not None:
            if at < len(words) and (words[at:] != ["1"] or field.is_list):
                break
            _put_scalar(here, slot, field.convert, key, text)
            return
        plan = field.below
        if slot not in here:
            here[slot] = {}
            if plan.required:
                filled.structures.append((here[slot], plan, ".".join(words[:at]) + "."))
        here = here[slot]
    raise BadInput(f"The parameter {key[:128]} is not recognized", code="UnknownParameter")


def _list_slot(
    here: dict[Any, Any], member: str, word: list[str], key: str, filled: _Filled
) -> tuple[dict[Any, Any], int]:
    """The list's table and the index in it; clients count from 1 and may leave gaps, which close up."""
    if not word or _INDEX.fullmatch(word[0]) is None or int(word[0]) > EC2_LIST_ITEMS:
        raise BadInput(
            f"The parameter {key[:128]} needs a number from 1 to {EC2_LIST_ITEMS} after the list's name",
            code="InvalidParameterValue",
        )
    if member not in here:
        here[member] = {}
        filled.lists.append((here, member))
    return here[member], int(word[0])


def _put_scalar(here: dict[Any, Any], slot: str | int, convert: Callable[[str], object], key: str, text: str) -> None:
    if slot in here:
        raise BadInput(f"The parameter {key[:128]} may only be specified once.", code="InvalidParameterCombination")
    try:
        here[slot] = convert(text)
    except (ValueError, OverflowError) as err:
        raise BadInput(
            f"Value ({text[:64]}) for parameter {key[:128]} is invalid. {err.args[0]}", code="InvalidParameterValue"
        ) from err


def _string(text: str) -> str:
    if _NOT_IN_XML.search(text):
        raise ValueError("Control characters are not allowed.")
    return text


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None or not -(1 << 31) <= int(text) < 1 << 31:
        raise ValueError("A 32-bit integer is expected.")
    return int(text)


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in ("true", "false"):
        raise ValueError("true or false is expected.")
    return word == "true"


def _timestamp(text: str) -> int:
    try:
        return parse_iso(text)
    except ValueError as err:
        raise ValueError("An instant such as 2026-11-21T03:20:00Z is expected.") from err


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as err:
        raise ValueError("Base64 text is expected.") from err


_CONVERT: dict[str, Callable[[str], object]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}
_NO_FIELDS = _Structure({}, ())


@cache
def _plan(structure: str) -> _Structure:
    """Compile one structure of the model; structures that many actions use are compiled once."""
    members = model.load().input[structure]
    return _Structure(
        fields={member.wire: _field(member) for member in members},
        required=tuple((member.name, member.wire) for member in members if member.required),
    )


def _field(member: model.Member) -> _Field:
    item = member.type.removeprefix("[")
    convert = _CONVERT.get(item)
    return _Field(member.name, item != member.type, convert, _NO_FIELDS if convert else _plan(item))
