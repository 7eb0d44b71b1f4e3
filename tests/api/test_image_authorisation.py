"""Every route of the image service asks who is calling: generated from the route table, so none can be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.api.http.routes import PUBLIC, Route
from holdfast.api.image.routes import ROUTES, RULES
from tests.api.image_cloud import ImageCloud, image_cloud
from tests.api.rows import everything
from tests.conftest import HeldClock

OPEN = {("GET", "/"), ("GET", "/versions")}
OF_AN_IMAGE = [route for route in ROUTES if "{image_id}" in route.path]
BODIES: dict[str, object] = {
    "PATCH": [{"op": "replace", "path": "/name", "value": "stolen"}],
    "POST": {"member": "red"},
    "PUT": {"status": "accepted"},
}
HEADERS = {
    "PATCH": {"content-type": "application/openstack-images-v2.1-json-patch"},
    "file": {"content-type": "application/octet-stream"},
}


@pytest.fixture
def world(tmp_path: Path, clock: HeldClock) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path, clock) as cloud:
        yield cloud


def ask(world: ImageCloud, token: str, route: Route, image_id: str) -> int:
    filled = route.path.format(image_id=image_id, member_id="green", tag="t", schema="image", task_id=image_id)
    client = world.client.as_token(token) if token else world.client
    headers = HEADERS["file"] if route.path.endswith("/file") else HEADERS.get(route.method, {})
    return client.request(route.method, f"/image{filled}", BODIES.get(route.method), headers).status


def test_only_version_discovery_is_public() -> None:
    assert {(route.method, route.path) for route in ROUTES if route.rule == PUBLIC} == OPEN


def test_every_rule_is_written_down() -> None:
    assert {route.rule for route in ROUTES} - {PUBLIC} <= set(RULES)


def test_without_a_token_nothing_is_answered(world: ImageCloud) -> None:
    image = world.active(world.blue)
    before = everything(world)
    for route in ROUTES:
        if route.rule != PUBLIC:
            for token in ("", "nonsense"):
                assert ask(world, token, route, image["id"]) == 401, route.path
    assert everything(world) == before


@pytest.mark.parametrize("visibility", ["private", "shared"])
def test_another_projects_image_does_not_exist(world: ImageCloud, visibility: str) -> None:
    image = world.active(world.blue, visibility=visibility, tags=["t"])
    if visibility == "shared":
        world.blue.post(f"/image/v2/images/{image['id']}/members", {"member": "green"})
    before = everything(world)
    for route in OF_AN_IMAGE:
        assert ask(world, "red:member", route, image["id"]) in (404, 501), (route.method, route.path)
        assert everything(world) == before, (route.method, route.path)


def test_who_only_sees_an_image_cannot_change_it(world: ImageCloud) -> None:
    image = world.active(world.admin, visibility="public", tags=["t"])
    before = everything(world)
    for route in OF_AN_IMAGE:
        if route.method != "GET":
            assert ask(world, "red:member", route, image["id"]) in (403, 404, 501), (route.method, route.path)
            assert everything(world) == before, (route.method, route.path)


def test_a_reader_changes_nothing(world: ImageCloud) -> None:
    image = world.active(world.blue, tags=["t"])
    before = everything(world)
    for route in ROUTES:
        if route.method != "GET":
            assert ask(world, "blue:reader", route, image["id"]) == 403, (route.method, route.path)
            assert everything(world) == before, (route.method, route.path)
