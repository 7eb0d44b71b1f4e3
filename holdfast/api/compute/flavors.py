"""Nova's flavors: list, show, create, describe, delete.

A private flavor is there for administrators and for the projects that have access; for everybody else it is
not found, never forbidden.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from holdfast.api.compute import requests
from holdfast.api.compute.requests import boolean, integer, printable, query_known
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import ANY_TOKEN, Route
from holdfast.base import ids
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import DESCRIPTION_CHARS
from holdfast.control.operations.flavor import flavor_add, flavor_visible
from holdfast.control.store.database import Tx
from holdfast.control.store.flavor import flavor_delete, flavor_fetch, flavor_update, flavors_list
from holdfast.domain.instance import Flavor

_SORT_KEYS: Final = {
    "created_at": "created_us",
    "updated_at": "created_us",
    "id": "created_us",
    "description": "description",
    "disabled": "disabled",
    "ephemeral_gb": "ephemeral_gib",
    "flavorid": "id",
    "is_public": "is_public",
    "memory_mb": "memory_mib",
    "name": "name",
    "root_gb": "disk_gib",
    "rxtx_factor": "created_us",
    "swap": "swap_mib",
    "vcpu_weight": "created_us",
    "vcpus": "vcpus",
}
_QUERY: Final = ("limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir")


def _identifier(field: str, value: Any) -> str:
    """An id as the caller chose it: text, a number, or none for one of ours."""
    if value is None or value == "auto":
        return ids.new_id()
    if type(value) in (int, float):
        value = str(value)
    found: str = requests.text(1, pattern=r"(?! )[a-zA-Z0-9. _-]+(?<! )")(field, value)
    return found


def _rxtx(field: str, value: Any) -> float:
    """Nova's bandwidth factor, which nothing here would honour: only 1 is taken."""
    if isinstance(value, int | float | str) and str(value) in ("1", "1.0"):
        return 1.0
    requests.refuse(field, value, "This cloud does not shape bandwidth by flavor; leave it out or give 1.0")


_CREATE: Final = {
    "name": requests.name,
    "id": _identifier,
    "ram": integer(1),
    "vcpus": integer(1),
    "disk": integer(0),
    "OS-FLV-EXT-DATA:ephemeral": integer(0),
    "swap": integer(0),
    "rxtx_factor": _rxtx,
    "os-flavor-access:is_public": boolean,
}
_DESCRIPTION: Final = {"description": printable(DESCRIPTION_CHARS)}


def flavor_view(call: Call, row: Flavor, brief: bool = False) -> dict[str, Any]:
    """A flavor as the caller's version shows it."""
    shown: dict[str, Any] = {"id": row.id, "name": row.name, "links": requests.links(call, "flavors", row.id)}
    if call.version >= 55:
        shown["description"] = row.description or None
    if brief:
        return shown
    shown |= {
        "ram": row.memory_mib,
        "disk": row.disk_gib,
        "swap": row.swap_mib or (0 if call.version >= 75 else ""),
        "OS-FLV-EXT-DATA:ephemeral": row.ephemeral_gib,
        "OS-FLV-DISABLED:disabled": row.disabled,
        "vcpus": row.vcpus,
        "os-flavor-access:is_public": row.is_public,
        "rxtx_factor": 1.0,
    }
    if call.version >= 61 and call.may("os_compute_api:os-flavor-extra-specs:index"):
        shown["extra_specs"] = row.extra_specs
    return shown


def flavor_seen(tx: Tx, call: Call, flavor_id: str) -> Flavor:
    """The flavor, if the caller may see it."""
    return flavor_visible(tx, flavor_id, call.credentials.project_id, call.credentials.is_admin)


def flavors_index(call: Call) -> Reply:
    """GET flavors."""
    return _listed(call, "flavors", brief=True)


def flavors_detail(call: Call) -> Reply:
    """GET flavors/detail."""
    return _listed(call, "flavors/detail", brief=False)


def _listed(call: Call, collection: str, brief: bool) -> Reply:
    query_known(call, _QUERY)
    rows = call.services.store.read(lambda tx: _chosen(tx, call))
    page = _page(call, rows)
    body: dict[str, Any] = {"flavors": [flavor_view(call, row, brief) for row in page]}
    if page and (following := requests.next_links(call, collection, len(page), page[-1].id)):
        body["flavors_links"] = following
    return Reply(200, body)


def _chosen(tx: Tx, call: Call) -> list[Flavor]:
    """Those the caller may see and asked for."""
    public: bool | None = True
    if call.credentials.is_admin:
        public = _is_public(call)
    rows = flavors_list(tx, call.credentials.project_id if public else None)
    if public is False:
        rows = [row for row in rows if not row.is_public]
    if not call.credentials.is_admin:
        rows = [row for row in rows if not row.disabled]
    least_ram, least_disk = _least(call, "minRam"), _least(call, "minDisk")
    return [row for row in rows if row.memory_mib >= least_ram and row.disk_gib >= least_disk]


def _is_public(call: Call) -> bool | None:
    asked = call.argument("is_public", "True")
    if asked.lower() == "none":
        return None
    try:
        return boolean("is_public", asked.lower())
    except BadInput as err:
        raise BadInput(f"Invalid is_public filter [{asked[:40]}]") from err


def _least(call: Call, argument: str) -> int:
    asked = call.argument(argument, "0")
    if not re.fullmatch("-?[0-9]{1,18}", asked):
        raise BadInput(f"Invalid {argument} filter [{asked[:40]}]")
    return int(asked)


def _page(call: Call, rows: Sequence[Flavor]) -> list[Flavor]:
    key, direction = call.argument("sort_key") or "flavorid", call.argument("sort_dir") or "asc"
    if key not in _SORT_KEYS:
        raise BadInput(f"Invalid input for query parameters sort_key. Value: {key[:40]}. It is not a key to sort by.")
    if direction not in ("asc", "desc"):
        raise BadInput(f"Invalid input for query parameters sort_dir. Value: {direction[:40]}. Use asc or desc.")
    column = _SORT_KEYS[key]
    ordered = sorted(rows, key=lambda row: (getattr(row, column), row.id), reverse=direction == "desc")
    marker, start = call.argument("marker"), 0
    if marker:
        places = [place for place, row in enumerate(ordered) if row.id == marker]
        if not places:
            raise BadInput(f"marker [{marker[:80]}] not found")
        start = places[0] + 1
    return ordered[start : start + requests.page_limit(call)]


def flavor_show(call: Call) -> Reply:
    """GET flavors/ID."""
    row = call.services.store.read(lambda tx: flavor_seen(tx, call, call.parameters["flavor_id"]))
    return Reply(200, {"flavor": flavor_view(call, row)})


def flavor_create(call: Call) -> Reply:
    """POST flavors. 200, as Nova."""
    checks = {**_CREATE, **_DESCRIPTION} if call.version >= 55 else _CREATE
    wanted = requests.body_of(call, "flavor", checks, ("name", "ram", "vcpus", "disk"))

    def change(tx: Tx) -> Reply:
        row = Flavor(
            id=wanted.get("id") or ids.new_id(),
            name=wanted["name"],
            vcpus=wanted["vcpus"],
            memory_mib=wanted["ram"],
            disk_gib=wanted["disk"],
            ephemeral_gib=wanted.get("OS-FLV-EXT-DATA:ephemeral", 0),
            swap_mib=wanted.get("swap", 0),
            is_public=wanted.get("os-flavor-access:is_public", True),
            description=wanted.get("description", ""),
            created_us=tx.now_us,
        )
        flavor_add(tx, row)
        return Reply(200, {"flavor": flavor_view(call, row)})

    return write_once(call, change)


def flavor_describe(call: Call) -> Reply:
    """PUT flavors/ID: the description is all that may change."""
    description = requests.body_of(call, "flavor", _DESCRIPTION, ("description",))["description"]

    def change(tx: Tx) -> Reply:
        row = flavor_seen(tx, call, call.parameters["flavor_id"])
        flavor_update(tx, row.id, description=description)
        return Reply(200, {"flavor": flavor_view(call, msgspec.structs.replace(row, description=description))})

    return call.services.store.write(change)


def flavor_remove(call: Call) -> Reply:
    """DELETE flavors/ID. 202, as Nova; servers keep their own copy."""

    def change(tx: Tx) -> Reply:
        flavor_id = call.parameters["flavor_id"]
        if flavor_fetch(tx, flavor_id) is None:
            raise NotFound(f"Flavor {flavor_id} could not be found.")
        flavor_delete(tx, flavor_id)
        return Reply(202)

    return call.services.store.write(change)


RULES = {
    "os_compute_api:os-flavor-manage:create": ADMIN,
    "os_compute_api:os-flavor-manage:update": ADMIN,
    "os_compute_api:os-flavor-manage:delete": ADMIN,
    "os_compute_api:os-flavor-extra-specs:index": READER,
}
ROUTES = (
    Route("GET", "/v2.1/flavors", flavors_index, ANY_TOKEN),
    Route("GET", "/v2.1/flavors/detail", flavors_detail, ANY_TOKEN),
    Route("GET", "/v2.1/flavors/{flavor_id}", flavor_show, ANY_TOKEN),
    Route("POST", "/v2.1/flavors", flavor_create, "os_compute_api:os-flavor-manage:create"),
    Route("PUT", "/v2.1/flavors/{flavor_id}", flavor_describe, "os_compute_api:os-flavor-manage:update", since=55),
    Route("DELETE", "/v2.1/flavors/{flavor_id}", flavor_remove, "os_compute_api:os-flavor-manage:delete"),
)
