"""Every route of the operator facade, asked by whoever should not: strangers, members, and agents of hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Route
from holdfast.api.operator.routes import ROUTES, RULES
from tests.api.rows import everything
from tests.conftest import Cloud
from tests.world import World


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path)


def test_every_rule_is_for_administrators() -> None:
    assert {route.rule for route in ROUTES} == set(RULES)
    assert set(RULES.values()) == {ADMIN}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method}-{route.path}")
def test_a_route_refuses_whoever_should_not_use_it(world: World, route: Route) -> None:
    world.boot()
    world.settle()
    url, before = f"/operator{route.path.replace('{host}', 'h1')}", everything(world.cloud)
    forged = world.cloud.client.with_headers(x_auth_token="x" * 200)
    agent = world.cloud.client.with_headers(x_host_token="token")
    for stranger in (world.cloud.client, forged, agent):
        assert stranger.request(route.method, url, {}).status == 401
    refused = world.demo.request(route.method, url, {})
    assert refused.status == 403 and world.hosts[0].host_id not in refused.body.decode()
    assert everything(world.cloud) == before
    assert world.admin.request(route.method, url, {}).status not in (401, 403)
