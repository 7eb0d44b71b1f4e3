"""Flavors over HTTP, at the versions where Nova's answers change."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.base.errors import BadInput
from holdfast.control.operations.flavor import flavor_resolve, flavors_bootstrap
from holdfast.control.store.flavor import flavors_list
from tests.api.nova_cloud import at, nova, ok, refused
from tests.conftest import Cloud

__all__ = ["nova"]
FLAVORS = "/compute/v2.1/flavors"


def wanted(**changes: Any) -> dict[str, Any]:
    return {"flavor": {"name": "big", "ram": 256, "vcpus": 1, "disk": 2, **changes}}


def test_a_cloud_starts_with_the_flavors_people_know_and_only_once(nova: Cloud) -> None:
    nova.services.store.write(flavors_bootstrap)
    listed = ok(nova.as_user().get(FLAVORS))["flavors"]
    assert [f["id"] for f in listed] == ["1", "2", "3", "4", "42", "5", "84"]
    assert set(listed[0]) == {"id", "name", "links"}
    assert listed[0]["links"][0]["href"].endswith("/compute/v2.1/flavors/1")


@pytest.mark.parametrize(
    ("version", "swap", "described", "specs"),
    [
        ("2.1", "", False, False),
        ("2.55", "", True, False),
        ("2.61", "", True, True),
        ("2.75", 0, True, True),
        ("2.96", 0, True, True),
    ],
)
def test_a_flavor_is_shown_as_its_version_says(
    nova: Cloud, version: str, swap: Any, described: bool, specs: bool
) -> None:
    shown = ok(at(nova.as_user(), version).get(f"{FLAVORS}/42"))["flavor"]
    assert shown["ram"] == 128
    assert shown["swap"] == swap
    assert shown["rxtx_factor"] == 1.0
    assert shown["OS-FLV-EXT-DATA:ephemeral"] == 0
    assert shown["os-flavor-access:is_public"] is True
    assert ("description" in shown, "extra_specs" in shown) == (described, specs)


def test_an_administrator_creates_describes_and_deletes(nova: Cloud) -> None:
    admin = nova.as_user("admin", "admin")
    made = ok(at(admin, "2.55").post(FLAVORS, wanted(id="auto", swap="64", description="one")))["flavor"]
    assert made["description"] == "one"
    assert made["swap"] == 64
    assert len(made["id"]) == 36
    url = f"{FLAVORS}/{made['id']}"
    assert ok(at(admin, "2.55").put(url, {"flavor": {"description": None}}))["flavor"]["description"] is None
    assert at(admin, "2.54").put(url, {"flavor": {"description": "x"}}).status == 405
    assert admin.delete(url).status == 202
    assert refused(admin.delete(url), 404, "itemNotFound") == f"Flavor {made['id']} could not be found."


def test_an_id_may_be_a_number_and_names_and_ids_are_taken_once(nova: Cloud) -> None:
    admin = nova.as_user("admin", "admin")
    assert ok(admin.post(FLAVORS, wanted(id=7)))["flavor"]["id"] == "7"
    again = admin.post(FLAVORS, wanted(id="8"))
    assert refused(again, 409, "conflictingRequest") == "Flavor with name big already exists."
    other = admin.post(FLAVORS, wanted(id="7", name="other"))
    assert refused(other, 409, "conflictingRequest") == "Flavor with ID 7 already exists."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ram": 0}, "Invalid input for field/attribute ram. Value: 0. 0 is less than the minimum of 1"),
        ({"ram": "x"}, "Invalid input for field/attribute ram. Value: x. 'x' does not match '^[0-9]*$'"),
        ({"vcpus": True}, "Invalid input for field/attribute vcpus. Value: True. True is not of type"),
        ({"disk": -1}, "-1 is less than the minimum of 0"),
        ({"disk": 1 << 40}, "is greater than the maximum of 2147483647"),
        ({"name": ""}, "Invalid input for field/attribute name. Value: . '' is too short"),
        ({"name": "x" * 256}, "is too long"),
        ({"name": "a\nb"}, "Can not start or end with whitespace."),
        ({"name": " a"}, "Can not start or end with whitespace."),
        ({"id": "a/b"}, "Invalid input for field/attribute id. Value: a/b."),
        ({"colour": "red"}, "Additional properties are not allowed ('colour' was unexpected)"),
        ({"description": "early"}, "Additional properties are not allowed ('description' was unexpected)"),
        ({"rxtx_factor": 2.0}, "does not shape bandwidth"),
        ({"os-flavor-access:is_public": "perhaps"}, "'perhaps' is not one of"),
    ],
)
def test_what_is_wrong_is_named_as_nova_names_it(nova: Cloud, changes: dict[str, Any], words: str) -> None:
    answer = nova.as_user("admin", "admin").post(FLAVORS, wanted(**changes))
    message = refused(answer, 400, "badRequest")
    assert words in message
    assert len(message) < 1_000
    missing = nova.as_user("admin", "admin").post(FLAVORS, {"flavor": {"name": "x"}})
    assert "'ram' is a required property" in refused(missing, 400, "badRequest")


def test_a_private_flavor_is_not_there_for_projects_without_access(nova: Cloud) -> None:
    admin, demo = nova.as_user("admin", "admin"), nova.as_user()
    ok(admin.post(FLAVORS, wanted(id="p", **{"os-flavor-access:is_public": False})))
    url = f"{FLAVORS}/p"
    assert refused(demo.get(url), 404, "itemNotFound") == "Flavor p could not be found."
    assert demo.get(f"{url}/os-extra_specs").status == 404
    assert "p" not in {f["id"] for f in ok(demo.get(f"{FLAVORS}?is_public=None"))["flavors"]}
    assert "p" not in {f["id"] for f in ok(admin.get(FLAVORS))["flavors"]}
    assert "p" in {f["id"] for f in ok(admin.get(f"{FLAVORS}/detail?is_public=None"))["flavors"]}
    assert [f["id"] for f in ok(admin.get(f"{FLAVORS}?is_public=false"))["flavors"]] == ["p"]
    project_id = nova.known.demo_project_id
    with pytest.raises(BadInput, match=r"Flavor p could not be found\."):
        nova.services.store.read(lambda tx: flavor_resolve(tx, "p", project_id))

    grant = {"addTenantAccess": {"tenant": project_id}}
    assert ok(admin.post(f"{url}/action", grant))["flavor_access"] == [{"flavor_id": "p", "tenant_id": project_id}]
    assert admin.post(f"{url}/action", grant).status == 409
    assert ok(demo.get(url))["flavor"]["id"] == "p"
    assert "p" in {f["id"] for f in ok(demo.get(FLAVORS))["flavors"]}
    assert nova.services.store.read(lambda tx: flavor_resolve(tx, "p", project_id)).name == "big"
    assert len(ok(admin.get(f"{url}/os-flavor-access"))["flavor_access"]) == 1

    assert ok(admin.post(f"{url}/action", {"removeTenantAccess": {"tenant": project_id}})) == {"flavor_access": []}
    assert admin.post(f"{url}/action", {"removeTenantAccess": {"tenant": project_id}}).status == 404
    assert demo.get(url).status == 404


def test_access_is_for_private_flavors_and_real_projects(nova: Cloud) -> None:
    admin = nova.as_user("admin", "admin")
    nobody = {"addTenantAccess": {"tenant": "nobody"}}
    assert "is not a valid project" in refused(admin.post(f"{FLAVORS}/1/action", nobody), 400, "badRequest")
    demo = {"addTenantAccess": {"tenant": nova.known.demo_project_id}}
    assert refused(at(admin, "2.7").post(f"{FLAVORS}/1/action", demo), 409, "conflictingRequest")
    assert refused(admin.get(f"{FLAVORS}/1/os-flavor-access"), 404, "itemNotFound")
    assert nova.as_user().post(f"{FLAVORS}/1/action", demo).status == 403


def test_extra_specs_are_added_changed_and_removed(nova: Cloud) -> None:
    admin, demo, url = nova.as_user("admin", "admin"), nova.as_user(), f"{FLAVORS}/1/os-extra_specs"
    assert ok(admin.post(url, {"extra_specs": {"hw:cpu_policy": "shared", "n": 3}}))["extra_specs"]["n"] == "3"
    assert ok(admin.put(f"{url}/n", {"n": "4"})) == {"n": "4"}
    assert "mismatch" in refused(admin.put(f"{url}/n", {"m": "4"}), 400, "badRequest")
    assert ok(demo.get(url))["extra_specs"] == {"hw:cpu_policy": "shared", "n": "4"}
    assert ok(demo.get(f"{url}/n")) == {"n": "4"}
    assert ok(at(demo, "2.61").get(f"{FLAVORS}/1"))["flavor"]["extra_specs"]["n"] == "4"
    assert admin.delete(f"{url}/n").status == 200
    assert "no extra specs with key n" in refused(admin.delete(f"{url}/n"), 404, "itemNotFound")
    assert admin.post(url, {"extra_specs": {"a/b": "c"}}).status == 400
    assert demo.post(url, {"extra_specs": {"a": "c"}}).status == 403


def test_lists_are_filtered_sorted_and_paged_without_losing_any(nova: Cloud) -> None:
    demo = nova.as_user()
    assert [f["id"] for f in ok(demo.get(f"{FLAVORS}?minRam=4096&sort_key=memory_mb&sort_dir=desc"))["flavors"]] == [
        "5",
        "4",
        "3",
    ]
    assert {f["id"] for f in ok(demo.get(f"{FLAVORS}?minDisk=80"))["flavors"]} == {"4", "5"}
    seen, url = [], f"{FLAVORS}/detail?limit=3"
    while url:
        page = ok(demo.get(url))
        seen += [f["id"] for f in page["flavors"]]
        following = page.get("flavors_links")
        url = following[0]["href"].partition("5000")[2] if following else ""
    assert seen == ["1", "2", "3", "4", "42", "5", "84"]
    for query in ("minRam=x", "minRam=--5", "minDisk=" + "9" * 5_000, "marker=none", "sort_key=colour", "limit=-1"):
        assert demo.get(f"{FLAVORS}?{query}").status == 400, query
    assert nova.as_user("admin", "admin").get(f"{FLAVORS}?is_public=maybe").status == 400
    assert demo.get(f"{FLAVORS}?colour=red").status == 200
    assert at(demo, "2.75").get(f"{FLAVORS}?colour=red").status == 400


def test_members_change_no_flavor(nova: Cloud) -> None:
    demo, before = nova.as_user(), nova.services.store.read(flavors_list)
    assert demo.post(FLAVORS, wanted()).status == 403
    assert demo.delete(f"{FLAVORS}/1").status == 403
    assert at(demo, "2.55").put(f"{FLAVORS}/1", {"flavor": {"description": "x"}}).status == 403
    assert nova.services.store.read(flavors_list) == before
