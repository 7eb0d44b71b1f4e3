"""Every route of the host link, asked by whoever should not; and what is behind the door, asked from both sides."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from holdfast.api.hosts.routes import ROUTES
from holdfast.api.http.routes import HOST, JOINING, Route
from holdfast.control.store.host import host_insert
from holdfast.control.store.identity.enrolment import enrolment_write
from holdfast.daemon.composition import FACADES
from holdfast.domain.joining import Enrolment
from tests.api.rows import everything
from tests.client import Client
from tests.conftest import Cloud
from tests.world import World

JOINED, KEY = "33333333-3333-4333-8333-333333333333", "a" * 64
OWN = [route for route in ROUTES if route.rule == HOST]


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    """A host of the machine itself, and one of another machine."""
    world = World(cloud, tmp_path)
    digest = hashlib.sha256(b"far").hexdigest()
    world.store.write(lambda tx: host_insert(tx, JOINED, "far", "nova", digest))
    world.store.write(lambda tx: enrolment_write(tx, Enrolment(JOINED, KEY, tx.now_us, tx.now_us)))
    return world


def url_of(route: Route, host_id: str) -> str:
    return "/hosts" + re.sub(r"\{image_id\}", "x", route.path).replace("{host_id}", host_id) + "?wait_s=0"


def test_every_route_is_one_hosts_own_or_for_joining() -> None:
    assert {route.rule for route in ROUTES} == {HOST, JOINING}
    assert [route.path for route in ROUTES if route.rule == JOINING] == ["/v1/authority", "/v1/join"]
    assert all("{host_id}" in route.path for route in OWN)


@pytest.mark.parametrize("route", OWN, ids=lambda route: f"{route.method}-{route.path}")
def test_a_route_refuses_whoever_is_not_that_host(world: World, route: Route) -> None:
    here, client = world.hosts[0].host_id, world.cloud.client
    before = everything(world.cloud)
    near, far = client.with_headers(x_host_token="token"), client.with_headers(x_host_token="far")
    strangers: dict[str, tuple[Client, str]] = {
        "nobody": (client, here),
        "a user": (world.admin, here),
        "a wrong token": (client.with_headers(x_host_token="wrong"), here),
        "another host": (far.through_door(KEY), here),
        "another host's token, without the door": (far, here),
        "its own token, stolen and used at the door": (near.through_door(), here),
        "its own token, with the key of one that joined": (near.through_door(KEY), here),
        "one that joined, without the door": (far, JOINED),
        "one that joined, without a certificate": (far.through_door(), JOINED),
        "one that joined, with another's certificate": (far.through_door("b" * 64), JOINED),
        "its certificate, without its token": (client.through_door(KEY), JOINED),
        "a host that is not known": (far.through_door(KEY), "44444444-4444-4444-8444-444444444444"),
    }
    for who, (stranger, host_id) in strangers.items():
        assert stranger.request(route.method, url_of(route, host_id), {}).status == 401, who
    assert everything(world.cloud) == before
    assert near.request(route.method, url_of(route, here), {}).status != 401
    assert far.through_door(KEY).request(route.method, url_of(route, JOINED), {}).status != 401


def test_who_was_admitted_with_its_key_a_moment_ago_is_not_without_it(world: World) -> None:
    far, url = world.cloud.client.with_headers(x_host_token="far"), f"/hosts/v1/{JOINED}/register"
    assert far.through_door(KEY).post(url, {"boot_id": "b", "machine": "m"}).status == 200
    assert far.through_door().post(url, {"boot_id": "b", "machine": "m"}).status == 401
    assert far.post(url, {"boot_id": "b", "machine": "m"}).status == 401


def test_what_joining_needs_is_behind_the_door_and_nowhere_else(world: World) -> None:
    for client in (world.cloud.client, world.admin, world.cloud.client.with_headers(x_host_token="token")):
        assert client.get("/hosts/v1/authority").status == 404
        assert client.post("/hosts/v1/join", {"secret": "x"}).status == 404
    assert world.cloud.client.through_door().get("/hosts/v1/authority").status == 200
    assert world.cloud.client.through_door().post("/hosts/v1/join", {"secret": "x"}).status == 400


def test_nothing_else_is_behind_the_door(world: World) -> None:
    tried = 0
    for facade in FACADES:
        for route in facade.routes if facade.name != "hosts" else ():
            url = f"/{facade.mount}" + re.sub(r"\{\w+\}", "x", route.path)
            answer = world.admin.through_door(KEY).request(route.method, url, {})
            assert answer.status in (400, 404, 405, 406), (route.method, url)
            tried += 1
    assert tried > 200
