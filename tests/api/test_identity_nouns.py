"""Projects, domains, users, groups, roles and the catalogue, as Keystone's clients see them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.base.limits import IDENTITY_EXTRA_BYTES
from tests.api.test_identity_tokens import TOKENS, V3, by_password
from tests.client import Client
from tests.conftest import Cloud


@pytest.fixture
def admin(cloud: Cloud) -> Client:
    return cloud.as_user("admin", "admin")


def names(client: Client, path: str, kind: str) -> list[str]:
    answer = client.get(f"{V3}/{path}")
    assert answer.status == 200, answer.body
    assert answer.json["links"]["next"] is None
    return [entry["name"] for entry in answer.json[kind]]


def test_a_user_is_made_shown_changed_and_removed(admin: Client) -> None:
    body = {"name": "ann", "password": "secret", "email": "ann@example.org", "description": "d"}
    made = admin.post(f"{V3}/users", {"user": body})
    assert made.status == 201
    user = made.json["user"]
    assert (user["name"], user["email"], user["enabled"], user["domain_id"]) == (
        "ann",
        "ann@example.org",
        True,
        "default",
    )
    assert "password" not in user
    url = f"{V3}/users/{user['id']}"
    changed = admin.patch(url, {"user": {"name": "eve", "email": None, "enabled": False}}).json["user"]
    assert (changed["name"], changed["enabled"], "email" in changed) == ("eve", False, False)
    assert admin.get(url).json["user"] == changed
    assert admin.patch(url, {"user": {"domain_id": "other"}}).status == 400
    assert admin.delete(url).status == 204
    assert admin.get(url).status == 404
    assert admin.get(url).json["error"]["message"] == f"Could not find user: {user['id']}."


def test_invented_attributes_cannot_pass_for_real_ones_and_are_bounded(admin: Client, cloud: Cloud) -> None:
    tricks = {"password_hash": "x", "links": "x", "id": "x", "options": {"a": 1}, "is_admin": True}
    user = admin.post(f"{V3}/users", {"user": {"name": "ann", **tricks}}).json["user"]
    assert user["id"] != "x"
    assert user["options"] == {}
    assert "password_hash" not in user
    big = {"name": "bob", "note": "x" * IDENTITY_EXTRA_BYTES}
    assert admin.post(f"{V3}/users", {"user": big}).status == 400
    assert cloud.client.post(TOKENS, by_password("ann", "x")).status == 401


@pytest.mark.parametrize("kind", ["user", "project", "domain", "group", "role"])
@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 256, 7, None, "\x1b[31m"])
def test_a_name_that_no_list_can_show_is_refused(admin: Client, kind: str, name: Any) -> None:
    assert admin.post(f"{V3}/{kind}s", {kind: {"name": name}}).status == 400


@pytest.mark.parametrize("kind", ["user", "project", "domain", "group", "role"])
def test_a_taken_name_is_a_conflict_that_names_it(admin: Client, kind: str) -> None:
    assert admin.post(f"{V3}/{kind}s", {kind: {"name": "one"}}).status == 201
    again = admin.post(f"{V3}/{kind}s", {kind: {"name": "one"}})
    assert again.status == 409
    assert "one" in again.json["error"]["message"]


def test_lists_are_filtered_as_keystone_does(admin: Client) -> None:
    for name, enabled in (("alpha", True), ("beta", False), ("alphabet", True)):
        admin.post(f"{V3}/projects", {"project": {"name": name, "enabled": enabled}})
    assert names(admin, "projects?name=alpha", "projects") == ["alpha"]
    assert names(admin, "projects?name__contains=alpha", "projects") == ["alpha", "alphabet"]
    assert names(admin, "projects?name__istartswith=ALPHA&name__endswith=bet", "projects") == ["alphabet"]
    assert names(admin, "projects?enabled=false", "projects") == ["beta"]
    assert names(admin, "projects?enabled&name__contains=a", "projects") == ["admin", "alpha", "alphabet"]
    assert names(admin, "projects?domain_id=nowhere", "projects") == []
    assert names(admin, "projects?unknown=1&name=beta", "projects") == ["beta"]
    assert names(admin, "projects?is_domain=true", "projects") == ["Default"]
    assert names(admin, "users?name=demo", "users") == ["demo"]
    assert names(admin, "domains?name=Default", "domains") == ["Default"]


def test_a_project_below_another_is_a_leaf_and_stays_in_its_domain(admin: Client) -> None:
    upper = admin.post(f"{V3}/projects", {"project": {"name": "upper"}}).json["project"]
    assert (upper["parent_id"], upper["domain_id"], upper["is_domain"]) == ("default", "default", False)
    lower = admin.post(f"{V3}/projects", {"project": {"name": "lower", "parent_id": upper["id"]}}).json["project"]
    assert lower["parent_id"] == upper["id"]
    assert admin.delete(f"{V3}/projects/{upper['id']}").status == 403
    other = admin.post(f"{V3}/domains", {"domain": {"name": "other"}}).json["domain"]["id"]
    stray = {"name": "stray", "parent_id": upper["id"], "domain_id": other}
    assert admin.post(f"{V3}/projects", {"project": stray}).status == 400
    assert admin.patch(f"{V3}/projects/{lower['id']}", {"project": {"parent_id": "default"}}).status == 403
    assert admin.delete(f"{V3}/projects/{lower['id']}").status == 204
    assert admin.delete(f"{V3}/projects/{upper['id']}").status == 204


def test_tags_are_added_filtered_and_removed(admin: Client) -> None:
    project = admin.post(f"{V3}/projects", {"project": {"name": "p", "tags": ["a"]}}).json["project"]["id"]
    url = f"{V3}/projects/{project}/tags"
    assert admin.put(f"{url}/b").status == 201
    assert (admin.get(f"{url}/b").status, admin.get(f"{url}/c").status) == (204, 404)
    assert names(admin, "projects?tags=a,b", "projects") == ["p"]
    assert names(admin, "projects?tags-any=b,c", "projects") == ["p"]
    assert "p" not in names(admin, "projects?not-tags=a", "projects")
    assert admin.put(url, {"tags": ["x", "x"]}).status == 400
    assert admin.put(url, {"tags": ["x"]}).json["tags"] == ["x"]
    assert admin.delete(f"{url}/x").status == 204
    assert admin.get(url).json["tags"] == []


def test_assignments_are_listed_as_given_and_as_what_they_amount_to(admin: Client, cloud: Cloud) -> None:
    group = admin.post(f"{V3}/groups", {"group": {"name": "g"}}).json["group"]["id"]
    admin.put(f"{V3}/groups/{group}/users/{cloud.known.demo_user_id}")
    grant = f"{V3}/projects/{cloud.known.admin_project_id}/groups/{group}/roles/{cloud.known.role_ids['member']}"
    assert admin.put(grant).status == 204
    assert admin.request("HEAD", grant).status == 204
    where = f"scope.project.id={cloud.known.admin_project_id}"
    given = admin.get(f"{V3}/role_assignments?{where}&group.id={group}&include_names=true").json["role_assignments"]
    assert [(a["role"]["name"], a["group"]["name"], a["scope"]["project"]["name"]) for a in given] == [
        ("member", "g", "admin")
    ]
    assert given[0]["scope"]["project"]["domain"] == {"id": "default", "name": "Default"}
    query = f"{where}&user.id={cloud.known.demo_user_id}&effective&include_names"
    meant = admin.get(f"{V3}/role_assignments?{query}").json["role_assignments"]
    assert {a["role"]["name"] for a in meant} == {"member", "reader"}
    assert all(a["links"]["membership"].endswith(f"/groups/{group}/users/{cloud.known.demo_user_id}") for a in meant)
    system = admin.get(f"{V3}/role_assignments?scope.system=all&include_names").json["role_assignments"]
    assert [(a["user"]["name"], a["scope"]) for a in system] == [("admin", {"system": {"all": True}})]
    assert admin.delete(grant).status == 204
    assert admin.delete(grant).status == 404


def test_the_effective_list_and_the_tokens_agree(admin: Client, cloud: Cloud) -> None:
    user, roles = cloud.known.demo_user_id, cloud.known.role_ids
    lower = {"name": "lower", "parent_id": cloud.known.admin_project_id}
    project = admin.post(f"{V3}/projects", {"project": lower}).json["project"]["id"]
    admin.put(
        f"{V3}/OS-INHERIT/projects/{cloud.known.admin_project_id}/users/{user}/roles/{roles['manager']}/inherited_to_projects"
    )
    for target in (project, cloud.known.demo_project_id, cloud.known.admin_project_id):
        query = f"scope.project.id={target}&user.id={user}&effective&include_names"
        listed = {a["role"]["name"] for a in admin.get(f"{V3}/role_assignments?{query}").json["role_assignments"]}
        answer = cloud.client.post(TOKENS, by_password(scope={"project": {"id": target}}))
        held = {role["name"] for role in answer.json["token"]["roles"]} if answer.status == 201 else set()
        assert listed == held, target


def test_the_roles_that_policies_speak_of_stay(admin: Client, cloud: Cloud) -> None:
    for name, role_id in cloud.known.role_ids.items():
        assert admin.delete(f"{V3}/roles/{role_id}").status == 403
        assert admin.patch(f"{V3}/roles/{role_id}", {"role": {"name": f"no-{name}"}}).status == 403
    rules = admin.get(f"{V3}/role_inferences").json["role_inferences"]
    assert {(r["prior_role"]["name"], r["implies"][0]["name"]) for r in rules} == {
        ("admin", "manager"),
        ("manager", "member"),
        ("member", "reader"),
    }


def test_a_role_of_ones_own_is_assigned_and_goes_with_its_tokens(admin: Client, cloud: Cloud) -> None:
    role = admin.post(f"{V3}/roles", {"role": {"name": "observer"}}).json["role"]["id"]
    admin.put(f"{V3}/projects/{cloud.known.admin_project_id}/users/{cloud.known.demo_user_id}/roles/{role}")
    answer = cloud.client.post(TOKENS, by_password(scope={"project": {"id": cloud.known.admin_project_id}}))
    assert [r["name"] for r in answer.json["token"]["roles"]] == ["observer"]
    client = cloud.client.as_token(answer.headers["x-subject-token"])
    assert client.get(f"{V3}/auth/projects").status == 200
    assert admin.delete(f"{V3}/roles/{role}").status == 204
    assert client.get(f"{V3}/auth/projects").status == 401


def test_the_catalogue_shows_what_is_mounted_with_ids_that_stay(admin: Client, cloud: Cloud) -> None:
    services = admin.get(f"{V3}/services").json["services"]
    assert {s["type"] for s in services} >= {"identity"}
    endpoints = admin.get(f"{V3}/endpoints").json["endpoints"]
    assert len(endpoints) == 3 * len(services)
    for endpoint in endpoints:
        assert admin.get(f"{V3}/endpoints/{endpoint['id']}").json["endpoint"] == endpoint
        assert endpoint["region"] == endpoint["region_id"] == cloud.services.settings.region
    assert [s["type"] for s in admin.get(f"{V3}/services?type=identity").json["services"]] == ["identity"]
    for path in ("services", "endpoints", "regions"):
        refused = admin.post(f"{V3}/{path}", {path[:-1]: {}})
        assert (refused.status, refused.json["error"]["title"]) == (403, "Forbidden")
    assert admin.get(f"{V3}/regions/{cloud.services.settings.region}").status == 200


def test_a_users_projects_are_its_own_to_see(cloud: Cloud, admin: Client) -> None:
    path = f"users/{cloud.known.demo_user_id}/projects"
    assert names(cloud.as_user(), path, "projects") == ["demo"]
    assert names(admin, path, "projects") == ["demo"]
    assert cloud.as_user().get(f"{V3}/users/{cloud.known.admin_user_id}/projects").status == 403


def test_a_repeated_create_with_a_key_makes_one(admin: Client) -> None:
    body, key = {"project": {"name": "once"}}, {"idempotency-key": "k1"}
    first = admin.post(f"{V3}/projects", body, headers=key)
    again = admin.post(f"{V3}/projects", body, headers=key)
    assert (first.status, first.json) == (again.status, again.json) == (201, first.json)


def test_a_wrong_old_password_changes_nothing(cloud: Cloud) -> None:
    demo = cloud.as_user()
    body = {"user": {"original_password": "wrong", "password": "new"}}
    assert demo.post(f"{V3}/users/{cloud.known.demo_user_id}/password", body).status == 401
    assert demo.get(f"{V3}/auth/projects").status == 200
    assert cloud.client.post(TOKENS, by_password(password="new")).status == 401
