"""Server groups over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.control.store.quota import quota_set
from holdfast.control.store.server_group import server_groups_list
from holdfast.domain.instance import InstanceState
from tests.api.nova_cloud import add_server, at, nova, ok, refused
from tests.conftest import Cloud

__all__ = ["nova"]
GROUPS = "/compute/v2.1/os-server-groups"


def body(**fields: Any) -> dict[str, Any]:
    return {"server_group": {"name": "g", **fields}}


@pytest.mark.parametrize(
    ("version", "wanted", "shape"),
    [
        ("2.1", {"policies": ["affinity"]}, {"policies", "metadata"}),
        ("2.13", {"policies": ["anti-affinity"]}, {"policies", "metadata", "project_id", "user_id"}),
        ("2.15", {"policies": ["soft-affinity"]}, {"policies", "metadata", "project_id", "user_id"}),
        ("2.64", {"policy": "soft-anti-affinity"}, {"policy", "rules", "project_id", "user_id"}),
    ],
)
def test_a_group_is_made_and_shown_as_its_version_says(
    nova: Cloud, version: str, wanted: dict[str, Any], shape: set[str]
) -> None:
    demo = at(nova.as_user(), version)
    made = ok(demo.post(GROUPS, body(**wanted)))["server_group"]
    assert set(made) == {"id", "name", "members", *shape}
    assert ok(demo.get(f"{GROUPS}/{made['id']}"))["server_group"] == made
    assert ok(demo.get(GROUPS))["server_groups"] == [made]
    assert demo.delete(f"{GROUPS}/{made['id']}").status == 204
    assert "could not be found" in refused(demo.get(f"{GROUPS}/{made['id']}"), 404, "itemNotFound")


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("2.14", {"policies": ["soft-affinity"]}),
        ("2.15", {"policies": []}),
        ("2.15", {"policies": ["affinity", "anti-affinity"]}),
        ("2.15", {"policies": [["affinity"]]}),
        ("2.15", {"policy": "affinity"}),
        ("2.64", {"policies": ["affinity"]}),
        ("2.64", {"policy": "legacy"}),
        ("2.64", {"policy": "affinity", "rules": {"max_server_per_host": 2}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"colour": 1}}),
        ("2.64", {"policy": "anti-affinity", "name": "\x1b[2J"}),
    ],
)
def test_what_is_no_policy_is_refused(nova: Cloud, version: str, wanted: dict[str, Any]) -> None:
    assert at(nova.as_user(), version).post(GROUPS, body(**wanted)).status == 400
    assert nova.services.store.read(lambda tx: server_groups_list(tx, None)) == []


def test_a_rule_is_kept_and_living_members_are_shown(nova: Cloud) -> None:
    demo = at(nova.as_user(), "2.64")
    wanted = body(policy="anti-affinity", rules={"max_server_per_host": "3"})
    group = ok(demo.post(GROUPS, wanted))["server_group"]
    assert group["rules"] == {"max_server_per_host": 3}
    project_id = nova.known.demo_project_id
    alive = add_server(nova.services.store, project_id, group_id=group["id"])
    add_server(nova.services.store, project_id, group_id=group["id"], state=InstanceState.DELETED)
    assert ok(demo.get(f"{GROUPS}/{group['id']}"))["server_group"]["members"] == [alive.id]
    assert ok(demo.get(GROUPS))["server_groups"][0]["members"] == [alive.id]


def test_groups_are_a_projects_own(nova: Cloud) -> None:
    admin, demo = nova.as_user("admin", "admin"), nova.as_user()
    theirs = ok(admin.post(GROUPS, body(policies=["affinity"])))["server_group"]
    assert demo.get(f"{GROUPS}/{theirs['id']}").status == 404
    assert demo.delete(f"{GROUPS}/{theirs['id']}").status == 404
    assert ok(demo.get(f"{GROUPS}?all_projects=1"))["server_groups"] == []
    mine = ok(demo.post(GROUPS, body(policies=["affinity"])))["server_group"]
    assert [g["id"] for g in ok(admin.get(GROUPS))["server_groups"]] == [theirs["id"]]
    everybody = ok(admin.get(f"{GROUPS}?all_projects"))["server_groups"]
    assert {g["id"] for g in everybody} == {mine["id"], theirs["id"]}
    assert len(ok(admin.get(f"{GROUPS}?all_projects=1&limit=1&offset=1"))["server_groups"]) == 1


def test_no_group_is_made_beyond_the_quota(nova: Cloud) -> None:
    project_id, demo = nova.known.demo_project_id, nova.as_user()
    nova.services.store.write(lambda tx: quota_set(tx, project_id, {"server_groups": 1}))
    ok(demo.post(GROUPS, body(policies=["affinity"])))
    assert "server_groups" in refused(demo.post(GROUPS, body(policies=["affinity"])), 403, "forbidden")
