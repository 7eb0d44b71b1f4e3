"""Hosts as Nova shows them: hypervisors, services, availability zones, os-hosts, aggregates."""

from __future__ import annotations

import pytest

from holdfast.base.limits import HOST_DOWN_S
from holdfast.control.store.fencing.host_fence import host_fence_fetch, host_fence_set
from holdfast.control.store.host import host_fetch, host_names, hosts_list
from tests.api.nova_cloud import add_host, add_server, at, nova, ok, refused
from tests.conftest import Cloud

__all__ = ["nova"]
V21 = "/compute/v2.1"


def test_a_hypervisor_is_what_its_agent_proved_and_what_is_promised_on_it(nova: Cloud) -> None:
    store, admin = nova.services.store, nova.as_user("admin", "admin")
    host_id = add_host(store, "lab1")
    server = add_server(store, nova.known.demo_project_id, host_id=host_id)
    shown = ok(at(admin, "2.87").get(f"{V21}/os-hypervisors/detail"))["hypervisors"][0]
    assert shown["id"] == host_id
    assert (shown["hypervisor_hostname"], shown["host_ip"]) == ("lab1", "192.0.2.10")
    assert (shown["state"], shown["status"]) == ("up", "enabled")
    assert (shown["hypervisor_type"], shown["hypervisor_version"]) == ("QEMU", 7_002_009)
    assert (shown["vcpus"], shown["vcpus_used"]) == (8, 2)
    assert (shown["memory_mb"], shown["memory_mb_used"]) == (16_384, 2_048 + 512)
    assert (shown["local_gb"], shown["free_disk_gb"], shown["disk_available_least"]) == (200, 180, 150)
    assert shown["running_vms"] == 1
    assert shown["cpu_info"] == {}
    slim = ok(at(admin, "2.88").get(f"{V21}/os-hypervisors/{host_id}?with_servers=true"))["hypervisor"]
    assert "vcpus" not in slim
    assert slim["uptime"] is None
    assert slim["servers"] == [{"uuid": server.id, "name": "web"}]
    sums = ok(at(admin, "2.87").get(f"{V21}/os-hypervisors/statistics"))["hypervisor_statistics"]
    assert (sums["count"], sums["vcpus"], sums["running_vms"]) == (1, 8, 1)
    assert at(admin, "2.88").get(f"{V21}/os-hypervisors/statistics").status in (400, 404)


def test_before_2_53_ids_are_numbers_and_search_has_its_own_url(nova: Cloud) -> None:
    store, admin = nova.services.store, nova.as_user("admin", "admin")
    host_id = add_host(store, "lab1")
    add_host(store, "lab2")
    listed = ok(admin.get(f"{V21}/os-hypervisors"))["hypervisors"]
    number = listed[0]["id"]
    assert type(number) is int
    one = ok(admin.get(f"{V21}/os-hypervisors/{number}"))["hypervisor"]
    assert one["hypervisor_hostname"] == "lab1"
    assert one["cpu_info"] == ""
    assert admin.get(f"{V21}/os-hypervisors/{host_id}").status == 404
    assert [h["id"] for h in ok(admin.get(f"{V21}/os-hypervisors/LAB1/search"))["hypervisors"]] == [number]
    add_server(store, nova.known.demo_project_id, host_id=host_id)
    servers = ok(admin.get(f"{V21}/os-hypervisors/lab/servers"))["hypervisors"]
    assert ["servers" in h for h in servers] == [True, False]
    assert admin.get(f"{V21}/os-hypervisors/none/search").status == 404
    assert refused(admin.get(f"{V21}/os-hypervisors/{number}/uptime"), 501, "notImplemented")
    modern = at(admin, "2.53")
    assert modern.get(f"{V21}/os-hypervisors/{number}").status == 400
    assert modern.get(f"{V21}/os-hypervisors/lab/search").status in (400, 404)
    found = ok(modern.get(f"{V21}/os-hypervisors?hypervisor_hostname_pattern=b1&with_servers=true"))["hypervisors"]
    assert [len(h["servers"]) for h in found] == [1]
    assert modern.get(f"{V21}/os-hypervisors?hypervisor_hostname_pattern=b1&limit=1").status == 400


def test_hypervisors_are_paged_since_2_33(nova: Cloud) -> None:
    admin = nova.as_user("admin", "admin")
    for name in ("c", "a", "b"):
        add_host(nova.services.store, name)
    for version in ("2.33", "2.53", "2.96"):
        first = ok(at(admin, version).get(f"{V21}/os-hypervisors?limit=2"))
        assert [h["hypervisor_hostname"] for h in first["hypervisors"]] == ["a", "b"]
        following = first["hypervisors_links"][0]["href"].partition("5000")[2]
        assert [h["hypervisor_hostname"] for h in ok(at(admin, version).get(following))["hypervisors"]] == ["c"]
    assert at(admin, "2.53").get(f"{V21}/os-hypervisors?marker=x").status == 400


def test_a_host_that_is_silent_is_down_and_one_that_never_spoke_is_no_hypervisor(nova: Cloud) -> None:
    admin = at(nova.as_user("admin", "admin"), "2.96")
    add_host(nova.services.store, "lab1")
    add_host(nova.services.store, "lab2", reported=False)
    assert [h["state"] for h in ok(admin.get(f"{V21}/os-hypervisors"))["hypervisors"]] == ["up"]
    states = {s["host"]: s["state"] for s in ok(admin.get(f"{V21}/os-services"))["services"]}
    assert states == {"lab1": "up", "lab2": "down"}
    nova.clock.advance_s(HOST_DOWN_S + 1)
    assert [h["state"] for h in ok(admin.get(f"{V21}/os-hypervisors"))["hypervisors"]] == ["down"]


def test_a_host_is_taken_out_of_scheduling_with_a_reason_and_back(nova: Cloud) -> None:
    store, admin = nova.services.store, at(nova.as_user("admin", "admin"), "2.53")
    host_id = add_host(store, "lab1")
    url = f"{V21}/os-services/{host_id}"
    shown = ok(admin.put(url, {"status": "disabled", "disabled_reason": "new disks"}))["service"]
    assert (shown["status"], shown["disabled_reason"], shown["forced_down"]) == ("disabled", "new disks", False)
    row = store.read(lambda tx: host_fetch(tx, host_id))
    assert row is not None
    assert (row.enabled, row.disabled_reason) == (False, "new disks")
    assert ok(admin.put(url, {"status": "enabled"}))["service"]["disabled_reason"] is None
    for wrong in ({}, {"status": "off"}, {"status": "enabled", "disabled_reason": "x"}, {"status": "disabled", "x": 1}):
        assert admin.put(url, wrong).status == 400, wrong
    assert admin.put(url, {"forced_down": True}).status == 409  # it reports: it is not off, whatever anybody says
    assert admin.put(f"{V21}/os-services/lab1", {"status": "enabled"}).status == 400
    assert admin.put(f"{V21}/os-services/{host_id[:-4]}ffff", {"status": "enabled"}).status == 404


def test_before_2_53_the_verb_is_in_the_url_and_the_host_in_the_body(nova: Cloud) -> None:
    store, admin = nova.services.store, nova.as_user("admin", "admin")
    host_id = add_host(store, "lab1")
    who = {"host": "lab1", "binary": "nova-compute"}
    url = f"{V21}/os-services"
    reason = {**who, "disabled_reason": "why"}
    assert ok(admin.put(f"{url}/disable-log-reason", reason))["service"]["disabled_reason"] == "why"
    row = store.read(lambda tx: host_fetch(tx, host_id))
    assert row is not None
    assert not row.enabled
    assert ok(admin.put(f"{url}/enable", who))["service"]["status"] == "enabled"
    assert admin.put(f"{url}/disable-log-reason", who).status == 400
    assert admin.put(f"{url}/disable", {**who, "binary": "nova-conductor"}).status == 400
    assert admin.put(f"{url}/disable", {**who, "host": "lab9"}).status == 404
    assert admin.put(f"{url}/explode", who).status == 404
    assert admin.put(f"{url}/force-down", {**who, "forced_down": True}).status == 404
    assert at(admin, "2.11").put(f"{url}/force-down", {**who, "forced_down": True}).status == 409
    listed = ok(admin.get(f"{url}?host=lab1&binary=nova-compute"))["services"]
    assert type(listed[0]["id"]) is int
    assert "forced_down" not in listed[0]
    assert ok(admin.get(f"{url}?binary=nova-scheduler"))["services"] == []


def test_a_host_is_forgotten_only_when_it_holds_nothing(nova: Cloud) -> None:
    store, admin = nova.services.store, at(nova.as_user("admin", "admin"), "2.53")
    busy, idle = add_host(store, "busy"), add_host(store, "idle")
    add_server(store, nova.known.demo_project_id, host_id=busy)
    message = refused(admin.delete(f"{V21}/os-services/{busy}"), 409, "conflictingRequest")
    assert "hosting instances" in message
    store.write(lambda tx: host_fence_set(tx, idle, "sealed"))
    assert admin.delete(f"{V21}/os-services/{idle}").status == 204
    assert store.read(lambda tx: host_fence_fetch(tx, idle)) is None, "its password went with it"
    assert store.read(host_names) == {busy: "busy"}


def test_zones_are_those_of_the_hosts(nova: Cloud) -> None:
    store, demo, admin = nova.services.store, nova.as_user(), at(nova.as_user("admin", "admin"), "2.53")
    add_host(store, "lab1", zone="north")
    host_id = add_host(store, "lab2", zone="south")
    ok(admin.put(f"{V21}/os-services/{host_id}", {"status": "disabled"}))
    zones = ok(demo.get(f"{V21}/os-availability-zone"))["availabilityZoneInfo"]
    assert zones == [
        {"zoneName": "north", "zoneState": {"available": True}, "hosts": None},
        {"zoneName": "south", "zoneState": {"available": False}, "hosts": None},
    ]
    assert demo.get(f"{V21}/os-availability-zone/detail").status == 403
    detail = ok(admin.get(f"{V21}/os-availability-zone/detail"))["availabilityZoneInfo"]
    assert detail[0]["hosts"]["lab1"]["nova-compute"]["available"] is True


def test_os_hosts_is_there_before_2_43_only(nova: Cloud) -> None:
    admin = nova.as_user("admin", "admin")
    add_host(nova.services.store, "lab1")
    listed = ok(admin.get(f"{V21}/os-hosts"))["hosts"]
    assert listed == [{"host_name": "lab1", "service": "compute", "zone": "nova"}]
    total = ok(admin.get(f"{V21}/os-hosts/lab1"))["host"][0]["resource"]
    assert (total["project"], total["cpu"], total["memory_mb"]) == ("(total)", 8, 16_384)
    assert admin.get(f"{V21}/os-hosts/lab9").status == 404
    assert at(admin, "2.43").get(f"{V21}/os-hosts").status == 404


def test_aggregates_are_an_empty_list_and_say_so(nova: Cloud) -> None:
    admin = nova.as_user("admin", "admin")
    assert ok(admin.get(f"{V21}/os-aggregates")) == {"aggregates": []}
    answer = admin.post(f"{V21}/os-aggregates", {"aggregate": {"name": "fast"}})
    assert "when it joins" in refused(answer, 501, "notImplemented")
    assert "Aggregate 1 could not be found" in refused(admin.get(f"{V21}/os-aggregates/1"), 404, "itemNotFound")
    assert admin.post(f"{V21}/os-aggregates/1/action", {"add_host": {"host": "x"}}).status == 404


@pytest.mark.parametrize("url", ["os-hypervisors", "os-hypervisors/detail", "os-services", "os-aggregates", "os-hosts"])
def test_hosts_are_for_administrators(nova: Cloud, url: str) -> None:
    host_id = add_host(nova.services.store, "lab1")
    demo = nova.as_user()
    assert demo.get(f"{V21}/{url}").status == 403
    assert at(demo, "2.53").put(f"{V21}/os-services/{host_id}", {"status": "disabled"}).status == 403
    assert at(demo, "2.53").delete(f"{V21}/os-services/{host_id}").status == 403
    assert [host.enabled for host in nova.services.store.read(hosts_list)] == [True]
