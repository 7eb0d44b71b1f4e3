"""Every URL of the volume service, and of a server's volumes: nothing without a token, nothing of another project."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdfast.api.compute import server_volumes
from holdfast.api.http.routes import ANY_TOKEN, PUBLIC, Route
from holdfast.api.volume.actions import ACTIONS
from holdfast.api.volume.routes import ROUTES, RULES
from holdfast.base import ids
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.roles import assignment_add, assignment_remove
from holdfast.domain.identity import Actor, Assignment, Target
from tests.api.rows import everything
from tests.api.volume_world import Cinder, server
from tests.world import World

BODIES: dict[str, Any] = {
    "volume_create": {"volume": {"size": 1}},
    "volume_update": {"volume": {"name": "mine"}},
    "properties_add": {"metadata": {"a": "b"}},
    "properties_replace": {"metadata": {"a": "b"}},
    "property_put": {"meta": {"k": "b"}},
    "volume_act": {"os-extend": {"new_size": 9}},
    "snapshot_act": {"os-reset_status": {"status": "error"}},
    "snapshot_update": {"snapshot": {"name": "mine"}},
    "quota_update": {"quota_set": {"volumes": 1}},
    "class_update": {"quota_class_set": {"volumes": 1}},
    "attachment_create": {"attachment": {}},
    "volume_attach": None,
}
OPEN = {  # of any reader: these show what is everybody's, or the caller's own and so nothing of another's
    *("volumes_index", "volumes_detail", "volumes_summary", "snapshots_index", "snapshots_detail"),
    *("attachments_index", "attachments_detail", "types_index", "type_show", "specs_index", "limits_show"),
    *("zones_index", "extensions_index", "messages_index"),
}
OWN = {"volume_create"}  # what a member of another project may make: in its own place
REFUSED = {"attachment_create": 501}
CASES = [("volume", route) for route in ROUTES] + [("compute", route) for route in server_volumes.ROUTES]


@pytest.fixture
def values(world: World) -> dict[str, str]:
    """Ids of another project's things (the administrators'), by the names of the routes' parameters."""
    admin = Cinder(world, world.admin)
    networks = {"networks": "none"}
    body = {"name": "theirs", "imageRef": "11111111-1111-4111-8111-111111111111", "flavorRef": "42", **networks}
    server_id = world.nova("POST", "/servers", {"server": body}, client=world.admin).json["server"]["id"]
    world.settle()
    volume_id = admin.made(1, name="theirs", metadata={"k": "v"})
    snapshot_id = admin.snapshot(volume_id, name="theirs")
    world.settle()
    admin.attached(server_id, volume_id)
    return {
        "volume_id": volume_id,
        "snapshot_id": snapshot_id,
        "attachment_id": admin.show(volume_id)["attachments"][0]["attachment_id"],
        "server_id": server_id,
        "key": "k",
        "type_id": "0b1f9a52-6f0e-5e4b-9c53-7f2f7c1d3a10",
        "owner_id": world.cloud.known.admin_project_id,
        "class_name": "default",
        "path_project": world.cloud.known.demo_project_id,
    }


def sent(route: Route, mount: str, values: dict[str, str]) -> tuple[str, Any, dict[str, str]]:
    url = f"/{mount}" + re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.path)
    body = BODIES.get(route.handler.__name__)
    if route.handler.__name__ == "volume_attach":
        body = {"volumeAttachment": {"volumeId": values["volume_id"]}}
    if route.handler.__name__ == "volume_update" and mount == "compute":
        body = {"volumeAttachment": {"volumeId": values["volume_id"], "delete_on_termination": True}}
    if route.handler.__name__ == "snapshot_create":
        body = {"snapshot": {"volume_id": values["volume_id"]}}
    version = "volume 3.59" if mount == "volume" else "compute 2.89"
    return url, body, {"openstack-api-version": version}


def test_every_rule_of_a_route_is_written_down_and_only_versions_are_public() -> None:
    rules = {**RULES, **server_volumes.RULES}
    for _, route in CASES:
        assert route.rule in (*rules, ANY_TOKEN) or route.path in ("/", "/v3"), route.path
        assert (route.rule == PUBLIC) == (route.path in ("/", "/v3"))
    assert all(rule in RULES for rule, _ in ACTIONS.values())


def test_every_route_refuses_whoever_should_not_use_it(world: World, values: dict[str, str]) -> None:
    cloud, before = world.cloud, everything(world.cloud)
    forged = cloud.client.with_headers(x_auth_token="x" * 200)
    claimed = forged.with_headers(x_roles="admin", x_project_id=cloud.known.admin_project_id)
    for mount, route in CASES:
        if route.rule == PUBLIC:
            continue
        url, body, headers = sent(route, mount, values)
        handler, what = route.handler.__name__, f"{route.method} {url}"
        for stranger in (cloud.client, forged, claimed):
            assert stranger.request(route.method, url, body, headers).status == 401, what
        if handler not in OWN:
            answer = world.demo.request(route.method, url, body, headers)
            allowed = (200,) if handler in OPEN else (REFUSED.get(handler, 404), 403)
            assert answer.status in allowed, (what, answer.status, answer.body)
            for theirs in ("theirs", values["server_id"]):
                assert theirs not in answer.body.decode() or answer.status == 404, what
        assert everything(cloud) == before, what


def test_no_action_reaches_another_projects_volume(world: World, values: dict[str, str]) -> None:
    before = everything(world.cloud)
    for action in ACTIONS:
        answer = Cinder(world).act(values["volume_id"], action, {"new_size": 9, "status": "error", "bootable": True})
        assert answer.status == 404, action
        assert everything(world.cloud) == before, action


def test_a_reader_changes_nothing_and_a_member_resets_nothing(world: World, values: dict[str, str]) -> None:
    known = world.cloud.known
    mine = Cinder(world).made()
    assert Cinder(world).act(mine, "os-reset_status", {"status": "error"}).status == 403
    user, project, roles = known.demo_user_id, known.demo_project_id, known.role_ids

    def demote(tx: Tx) -> None:
        assignment_remove(tx, Assignment(Actor.USER, user, Target.PROJECT, project, roles["member"]))
        assignment_add(tx, Assignment(Actor.USER, user, Target.PROJECT, project, roles["reader"]))

    world.store.write(demote)
    reader = world.cloud.as_user()
    before = everything(world.cloud)
    for mount, route in CASES:
        if route.method == "GET":
            continue
        url, body, headers = sent(route, mount, {**values, "volume_id": mine})
        assert reader.request(route.method, url, body, headers).status in (403, 404), route.path
    assert everything(world.cloud) == before


def test_a_volume_of_another_project_is_never_attached_to_a_server_of_ones_own(
    world: World, values: dict[str, str]
) -> None:
    own = server(world)
    free = Cinder(world, world.admin).made()
    for volume_id in (values["volume_id"], free, ids.new_id()):
        assert Cinder(world).attach(own, volume_id).status == 404
    assert Cinder(world, world.admin).attach(own, free).status == 404
    assert Cinder(world).call("POST", "/volumes", {"volume": {"source_volid": free}}).status == 404
    assert Cinder(world).call("POST", "/volumes", {"volume": {"snapshot_id": values["snapshot_id"]}}).status == 404
