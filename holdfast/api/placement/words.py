"""The words: resource classes and traits. Both are fixed: what the scheduler counts, and what is known of a host."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import SERVICE
from holdfast.api.http.routes import Route
from holdfast.api.placement.asked import query_known, shown
from holdfast.api.placement.inventory import CLASSES, TRAITS, providers
from holdfast.base.errors import BadInput, NotFound

_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def _class(name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": f"/placement/resource_classes/{name}"}]}


def classes_index(call: Call) -> Reply:
    """GET resource_classes"""
    return shown(call, {"resource_classes": [_class(name) for name in CLASSES]})


def class_show(call: Call) -> Reply:
    """GET resource_classes/NAME"""
    name = call.parameters["class_name"]
    if name not in CLASSES:
        raise NotFound(f"No such resource class: {name[:64]}")
    return shown(call, _class(name))


def traits_index(call: Call) -> Reply:
    """GET traits, by name=in:A,B or name=startswith:A, and associated=true."""
    query_known(call, {"name": 6, "associated": 6})
    found = list(TRAITS)
    if text := call.argument("name"):
        how, _, words = text.partition(":")
        if how not in ("in", "startswith"):
            raise BadInput("Badly formatted name parameter. Expected name=in:A,B or name=startswith:A.")
        names = tuple(words.split(","))
        found = [trait for trait in found if (trait in names if how == "in" else trait.startswith(words))]
    if text := call.argument("associated").lower():
        if text not in _FLAGS:
            raise BadInput("The query parameter 'associated' only accepts 'true' or 'false'")
        rows = call.services.store.read(lambda tx: providers(tx, call.services.settings))
        somewhere = {trait for one in rows for trait in one.traits}
        found = [trait for trait in found if (trait in somewhere) is _FLAGS[text]]
    return shown(call, {"traits": found})


def trait_show(call: Call) -> Reply:
    """GET traits/NAME: 204 when there is such a trait."""
    name = call.parameters["trait_name"]
    if name not in TRAITS:
        raise NotFound(f"No such trait(s): {name[:64]}.")
    return Reply(204, headers=shown(call, None).headers)


ROUTES = (
    Route("GET", "/resource_classes", classes_index, "placement:resource_classes:list", since=2),
    Route("GET", "/resource_classes/{class_name}", class_show, "placement:resource_classes:show", since=2),
    Route("GET", "/traits", traits_index, "placement:traits:list", since=6),
    Route("GET", "/traits/{trait_name}", trait_show, "placement:traits:show", since=6),
)
RULES = {route.rule: SERVICE for route in ROUTES}
