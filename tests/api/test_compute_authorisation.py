"""Every URL of these resources: nothing without a token, nothing of another project, nothing changed by the refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdfast.api.http.routes import ANY_TOKEN, PUBLIC, Route
from holdfast.base import ids
from holdfast.control.store.database import Tx
from holdfast.domain.instance import ServerGroup
from tests.api.nova_cloud import ROUTES, RULES, add_host, add_server, at, nova, ok
from tests.api.rows import everything
from tests.conftest import Cloud

__all__ = ["nova"]
BODIES: dict[str, Any] = {
    "flavor_create": {"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 0}},
    "flavor_describe": {"flavor": {"description": "x"}},
    "specs_create": {"extra_specs": {"a": "b"}},
    "spec_update": {"k": "b"},
    "flavor_action": {"addTenantAccess": {"tenant": "x"}},
    "group_create": {"server_group": {"name": "x", "policies": ["affinity"]}},
    "keypair_create": {"keypair": {"name": "x"}},
    "service_update": {"status": "disabled"},
    "service_act": {"host": "lab1", "binary": "nova-compute"},
    "quota_update": {"quota_set": {"cores": 1}},
    "class_update": {"quota_class_set": {"cores": 1}},
    "aggregate_create": {"aggregate": {"name": "x"}},
    "server_migration_act": {"force_complete": None},
    "aggregate_absent": {"aggregate": {"name": "x"}},
}
OPEN = {
    # a reader of any project: these show what is everybody's or the caller's own
    *("flavors_index", "flavors_detail", "flavor_show", "keypairs_index", "groups_index", "limits_show"),
    *("zones_index", "extensions_index", "extension_show", "specs_index", "spec_show", "quota_defaults"),
}
OWN = {"keypair_create", "group_create"}  # what a member of another project may make: in its own place


def version(route: Route) -> str:
    return f"2.{max(route.since, 1)}"


def filled(route: Route, values: dict[str, str]) -> str:
    return "/compute" + re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.path)


@pytest.fixture
def values(nova: Cloud) -> dict[str, str]:
    """Ids of another project's things, by the names of the routes' parameters."""
    store, project_id = nova.services.store, nova.known.admin_project_id
    host_id = add_host(store, "lab1")
    server = add_server(store, project_id, host_id=host_id)
    group = ServerGroup(ids.new_id(), project_id, "u", "g", "affinity", 1, nova.clock.now_us())

    def change(tx: Tx) -> None:
        from holdfast.control.store.server_group import server_group_insert

        server_group_insert(tx, group)

    store.write(change)
    admin = nova.as_user("admin", "admin")
    ok(admin.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "theirs"}}))
    ok(admin.post("/compute/v2.1/flavors/1/os-extra_specs", {"extra_specs": {"k": "v"}}))
    return {
        "flavor_id": "1",
        "key": "k",
        "name": "theirs",
        "group_id": group.id,
        "hypervisor_id": host_id,
        "service_id": host_id,
        "host_name": "lab1",
        "aggregate_id": "1",
        "tenant_id": project_id,
        "class_name": "default",
        "server_id": server.id,
        "request_id": ids.new_request_id(),
        "alias": "os-keypairs",
    }


def test_every_rule_of_a_route_is_written_down_and_none_is_public() -> None:
    for route in ROUTES:
        assert route.rule != PUBLIC, route.path
        assert route.rule == ANY_TOKEN or route.rule in RULES, route.rule


def test_every_route_refuses_whoever_should_not_use_it(nova: Cloud, values: dict[str, str]) -> None:
    demo, forged = nova.as_user(), nova.client.with_headers(x_auth_token="x" * 200)
    claimed = forged.with_headers(x_roles="admin", x_project_id=nova.known.admin_project_id)
    before = everything(nova)
    for route in ROUTES:
        handler, url = route.handler.__name__, filled(route, values)
        body, what = BODIES.get(handler), f"{route.method} {url}"
        for stranger in (nova.client, forged, claimed):
            assert at(stranger, version(route)).request(route.method, url, body).status == 401, what
        if handler not in OWN:
            answer = at(demo, version(route)).request(route.method, url, body)
            assert answer.status in ((200,) if handler in OPEN else (403, 404)), (what, answer.body)
            assert "theirs" not in answer.body.decode() or answer.status == 404, what
        assert everything(nova) == before, what


def test_a_reader_makes_nothing(nova: Cloud, values: dict[str, str]) -> None:
    from holdfast.control.store.identity.roles import assignment_add, assignment_remove
    from holdfast.domain.identity import Actor, Assignment, Target

    user, project, roles = nova.known.demo_user_id, nova.known.demo_project_id, nova.known.role_ids

    def demote(tx: Tx) -> None:
        assignment_remove(tx, Assignment(Actor.USER, user, Target.PROJECT, project, roles["member"]))
        assignment_add(tx, Assignment(Actor.USER, user, Target.PROJECT, project, roles["reader"]))

    nova.services.store.write(demote)
    reader = nova.as_user()
    before = everything(nova)
    for route in ROUTES:
        if route.method == "GET" or route.path.startswith("/v2.1/os-keypairs"):
            continue
        answer = at(reader, version(route)).request(
            route.method, filled(route, values), BODIES.get(route.handler.__name__)
        )
        assert answer.status in (403, 404), (route.path, answer.body)
    assert everything(nova) == before
