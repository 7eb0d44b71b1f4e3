"""The query of an image list: Glance's filters, sorting and pages, read into an `ImageQuery`.

A name that Glance does not know is a property that the image must have, as Glance has it.
"""

from __future__ import annotations

import csv
from typing import Any, Final

from holdfast.api.http.call import Call
from holdfast.base.clock import SECOND_US, parse_iso
from holdfast.base.errors import BadInput
from holdfast.base.limits import IMAGE_PAGE_ROWS, PAGE_ROWS
from holdfast.control.store.image import TAG, ImageQuery
from holdfast.domain.image import MEMBER_STATUSES, VISIBILITIES

TEXT: Final = {
    "id": "id",
    "name": "name",
    "status": "status",
    "disk_format": "disk_format",
    "container_format": "container_format",
    "owner": "project_id",
    "checksum": "md5",
    "os_hash_value": "sha512",
}
LISTS: Final = {"id", "name", "status", "disk_format", "container_format"}  # where `in:a,b` is understood
NUMBERS: Final = {
    "size": ("size_bytes", "eq"),
    "size_min": ("size_bytes", "ge"),
    "size_max": ("size_bytes", "le"),
    "min_disk": ("min_disk_gib", "eq"),
    "min_ram": ("min_ram_mib", "eq"),
}
FLAGS: Final = {"protected": "protected", "os_hidden": "hidden"}
INSTANTS: Final = {"created_at": "created_us", "updated_at": "updated_us"}
OPERATORS: Final = {"eq": "eq", "neq": "ne", "lt": "lt", "lte": "le", "gt": "gt", "gte": "ge"}
SORT: Final = {
    **TEXT,
    **FLAGS,
    **INSTANTS,
    "size": "size_bytes",
    "min_disk": "min_disk_gib",
    "min_ram": "min_ram_mib",
    "visibility": "visibility",
}
PAGING: Final = {"limit", "marker", "sort", "sort_key", "sort_dir", "visibility", "member_status", "tag"}
YES: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def image_query(call: Call) -> ImageQuery:
    """Return what the caller asks for; BadInput for what Glance refuses."""
    conditions: list[tuple[str, str, Any]] = []
    words = [(TAG, tag) for tag in call.arguments("tag")]
    for name, value in call.query:
        if name in PAGING:
            continue
        if (condition := _condition(name, value)) is not None:
            conditions.append(condition)
        else:
            words.append((name, value))
    if not call.argument("os_hidden"):
        conditions.append(("hidden", "eq", False))
    return ImageQuery(
        visibility=_one_of(call, "visibility", (*VISIBILITIES, "all"), ""),
        member_status=_one_of(call, "member_status", (*MEMBER_STATUSES, "all"), "accepted"),
        conditions=tuple(conditions),
        sort=_sort(call),
        marker=call.argument("marker"),
        limit=_limit(call),
        words=tuple(words),
    )


def _condition(name: str, value: str) -> tuple[str, str, Any] | None:
    if name in TEXT:
        if name in LISTS and value.startswith("in:"):
            return TEXT[name], "in", next(csv.reader([value[3:]]), [])
        return TEXT[name], "eq", value
    if name in NUMBERS:
        return *NUMBERS[name], _number(name, value)
    if name in FLAGS:
        if value.lower() not in YES:
            raise BadInput(f"invalid value {value[:64]!r} for the filter {name}: true or false is needed")
        return FLAGS[name], "eq", YES[value.lower()]
    return _instant(name, value) if name in INSTANTS else None


def _instant(name: str, value: str) -> tuple[str, str, int]:
    """`created_at=gte:2026-11-21T00:00:00Z`; the wire has whole seconds, so equal means within that second."""
    word, colon, moment = value.partition(":")
    if not colon or word not in OPERATORS:
        word, moment = "eq", value
    try:
        at_us = parse_iso(moment)
    except ValueError as err:
        raise BadInput(f"invalid value {value[:64]!r} for the filter {name}: no ISO 8601 instant") from err
    late = word in ("gt", "lte")  # a row of the same second counts as equal
    return INSTANTS[name], OPERATORS[word], at_us + (SECOND_US - 1 if late else 0)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise BadInput(f"invalid value {value[:64]!r} for {name}: a number of at least 0 is needed")
    return int(value)


def _limit(call: Call) -> int:
    value = call.argument("limit")
    return min(_number("limit", value), PAGE_ROWS) if value else IMAGE_PAGE_ROWS


def _one_of(call: Call, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = call.argument(name, default)
    if value != default and value not in allowed:
        raise BadInput(f"invalid value {value[:64]!r} for {name}: one of {', '.join(allowed)} is needed")
    return value


def _sort(call: Call) -> tuple[tuple[str, bool], ...]:
    """`sort=name:asc,size:desc`, or `sort_key` and `sort_dir` repeated; never both."""
    keys, directions, sort = call.arguments("sort_key"), call.arguments("sort_dir"), call.argument("sort")
    if sort:
        if keys or directions:
            raise BadInput("Old and new sorting syntax cannot be combined")
        pairs = [
            (key.strip(), direction or "desc") for key, _, direction in (p.partition(":") for p in sort.split(","))
        ]
    else:
        keys = keys or ["created_at"]
        directions = directions or ["desc"]
        directions = directions * len(keys) if len(directions) == 1 else directions
        if len(directions) != len(keys):
            raise BadInput("Number of sort dirs does not match the number of sort keys")
        pairs = list(zip(keys, directions, strict=True))
    result: dict[str, bool] = {}
    for key, direction in pairs:
        if key not in SORT or direction not in ("asc", "desc"):
            raise BadInput(f"invalid sort {key[:64]!r} {direction[:8]!r}; keys are {', '.join(SORT)}")
        result[SORT[key]] = direction == "desc"
    return tuple(result.items())
