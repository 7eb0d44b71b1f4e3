"""A list's query string, read into a Listing, and the links of its pages.

Invariant: a word that is not understood is refused, never ignored: a filter that is ignored answers with
everything, and a client that deletes what it found would delete everything.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from holdfast.api.http.call import Call
from holdfast.api.network.attributes import require
from holdfast.base.errors import BadInput
from holdfast.base.limits import PAGE_ROWS
from holdfast.control.store.network.query import Listing

# what is not shown is not asked for either: a filter would tell it bit by bit
_HIDDEN = {
    "provider:network_type": "get_network:provider:network_type",
    "provider:physical_network": "get_network:provider:network_type",
    "provider:segmentation_id": "get_network:provider:network_type",
    "binding:host_id": "get_port:binding:host_id",
}
_PAGE_WORDS = ("limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields")


def listing_of(call: Call) -> Listing:
    """The list that the query string asks for."""
    filters: dict[str, list[str]] = {}
    for name in (*(name for name, _ in call.query), *call.arguments("sort_key")):
        if name in _HIDDEN:
            require(call, _HIDDEN[name])
    for name, value in call.query:
        if "\0" in name or "\0" in value:
            raise BadInput("a query argument has a NUL character", code="HTTPBadRequest")
        if name not in _PAGE_WORDS:
            filters.setdefault(name, []).append(value)
    return Listing(
        filters=tuple((name, tuple(values)) for name, values in filters.items()),
        sort=_sort(call),
        limit=_limit(call.argument("limit")),
        marker=call.argument("marker"),
        reverse=call.argument("page_reverse").lower() in ("true", "1"),
    )


def _sort(call: Call) -> tuple[tuple[str, bool], ...]:
    keys, directions = call.arguments("sort_key"), call.arguments("sort_dir")
    if len(directions) > len(keys) and keys:
        raise BadInput("The number of sort_keys and sort_dirs must be same", code="HTTPBadRequest")
    if any(direction not in ("asc", "desc") for direction in directions):
        raise BadInput("Invalid value for sort_dir: it is asc or desc", code="HTTPBadRequest")
    directions += ["asc"] * (len(keys) - len(directions))
    return tuple((key, direction == "desc") for key, direction in zip(keys, directions, strict=False))


def _limit(text: str) -> int:
    if text and not text.isdigit():
        raise BadInput(f"Invalid input for limit. '{text[:32]}' is not a number of rows", code="HTTPBadRequest")
    return min(int(text[:9]), PAGE_ROWS) if text else 0


def selected(call: Call, shown: dict[str, Any]) -> dict[str, Any]:
    """What `fields` asks for, or everything."""
    fields = [name for value in call.arguments("fields") for name in value.split(",") if name]
    return {name: value for name, value in shown.items() if name in fields} if fields else shown


def links(call: Call, plural: str, listing: Listing, ids: list[str]) -> dict[str, Any]:
    """`networks_links` of a page: what comes after it and, where a page was asked for, what came before."""
    size = listing.limit or PAGE_ROWS
    full = len(ids) >= size
    found = []
    if ids and (full or listing.reverse):
        found.append({"rel": "next", "href": _href(call, size, ids[-1], reverse=False)})
    if ids and listing.marker and (full or not listing.reverse):
        found.append({"rel": "previous", "href": _href(call, size, ids[0], reverse=True)})
    return {f"{plural}_links": found} if found else {}


def _href(call: Call, limit: int, marker: str, reverse: bool) -> str:
    kept = [(name, value) for name, value in call.query if name not in ("limit", "marker", "page_reverse")]
    query = [*kept, ("limit", str(limit)), ("marker", marker), *([("page_reverse", "True")] if reverse else [])]
    return f"{call.services.settings.endpoint}/network{call.path}?{urlencode(query)}"
