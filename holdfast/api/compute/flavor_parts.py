"""What hangs on a flavor: its extra specs, and the projects that may use a private one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.compute.flavors import flavor_seen
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import ANY_TOKEN, Route
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.base.limits import METADATA_ITEMS
from holdfast.control.store.database import Tx
from holdfast.control.store.flavor import flavor_allow, flavor_deny, flavor_projects, flavor_update
from holdfast.control.store.identity.identity import project_fetch

_SPECS: Final = "os_compute_api:os-flavor-extra-specs"
_ACCESS: Final = "os_compute_api:os-flavor-access"
_spec_name = requests.text(1, pattern=r"[\w.\- :]+")


def _spec_value(field: str, value: Any) -> str:
    if type(value) in (int, float):
        value = str(value)
    found: str = requests.text()(field, value)
    if not found.isprintable():
        requests.refuse(field, value, "It has characters that cannot be printed")
    return found


def _specs(field: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        requests.refuse(field, value, f"{value!r} is not of type 'object'")
    return {_spec_name("extra_specs", name): _spec_value(name, given) for name, given in value.items()}


def specs_index(call: Call) -> Reply:
    """GET os-extra_specs."""
    row = call.services.store.read(lambda tx: flavor_seen(tx, call, call.parameters["flavor_id"]))
    return Reply(200, {"extra_specs": row.extra_specs})


def spec_show(call: Call) -> Reply:
    """GET os-extra_specs/KEY."""
    row = call.services.store.read(lambda tx: flavor_seen(tx, call, call.parameters["flavor_id"]))
    key = call.parameters["key"]
    if key not in row.extra_specs:
        raise NotFound(f"Flavor {row.id} has no extra specs with key {key}.")
    return Reply(200, {key: row.extra_specs[key]})


def specs_create(call: Call) -> Reply:
    """POST os-extra_specs: adds these to those that it has."""
    return _merged(call, _specs("extra_specs", requests.wrapped(call, "extra_specs")), "extra_specs")


def spec_update(call: Call) -> Reply:
    """PUT os-extra_specs/KEY."""
    specs = _specs("extra_specs", call.json())
    if list(specs) != [call.parameters["key"]]:
        raise BadInput("Request body and URI mismatch")
    return _merged(call, specs, "")


def _merged(call: Call, specs: dict[str, str], wrapper: str) -> Reply:
    def change(tx: Tx) -> Reply:
        row = flavor_seen(tx, call, call.parameters["flavor_id"])
        merged = {**row.extra_specs, **specs}
        if len(merged) > METADATA_ITEMS:
            raise BadInput(f"a flavor has at most {METADATA_ITEMS} extra specs")
        flavor_update(tx, row.id, extra_specs=merged)
        return Reply(200, {wrapper: specs} if wrapper else specs)

    return call.services.store.write(change)


def spec_remove(call: Call) -> Reply:
    """DELETE os-extra_specs/KEY. 200, as Nova."""

    def change(tx: Tx) -> Reply:
        row = flavor_seen(tx, call, call.parameters["flavor_id"])
        key = call.parameters["key"]
        if key not in row.extra_specs:
            raise NotFound(f"Flavor {row.id} has no extra specs with key {key}.")
        flavor_update(tx, row.id, extra_specs={k: v for k, v in row.extra_specs.items() if k != key})
        return Reply(200)

    return call.services.store.write(change)


def access_index(call: Call) -> Reply:
    """GET os-flavor-access: who may use a private flavor."""

    def read(tx: Tx) -> Reply:
        row = flavor_seen(tx, call, call.parameters["flavor_id"])
        if row.is_public:
            raise NotFound("Access list not available for public flavors.")
        return _access(tx, row.id)

    return call.services.store.read(read)


def flavor_action(call: Call) -> Reply:
    """POST flavors/ID/action: addTenantAccess or removeTenantAccess."""
    document = call.json()
    found = [verb for verb in _ACTIONS if verb in document]
    if len(document) != 1 or not found:
        raise BadInput("There is no such action: " + ", ".join(sorted(document))[:200])
    rule, act = _ACTIONS[found[0]]
    call.authorise(rule, {})
    project_id = requests.body_of(call, found[0], {"tenant": requests.text(1)}, ("tenant",))["tenant"]
    return call.services.store.write(lambda tx: act(tx, call, project_id))


def _allow(tx: Tx, call: Call, project_id: str) -> Reply:
    if project_fetch(tx, project_id) is None:
        raise BadInput(f"Project ID {project_id} is not a valid project.")
    row = flavor_seen(tx, call, call.parameters["flavor_id"])
    if row.is_public and call.version >= 7:
        raise Conflict("Can not add access to a public flavor.")
    if project_id in flavor_projects(tx, row.id):
        raise Conflict(f"Flavor access already exists for flavor {row.id} and project {project_id} combination.")
    flavor_allow(tx, row.id, project_id)
    return _access(tx, row.id)


def _deny(tx: Tx, call: Call, project_id: str) -> Reply:
    row = flavor_seen(tx, call, call.parameters["flavor_id"])
    if not flavor_deny(tx, row.id, project_id):
        raise NotFound(f"Flavor access not found for {row.id} / {project_id} combination.")
    return _access(tx, row.id)


def _access(tx: Tx, flavor_id: str) -> Reply:
    entries = [{"flavor_id": flavor_id, "tenant_id": project_id} for project_id in flavor_projects(tx, flavor_id)]
    return Reply(200, {"flavor_access": entries})


_ACTIONS: Final[dict[str, tuple[str, Callable[[Tx, Call, str], Reply]]]] = {
    "addTenantAccess": (f"{_ACCESS}:add_tenant_access", _allow),
    "removeTenantAccess": (f"{_ACCESS}:remove_tenant_access", _deny),
}
RULES = {
    f"{_SPECS}:index": READER,
    f"{_SPECS}:show": READER,
    f"{_SPECS}:create": ADMIN,
    f"{_SPECS}:update": ADMIN,
    f"{_SPECS}:delete": ADMIN,
    _ACCESS: ADMIN,
    f"{_ACCESS}:add_tenant_access": ADMIN,
    f"{_ACCESS}:remove_tenant_access": ADMIN,
}
_FLAVOR: Final = "/v2.1/flavors/{flavor_id}"
ROUTES = (
    Route("GET", f"{_FLAVOR}/os-extra_specs", specs_index, f"{_SPECS}:index"),
    Route("POST", f"{_FLAVOR}/os-extra_specs", specs_create, f"{_SPECS}:create"),
    Route("GET", f"{_FLAVOR}/os-extra_specs/{{key}}", spec_show, f"{_SPECS}:show"),
    Route("PUT", f"{_FLAVOR}/os-extra_specs/{{key}}", spec_update, f"{_SPECS}:update"),
    Route("DELETE", f"{_FLAVOR}/os-extra_specs/{{key}}", spec_remove, f"{_SPECS}:delete"),
    Route("GET", f"{_FLAVOR}/os-flavor-access", access_index, _ACCESS),
    Route("POST", f"{_FLAVOR}/action", flavor_action, ANY_TOKEN),
)
