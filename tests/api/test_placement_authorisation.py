"""Every route of Placement, asked by whoever should not: strangers, members of a project, and writers of any kind."""

from __future__ import annotations

import re

from holdfast.api.http.routes import PUBLIC, Route
from holdfast.api.placement.routes import ROUTES, RULES, refuse
from tests.api.rows import everything
from tests.world import World

HOST = "22222222-2222-4222-8222-000000000001"
HEADERS = {"openstack-api-version": "placement 1.24"}
VALUES = {"provider_id": HOST, "consumer_id": HOST, "class_name": "VCPU", "trait_name": "COMPUTE_NODE"}
QUERIES = {"/allocation_candidates": "?resources=VCPU:1", "/usages": "?project_id={admin}"}
CASES = [route for route in ROUTES if route.rule != PUBLIC]


def url_of(world: World, route: Route) -> str:
    path = re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], route.path)
    return f"/placement{path}{QUERIES.get(route.path, '').format(admin=world.cloud.known.admin_project_id)}"


def test_every_rule_is_written_down_and_only_the_versions_are_public() -> None:
    assert {route.rule for route in CASES} == set(RULES)
    assert [route.path for route in ROUTES if route.rule == PUBLIC] == ["/"]
    assert all(route.handler is refuse for route in ROUTES if route.method != "GET")


def test_every_route_refuses_whoever_should_not_use_it(world: World) -> None:
    world.boot()
    world.settle()
    before, forged = everything(world.cloud), world.cloud.client.with_headers(x_auth_token="x" * 200)
    claimed = forged.with_headers(x_roles="admin", x_project_id=world.cloud.known.admin_project_id)
    for route in CASES:
        url, what = url_of(world, route), f"{route.method} {route.path}"
        for stranger in (world.cloud.client, forged, claimed):
            assert stranger.request(route.method, url, {}, HEADERS).status == 401, what
        refused = world.demo.request(route.method, url, {}, HEADERS)
        assert refused.status == 403, what
        assert HOST not in refused.body.decode(), what
        allowed = world.admin.request(route.method, url, {}, HEADERS)
        if route.method == "GET":
            assert allowed.status in (200, 204), what
        else:
            assert allowed.status == 405, what
            (error,) = allowed.json["errors"]
            assert error["request_id"] == allowed.headers["x-openstack-request-id"]
            assert (error["status"], error["title"]) == (405, "Method Not Allowed")
            assert "by acts only" in error["detail"]
        assert everything(world.cloud) == before, what


def test_a_project_reads_its_own_usage_and_no_other(world: World) -> None:
    known = world.cloud.known
    mine = f"/placement/usages?project_id={known.demo_project_id}"
    assert world.demo.request("GET", mine, None, HEADERS).status == 200
    other = f"/placement/usages?project_id={known.admin_project_id}"
    assert world.demo.request("GET", other, None, HEADERS).status == 403
    both = f"{mine}&project_id={known.admin_project_id}"
    assert world.demo.request("GET", both, None, HEADERS).status == 403
