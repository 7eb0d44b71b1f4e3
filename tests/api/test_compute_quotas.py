"""Quotas, default quotas, limits and usage over HTTP."""

from __future__ import annotations

import pytest

from holdfast.control.store.quota import quota_limits
from holdfast.domain.instance import InstanceState
from tests.api.nova_cloud import HOUR_US, add_server, at, nova, ok, refused
from tests.conftest import START_US, Cloud

__all__ = ["nova"]
V21 = "/compute/v2.1"
ELSEWHERE = {"fixed_ips", "floating_ips", "security_groups", "security_group_rules"}
FILES = {"injected_files", "injected_file_content_bytes", "injected_file_path_bytes"}
OURS = {"instances", "cores", "ram", "key_pairs", "metadata_items", "server_groups", "server_group_members"}


@pytest.mark.parametrize(
    ("version", "shape"),
    [("2.1", OURS | ELSEWHERE | FILES), ("2.36", OURS | FILES), ("2.57", OURS), ("2.96", OURS)],
)
def test_a_quota_set_has_the_names_of_its_version(nova: Cloud, version: str, shape: set[str]) -> None:
    demo, project_id = at(nova.as_user(), version), nova.known.demo_project_id
    url = f"{V21}/os-quota-sets/{project_id}"
    for answer in (demo.get(url), demo.get(f"{url}/defaults"), demo.get(f"{url}/detail")):
        assert set(ok(answer)["quota_set"]) == {"id", *shape}
    add_server(nova.services.store, project_id)
    detail = ok(demo.get(f"{url}/detail"))["quota_set"]
    assert detail["cores"] == {"limit": 8_000, "in_use": 2, "reserved": 0}
    assert detail["ram"]["in_use"] == 2_048


def test_an_administrator_sets_limits_and_takes_them_back(nova: Cloud) -> None:
    admin, project_id, store = nova.as_user("admin", "admin"), nova.known.demo_project_id, nova.services.store
    url = f"{V21}/os-quota-sets/{project_id}"
    shown = ok(admin.put(url, {"quota_set": {"instances": "4", "cores": -1}}))["quota_set"]
    assert (shown["instances"], shown["cores"]) == (4, -1)
    assert "id" not in shown
    assert store.read(lambda tx: quota_limits(tx, project_id))["instances"] == 4
    assert ok(nova.as_user().get(url))["quota_set"]["instances"] == 4
    assert admin.delete(url).status == 202
    assert store.read(lambda tx: quota_limits(tx, project_id))["instances"] == 2_000


def test_a_limit_below_the_use_must_be_forced(nova: Cloud) -> None:
    admin, project_id = nova.as_user("admin", "admin"), nova.known.demo_project_id
    add_server(nova.services.store, project_id)
    url = f"{V21}/os-quota-sets/{project_id}"
    answer = admin.put(url, {"quota_set": {"cores": 1, "instances": 9}})
    assert refused(answer, 400, "badRequest") == (
        "Quota limit 1 for cores must be greater than or equal to already used and reserved 2."
    )
    assert nova.services.store.read(lambda tx: quota_limits(tx, project_id))["instances"] == 2_000
    assert ok(admin.put(url, {"quota_set": {"cores": 1, "force": True}}))["quota_set"]["cores"] == 1


@pytest.mark.parametrize(
    ("version", "limits", "words"),
    [
        ("2.1", {"cores": -2}, "-2 is less than the minimum of -1"),
        ("2.1", {"cores": "many"}, "does not match"),
        ("2.1", {"cores": 1 << 31}, "greater than the maximum"),
        ("2.1", {"floating_ips": 5}, "addresses and groups have the network's"),
        ("2.57", {"injected_files": 5}, "Additional properties are not allowed"),
        ("2.57", {"colours": 5}, "Additional properties are not allowed ('colours' was unexpected)"),
    ],
)
def test_what_is_no_limit_is_refused(nova: Cloud, version: str, limits: dict[str, object], words: str) -> None:
    admin = at(nova.as_user("admin", "admin"), version)
    answer = admin.put(f"{V21}/os-quota-sets/{nova.known.demo_project_id}", {"quota_set": limits})
    assert words in refused(answer, 400, "badRequest")


def test_quotas_are_a_projects_own_and_of_projects_that_exist(nova: Cloud) -> None:
    admin, demo = nova.as_user("admin", "admin"), nova.as_user()
    other = f"{V21}/os-quota-sets/{nova.known.admin_project_id}"
    mine = f"{V21}/os-quota-sets/{nova.known.demo_project_id}"
    assert demo.get(other).status == 403
    assert demo.get(f"{other}/detail").status == 403
    assert demo.put(mine, {"quota_set": {"cores": -1}}).status == 403
    assert demo.delete(mine).status == 403
    message = refused(admin.get(f"{V21}/os-quota-sets/nobody"), 400, "badRequest")
    assert message == "Project ID nobody is not a valid project."
    assert admin.put(f"{V21}/os-quota-sets/nobody", {"quota_set": {"cores": 1}}).status == 400
    assert admin.put(f"{mine}?user_id=u", {"quota_set": {"cores": 1}}).status == 501


def test_defaults_are_set_for_every_project_without_a_limit_of_its_own(nova: Cloud) -> None:
    admin, store = nova.as_user("admin", "admin"), nova.services.store
    mine, other = nova.known.demo_project_id, nova.known.admin_project_id
    ok(admin.put(f"{V21}/os-quota-sets/{mine}", {"quota_set": {"instances": 3}}))
    shown = ok(at(admin, "2.50").put(f"{V21}/os-quota-class-sets/default", {"quota_class_set": {"instances": 7}}))
    assert shown["quota_class_set"]["instances"] == 7
    assert store.read(lambda tx: quota_limits(tx, mine))["instances"] == 3
    assert store.read(lambda tx: quota_limits(tx, other))["instances"] == 7
    old = ok(admin.get(f"{V21}/os-quota-class-sets/default"))["quota_class_set"]
    assert "server_groups" not in old
    assert "server_groups" in ok(at(admin, "2.50").get(f"{V21}/os-quota-class-sets/x"))["quota_class_set"]
    assert admin.put(f"{V21}/os-quota-class-sets/x", {"quota_class_set": {"cores": 1}}).status == 400
    assert nova.as_user().get(f"{V21}/os-quota-class-sets/default").status == 403


@pytest.mark.parametrize(
    ("version", "there", "gone"),
    [
        ("2.1", {"maxImageMeta", "maxTotalFloatingIps", "totalFloatingIpsUsed", "maxPersonality"}, set()),
        ("2.36", {"maxImageMeta", "maxPersonality"}, {"maxTotalFloatingIps", "maxSecurityGroups"}),
        ("2.39", {"maxServerMeta", "maxPersonality"}, {"maxImageMeta"}),
        ("2.57", {"maxServerMeta", "maxServerGroups"}, {"maxPersonality", "maxPersonalitySize"}),
    ],
)
def test_limits_have_the_names_of_their_version(nova: Cloud, version: str, there: set[str], gone: set[str]) -> None:
    add_server(nova.services.store, nova.known.demo_project_id)
    limits = ok(at(nova.as_user(), version).get(f"{V21}/limits?reserved=1"))["limits"]
    assert limits["rate"] == []
    absolute = limits["absolute"]
    assert there <= absolute.keys()
    assert not gone & absolute.keys()
    assert (absolute["totalInstancesUsed"], absolute["totalCoresUsed"], absolute["totalRAMUsed"]) == (1, 2, 2_048)
    assert absolute["maxTotalInstances"] == 2_000


def test_only_an_administrator_asks_for_the_limits_of_another_project(nova: Cloud) -> None:
    add_server(nova.services.store, nova.known.demo_project_id)
    query = f"{V21}/limits?tenant_id={nova.known.demo_project_id}"
    assert ok(nova.as_user("admin", "admin").get(query))["limits"]["absolute"]["totalInstancesUsed"] == 1
    assert nova.as_user().get(f"{V21}/limits?tenant_id={nova.known.admin_project_id}").status == 403


def iso(offset_h: float) -> str:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(START_US / 1_000_000 + offset_h * 3600, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")


def test_usage_counts_the_hours_inside_the_period(nova: Cloud) -> None:
    store, project_id = nova.services.store, nova.known.demo_project_id
    runs = add_server(store, project_id, name="runs", launched_us=START_US - 4 * HOUR_US)
    ended = {"launched_us": START_US - 9 * HOUR_US, "terminated_us": START_US - 2 * HOUR_US}
    add_server(store, project_id, name="ended", state=InstanceState.DELETED, **ended)
    before = {"launched_us": START_US - 9 * HOUR_US, "terminated_us": START_US - 5 * HOUR_US}
    add_server(store, project_id, name="before", state=InstanceState.DELETED, **before)
    add_server(store, project_id, name="never", launched_us=0)
    add_server(store, nova.known.admin_project_id, name="theirs")
    url = f"{V21}/os-simple-tenant-usage/{project_id}?start={iso(-3)}&end={iso(0)}"
    usage = ok(nova.as_user().get(url))["tenant_usage"]
    assert usage["total_hours"] == pytest.approx(3 + 1)
    assert usage["total_vcpus_usage"] == pytest.approx(8)
    assert usage["total_memory_mb_usage"] == pytest.approx(4 * 2_048)
    assert usage["total_local_gb_usage"] == pytest.approx(80)
    assert usage["start"] == iso(-3)
    servers = {server["name"]: server for server in usage["server_usages"]}
    assert set(servers) == {"runs", "ended"}
    assert servers["runs"]["instance_id"] == runs.id
    assert (servers["runs"]["state"], servers["runs"]["ended_at"], servers["runs"]["uptime"]) == (
        "active",
        None,
        14_400,
    )
    assert (servers["ended"]["state"], servers["ended"]["hours"]) == ("terminated", pytest.approx(1))


def test_usage_of_every_project_is_for_administrators_and_paged_since_2_40(nova: Cloud) -> None:
    store, admin = nova.services.store, at(nova.as_user("admin", "admin"), "2.40")
    mine = {add_server(store, nova.known.demo_project_id).id for _ in range(3)}
    theirs = add_server(store, nova.known.admin_project_id)
    url = f"{V21}/os-simple-tenant-usage"
    everybody = ok(admin.get(f"{url}?start={iso(-2)}&detailed=1"))["tenant_usages"]
    assert {usage["tenant_id"]: len(usage["server_usages"]) for usage in everybody} == {
        nova.known.demo_project_id: 3,
        nova.known.admin_project_id: 1,
    }
    assert "server_usages" not in ok(admin.get(f"{url}?start={iso(-2)}"))["tenant_usages"][0]
    seen, following = set(), f"{url}/{nova.known.demo_project_id}?start={iso(-2)}&limit=2"
    while following:
        page = ok(admin.get(following))
        seen |= {server["instance_id"] for server in page["tenant_usage"].get("server_usages", [])}
        links = page.get("tenant_usage_links")
        following = links[0]["href"].partition("5000")[2] if links else ""
    assert seen == mine
    probe = f"{url}/{nova.known.demo_project_id}?start={iso(-2)}&marker="
    known, unknown = (at(nova.as_user(), "2.40").get(probe + marker) for marker in (theirs.id, "nothing"))
    assert "could not be found" in refused(known, 400, "badRequest")
    assert known.status == unknown.status
    assert nova.as_user().get(url).status == 403
    assert nova.as_user().get(f"{url}/{nova.known.admin_project_id}").status == 403


@pytest.mark.parametrize("query", ["start=yesterday", "start=2026-01-02T00:00:00&end=2026-01-01T00:00:00"])
def test_a_period_that_is_none_is_refused(nova: Cloud, query: str) -> None:
    answer = nova.as_user().get(f"{V21}/os-simple-tenant-usage/{nova.known.demo_project_id}?{query}")
    assert "nvalid" in refused(answer, 400, "badRequest")


def test_a_project_that_used_nothing_has_an_empty_usage(nova: Cloud) -> None:
    url = f"{V21}/os-simple-tenant-usage/{nova.known.demo_project_id}"
    assert ok(nova.as_user().get(url)) == {"tenant_usage": {}}
