"""Allocations by their consumer, and what a project holds in all."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import READER, SERVICE
from holdfast.api.http.routes import Route
from holdfast.api.placement.asked import query_known, shown
from holdfast.api.placement.inventory import provider, resources, summed
from holdfast.base.errors import BadInput
from holdfast.control.store.database import Tx
from holdfast.control.store.placement.consumer import consumer_fetch, consumers_of_project

_OWNED: Final = 12


def allocations_show(call: Call) -> Reply:
    """GET allocations/ID of a server, volume or snapshot; one that holds nothing, or is not there, holds nothing."""
    asked = call.parameters["consumer_id"]

    def read(tx: Tx) -> dict[str, Any]:
        found = consumer_fetch(tx, asked)
        if found is None:
            return {"allocations": {}}
        where = provider(tx, call.services.settings, found.host_id)
        held = {where.id: {"generation": where.generation, "resources": resources(found)}}
        if call.version < _OWNED:
            return {"allocations": held}
        return {"allocations": held, "project_id": found.project_id, "user_id": found.user_id}

    return shown(call, call.services.store.read(read))


def usages_index(call: Call) -> Reply:
    """GET usages?project_id=ID[&user_id=ID]: one's own project's, or any for an administrator."""
    query_known(call, {"project_id": 9, "user_id": 9})
    project_id, user_id = call.argument("project_id"), call.argument("user_id")
    if not project_id:
        raise BadInput("Invalid query string parameters: 'project_id' is a required property")
    call.authorise("placement:usages", {"project_id": project_id})
    found = call.services.store.read(lambda tx: consumers_of_project(tx, project_id, user_id))
    return shown(call, {"usages": {name: amount for name, amount in summed(found).items() if amount}})


ROUTES = (
    Route("GET", "/allocations/{consumer_id}", allocations_show, "placement:allocations:list"),
    Route("GET", "/usages", usages_index, "placement:usages", since=9),
)
RULES = {"placement:allocations:list": SERVICE, "placement:usages": READER}
