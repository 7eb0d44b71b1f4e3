"""Allocation candidates: where the scheduler would put such a server now, best first. It claims nothing."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import SERVICE
from holdfast.api.http.routes import Route
from holdfast.api.placement.asked import amounts, query_known, shown, wish
from holdfast.api.placement.inventory import Provider, providers
from holdfast.base.errors import BadInput
from holdfast.control.scheduler.place import Request, fitting

_KEYS: Final = {"resources": 10, "limit": 16, "required": 17, "member_of": 21}
_DICTS, _TRAITS = 12, 17


def candidates_index(call: Call) -> Reply:
    """GET allocation_candidates?resources=VCPU:1,MEMORY_MB:64,DISK_GB:1"""
    query_known(call, _KEYS)
    wanted, wished, limit = amounts(call), wish(call), call.argument("limit")
    if not wanted:
        raise BadInput("Invalid query string parameters: 'resources' is a required property")
    if limit and (not limit.isdecimal() or int(limit) < 1):
        raise BadInput("Invalid query string parameters: limit must be a positive integer")
    request = Request("", wanted.get("VCPU", 0), wanted.get("MEMORY_MB", 0), wanted.get("DISK_GB", 0), "")
    known = call.services.store.read(lambda tx: providers(tx, call.services.settings))
    by_id = {one.id: one for one in known if wished.fits(one)}
    found = [by_id[room.host.id] for room in fitting(request, [one.room for one in by_id.values()])]
    if limit:
        found = found[: int(limit)]
    return shown(
        call,
        {
            "allocation_requests": [_request(call, one, wanted) for one in found],
            "provider_summaries": {one.id: _summary(call, one, wanted) for one in found},
        },
    )


def _request(call: Call, one: Provider, wanted: dict[str, int]) -> dict[str, Any]:
    if call.version >= _DICTS:
        return {"allocations": {one.id: {"resources": wanted}}}
    return {"allocations": [{"resource_provider": {"uuid": one.id}, "resources": wanted}]}


def _summary(call: Call, one: Provider, wanted: dict[str, int]) -> dict[str, Any]:
    used = one.used
    view: dict[str, Any] = {
        "resources": {name: {"capacity": one.capacity(name), "used": used[name]} for name in wanted}
    }
    if call.version >= _TRAITS:
        view["traits"] = one.traits
    return view


ROUTES = (Route("GET", "/allocation_candidates", candidates_index, "placement:allocation_candidates:list", since=10),)
RULES = {route.rule: SERVICE for route in ROUTES}
