"""Resource providers: the hosts."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import SERVICE
from holdfast.api.http.routes import Route
from holdfast.api.placement.asked import amounts, identity, query_known, shown, wish
from holdfast.api.placement.inventory import Provider, provider_of, providers, resources
from holdfast.base.errors import NotFound

_LIST_KEYS: Final = {"name": 0, "uuid": 0, "member_of": 3, "resources": 4, "in_tree": 14, "required": 18}
_LINKS: Final = (("inventories", 0), ("usages", 0), ("aggregates", 1), ("traits", 6), ("allocations", 11))
_NESTED, _AGGREGATES_NUMBERED = 14, 19


def _provider(call: Call, one: Provider) -> dict[str, Any]:
    path = f"/placement/resource_providers/{one.id}"
    links = [{"rel": "self", "href": path}]
    links += [{"rel": name, "href": f"{path}/{name}"} for name, since in _LINKS if call.version >= since]
    view = {"uuid": one.id, "name": one.room.host.name, "generation": one.generation, "links": links}
    if call.version >= _NESTED:
        view |= {"parent_provider_uuid": None, "root_provider_uuid": one.id}
    return view


def providers_index(call: Call) -> Reply:
    """GET resource_providers: those that every filter fits."""
    query_known(call, _LIST_KEYS)
    wished, wanted = wish(call), amounts(call)
    exact = [identity(found, key) for key in ("uuid", "in_tree") for found in call.arguments(key)]
    names = call.arguments("name")
    found = [
        one
        for one in call.services.store.read(lambda tx: providers(tx, call.services.settings))
        if all(one.id == i for i in exact) and all(one.room.host.name == n for n in names) and wished.fits(one)
    ]
    return shown(call, {"resource_providers": [_provider(call, one) for one in found if _has_room(one, wanted)]})


def _has_room(one: Provider, wanted: dict[str, int]) -> bool:
    used = one.used
    return all(name in used and used[name] + amount <= one.capacity(name) for name, amount in wanted.items())


def provider_show(call: Call) -> Reply:
    """GET resource_providers/ID"""
    return shown(call, _provider(call, provider_of(call)))


def inventories_index(call: Call) -> Reply:
    """GET resource_providers/ID/inventories"""
    one = provider_of(call)
    return shown(call, {"resource_provider_generation": one.generation, "inventories": one.inventories})


def inventory_show(call: Call) -> Reply:
    """GET resource_providers/ID/inventories/CLASS"""
    one, name = provider_of(call), call.parameters["class_name"]
    if name not in one.inventories:
        raise NotFound(f"No inventory of class {name[:64]} for {one.id}")
    return shown(call, {"resource_provider_generation": one.generation, **one.inventories[name]})


def usages_show(call: Call) -> Reply:
    """GET resource_providers/ID/usages"""
    one = provider_of(call)
    return shown(call, {"resource_provider_generation": one.generation, "usages": one.used})


def aggregates_index(call: Call) -> Reply:
    """GET resource_providers/ID/aggregates: there are none."""
    one = provider_of(call)
    body: dict[str, Any] = {"aggregates": []}
    if call.version >= _AGGREGATES_NUMBERED:
        body["resource_provider_generation"] = one.generation
    return shown(call, body)


def provider_traits_index(call: Call) -> Reply:
    """GET resource_providers/ID/traits"""
    one = provider_of(call)
    return shown(call, {"resource_provider_generation": one.generation, "traits": one.traits})


def provider_allocations_index(call: Call) -> Reply:
    """GET resource_providers/ID/allocations: servers, volumes and snapshots."""
    one = provider_of(call)
    held = {consumer.id: {"resources": resources(consumer)} for consumer in one.consumers}
    return shown(call, {"resource_provider_generation": one.generation, "allocations": held})


_RULE: Final = "placement:resource_providers"
_ONE: Final = "/resource_providers/{provider_id}"
ROUTES = (
    Route("GET", "/resource_providers", providers_index, f"{_RULE}:list"),
    Route("GET", _ONE, provider_show, f"{_RULE}:show"),
    Route("GET", f"{_ONE}/inventories", inventories_index, f"{_RULE}:inventories:list"),
    Route("GET", f"{_ONE}/inventories/{{class_name}}", inventory_show, f"{_RULE}:inventories:show"),
    Route("GET", f"{_ONE}/usages", usages_show, f"{_RULE}:usages"),
    Route("GET", f"{_ONE}/aggregates", aggregates_index, f"{_RULE}:aggregates:list", since=1),
    Route("GET", f"{_ONE}/traits", provider_traits_index, f"{_RULE}:traits:list", since=6),
    Route("GET", f"{_ONE}/allocations", provider_allocations_index, f"{_RULE}:allocations:list"),
)
RULES = {route.rule: SERVICE for route in ROUTES}
