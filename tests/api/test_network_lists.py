"""Lists of the network service: filters, order, pages, fields; and what is the same for every noun."""

from __future__ import annotations

import itertools
from urllib.parse import urlparse

import pytest

from holdfast.base.limits import HOST_DOWN_S
from holdfast.control.store.database import Database
from tests.api.network_client import BASE, PLURALS, admin, error_of, outside, project
from tests.api.nova_cloud import add_host
from tests.conftest import Cloud


def test_discovery_needs_neither_token_nor_store(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(Database, "read", away)
    monkeypatch.setattr(Database, "write", away)
    versions = cloud.client.get("/network/")
    assert versions.status == 200
    assert versions.json["versions"][0]["id"] == "v2.0"
    assert cloud.client.get("/network/v2.0").status == 200


def test_a_listed_extension_can_be_shown_and_another_is_not_there(cloud: Cloud) -> None:
    demo = project(cloud)
    aliases = [each["alias"] for each in demo.call("GET", "extensions").json["extensions"]]
    assert {"router", "security-group", "external-net", "revision-if-match", "standard-attr-tag"} <= set(aliases)
    for alias in aliases:
        assert demo.call("GET", f"extensions/{alias}").json["extension"]["alias"] == alias
    assert demo.call("GET", "extensions/qos").status == 404


def test_pages_hold_each_object_once_in_both_directions(cloud: Cloud) -> None:
    demo = project(cloud)
    made = {demo.make("network", name=f"n{n % 3}")["id"] for n in range(7)}
    for query in ("limit=2", "limit=3&sort_key=name&sort_dir=desc", "limit=2&sort_key=name&sort_key=id"):
        pages, path = [], f"networks?{query}"
        while path:
            body = demo.call("GET", path).json
            pages.append([each["id"] for each in body["networks"]])
            links = {link["rel"]: link["href"] for link in body.get("networks_links", [])}
            path = links["next"].partition("/v2.0/")[2] if "next" in links else ""
            assert len(pages) < 10
        seen = [each for page in pages for each in page]
        assert set(seen) == made
        assert len(seen) == 7
        last = demo.call("GET", f"networks?{query}&marker={pages[-1][0]}&page_reverse=true").json["networks"]
        whole = [each["id"] for each in demo.list("network", query.partition("&")[2])]
        at = whole.index(pages[-1][0])
        assert [each["id"] for each in last] == whole[max(0, at - int(query[6])) : at]


def test_a_page_stays_put_when_a_row_before_it_goes(cloud: Cloud) -> None:
    demo = project(cloud)
    for n in range(6):
        demo.make("network", name=f"n{n}")
        cloud.clock.advance_s(1)
    first = demo.list("network", "limit=3")
    demo.delete("network", first[0]["id"])
    second = demo.list("network", f"limit=3&marker={first[2]['id']}")
    assert [each["name"] for each in first + second] == [f"n{n}" for n in range(6)]


def test_filters_are_any_attribute_repeated_and_boolean(cloud: Cloud) -> None:
    demo = project(cloud)
    outside(cloud)
    one = demo.make("network", name="one")
    two = demo.make("network", name="two", admin_state_up=False)
    demo.make("network", name="three")
    subnet = demo.make("subnet", network_id=one["id"], ip_version=4, cidr="10.0.0.0/24")

    def names(query: str) -> set[str]:
        return {each["name"] for each in demo.list("network", query)}

    assert names("name=one&name=two") == {"one", "two"}
    assert names("admin_state_up=false") == {"two"}
    assert names("router:external=True") == {"public"}
    assert names("shared=False&router:external=false") == {"one", "two", "three"}
    assert names(f"id={two['id']}") == {"two"}
    assert names("status=ACTIVE&mtu=1450&router:external=false") == {"one", "two", "three"}
    assert names("status=DOWN") == set()
    assert names(f"subnets={subnet['id']}") == {"one"}
    assert names(f"project_id={two['project_id']}") == {"one", "two", "three"}
    for query in ("colour=red", "sort_key=colour", "admin_state_up=maybe", "limit=-1", "sort_dir=up", "name=%00"):
        assert error_of(demo.call("GET", f"networks?{query}")) == (400, "HTTPBadRequest"), query
    assert error_of(demo.call("GET", f"networks?marker={subnet['id']}"))[0] == 404


def test_ports_are_found_by_address_subnet_group_and_device(cloud: Cloud) -> None:
    demo = project(cloud)
    network, subnet = demo.subnet()
    port = demo.make("port", network_id=network["id"], device_id="d1", name="p1")
    demo.make("port", network_id=network["id"], name="p2")
    address = port["fixed_ips"][0]["ip_address"]

    def names(query: str) -> set[str]:
        return {each["name"] for each in demo.list("port", query)} - {""}

    assert names(f"fixed_ips=ip_address={address}") == {"p1"}
    assert names(f"fixed_ips=ip_address={address}&fixed_ips=subnet_id={subnet['id']}") == {"p1"}
    assert names(f"fixed_ips=ip_address%3D{address},subnet_id%3D{subnet['id']}") == {"p1"}
    assert names(f"fixed_ips=subnet_id={subnet['id']}") == {"p1", "p2"}
    assert names("fixed_ips=ip_address_substr=10.0.0.") == {"p1", "p2"}
    assert names("fixed_ips=ip_address=10.0.0.99") == set()
    assert names("device_id=d1") == {"p1"}
    assert names(f"mac_address={port['mac_address'].upper()}") == {"p1"}
    assert names(f"security_groups={port['security_groups'][0]}") == {"p1", "p2"}
    assert names(f"network_id={network['id']}&status=DOWN") == {"p1", "p2"}
    assert error_of(demo.call("GET", "ports?fixed_ips=colour=red"))[0] == 400


def test_fields_choose_what_is_shown(cloud: Cloud) -> None:
    demo = project(cloud)
    network = demo.make("network", name="n")
    assert demo.list("network", "fields=id&fields=name") == [{"id": network["id"], "name": "n"}]
    shown = demo.call("GET", f"networks/{network['id']}?fields=status").json
    assert shown == {"network": {"status": "ACTIVE"}}


def test_a_name_is_a_clean_404_and_so_is_anything_else(cloud: Cloud) -> None:
    demo = project(cloud)
    demo.make("network", name="net")
    for plural in PLURALS.values():
        for wrong in ("net", "%00", "..%2f..", "x" * 300, "00000000-0000-0000-0000-000000000000"):
            status, kind = error_of(demo.call("GET", f"{plural}/{wrong}"))
            assert (status, kind.endswith("NotFound")) == (404, True), (plural, wrong)


def test_a_free_address_is_not_always_the_first_of_a_list_but_pages_keep_their_order(cloud: Cloud) -> None:
    demo = project(cloud)
    network = outside(cloud)
    for _ in range(5):
        demo.make("floatingip", floating_network_id=network["id"])
        cloud.clock.advance_s(1)
    firsts = {demo.list("floatingip")[0]["id"] for _ in range(40)}
    assert len(firsts) == 5, "every free one is first for somebody"
    stable = [tuple(each["id"] for each in demo.list("floatingip", "limit=5")) for _ in range(5)]
    assert len(set(stable)) == 1
    paged = [demo.list("floatingip", f"limit=1&marker={marker}")[0]["id"] for marker in stable[0][:4]]
    assert paged == list(stable[0][1:])


@pytest.mark.parametrize("noun", [noun for noun in PLURALS if noun != "security_group_rule"])
def test_tags_are_set_added_removed_and_filtered(cloud: Cloud, noun: str) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    network, subnet = demo.subnet()
    made = {
        "network": lambda: network,
        "subnet": lambda: subnet,
        "port": lambda: demo.make("port", network_id=network["id"]),
        "subnetpool": lambda: demo.make("subnetpool", prefixes=["10.0.0.0/16"]),
        "router": lambda: demo.make("router"),
        "floatingip": lambda: demo.make("floatingip", floating_network_id=outer["id"]),
        "security_group": lambda: demo.make("security_group", name="g"),
    }[noun]()
    path = f"{PLURALS[noun]}/{made['id']}/tags"
    assert demo.call("PUT", path, {"tags": ["b", "a", "a"]}).json == {"tags": ["a", "b"]}
    assert demo.call("PUT", f"{path}/c").status == 201
    assert demo.call("GET", f"{path}/c").status == 204
    assert demo.call("DELETE", f"{path}/b").status == 204
    assert error_of(demo.call("GET", f"{path}/b")) == (404, "TagNotFound")
    assert error_of(demo.call("DELETE", f"{path}/b")) == (404, "TagNotFound")
    assert demo.call("GET", path).json == {"tags": ["a", "c"]}
    shown = demo.show(noun, made["id"])
    assert shown["tags"] == ["a", "c"]
    assert shown["revision_number"] > made["revision_number"]
    for query, there in (("tags=a,c", 1), ("tags=a,x", 0), ("tags-any=a,x", 1), ("not-tags=a,x", 1)):
        found = [each["id"] for each in demo.list(noun, query)]
        assert (made["id"] in found) == bool(there), query
    assert made["id"] not in [each["id"] for each in demo.list(noun, "not-tags-any=a")]
    for bad in (["x" * 256], ["\n"], [7], "a", [""]):
        assert error_of(demo.call("PUT", path, {"tags": bad}))[0] == 400, bad
    assert demo.call("DELETE", path).status == 204
    assert demo.show(noun, made["id"])["tags"] == []


def test_a_revision_that_moved_on_is_412_and_changes_nothing(cloud: Cloud) -> None:
    demo = project(cloud)
    network = demo.make("network", name="old")
    stale = {"if_match": f"revision_number={network['revision_number']}"}
    demo.change("network", network["id"], description="somebody was faster")
    answer = demo.call("PUT", f"networks/{network['id']}", {"network": {"name": "new"}}, **stale)
    assert error_of(answer) == (412, "RevisionNumberConstraintFailed")
    assert error_of(demo.call("DELETE", f"networks/{network['id']}", **stale))[0] == 412
    current = demo.show("network", network["id"])
    assert current["name"] == "old"
    fresh = {"if_match": f"revision_number={current['revision_number']}"}
    assert demo.call("PUT", f"networks/{network['id']}", {"network": {"name": "new"}}, **fresh).status == 200
    assert error_of(demo.call("DELETE", f"networks/{network['id']}", if_match="whatever"))[0] == 400


def test_times_and_revisions_grow_with_changes(cloud: Cloud) -> None:
    demo = project(cloud)
    network = demo.make("network", name="n")
    cloud.clock.advance_s(5)
    changed = demo.change("network", network["id"], name="m")
    assert changed["created_at"] == network["created_at"] == "2027-01-15T08:00:00Z"
    assert changed["updated_at"] == "2027-01-15T08:00:05Z"
    assert changed["revision_number"] == network["revision_number"] + 1


def test_bulk_creates_make_all_or_none(cloud: Cloud) -> None:
    demo = project(cloud)
    network, _ = demo.subnet()
    body = {"ports": [{"network_id": network["id"], "name": f"p{n}"} for n in range(3)]}
    answer = demo.call("POST", "ports", body)
    assert answer.status == 201
    assert [each["name"] for each in answer.json["ports"]] == ["p0", "p1", "p2"]
    body["ports"].append({"network_id": network["id"], "mac_address": answer.json["ports"][0]["mac_address"]})
    assert error_of(demo.call("POST", "ports", body)) == (409, "MacAddressInUse")
    assert len(demo.list("port", "name=p0&name=p1&name=p2")) == 3
    for wrong in ({"ports": []}, {"ports": {}}, {}, {"port": []}, {"ports": [{}] * 201}, {"port": {}, "x": 1}):
        assert error_of(demo.call("POST", "ports", wrong))[0] == 400, wrong


def test_a_repeated_post_with_its_key_makes_one(cloud: Cloud) -> None:
    demo = project(cloud)
    answers = [demo.call("POST", "networks", {"network": {"name": "once"}}, idempotency_key="k").json for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(demo.list("network", "name=once")) == 1


def test_hostile_names_are_kept_or_refused_but_never_harm(cloud: Cloud) -> None:
    demo = project(cloud)
    for name in ("", "x" * 255, "ünïcödé 雪", "'; DROP TABLE network; --", "%s{}$(reboot)<b>", "a/b\\c"):
        made = demo.make("network", name=name)
        assert demo.show("network", made["id"])["name"] == name
    for name in ("x" * 256, "a\nb", "a\x00b", "\x1b[31m", 7, None, ["n"]):
        assert demo.refused("network", name=name) == (400, "HTTPBadRequest"), repr(name)
    assert demo.refused("network", colour="red") == (400, "HTTPBadRequest")
    assert demo.refused("network", status="ACTIVE") == (400, "HTTPBadRequest")
    for body in (b"{", b"[]", b"null", b'"x"', b'{"network": 1}', b'{"network": {"name": "\xff"}}', b"[" * 20_000):
        answer = demo.client.request("POST", f"{BASE}/networks", body)
        assert error_of(answer)[0] == 400, body[:20]


def test_quotas_are_shown_set_counted_and_enforced(cloud: Cloud) -> None:
    demo, operator = project(cloud), admin(cloud)
    path = f"quotas/{cloud.known.demo_project_id}"
    assert demo.call("GET", path).json["quota"] == demo.call("GET", f"{path}/default").json["quota"]
    assert operator.call("PUT", path, {"quota": {"network": 1, "floatingip": "-1"}}).json["quota"]["network"] == 1
    demo.make("network", name="n")
    assert demo.refused("network", name="m") == (409, "OverQuota")
    details = demo.call("GET", f"{path}/details").json["quota"]
    assert details["network"] == {"limit": 1, "used": 1, "reserved": 0}
    assert operator.call("GET", "quotas").json["quotas"][0]["project_id"] == cloud.known.demo_project_id
    for bad in ({"network": "many"}, {"network": -2}, {"colour": 1}, {"network": 2**40}):
        assert error_of(operator.call("PUT", path, {"quota": bad}))[0] == 400, bad
    assert demo.call("PUT", path, {"quota": {"network": 9}}).status == 403
    assert operator.call("DELETE", path).status == 204
    demo.make("network", name="m")


def test_links_name_the_endpoint_that_clients_use(cloud: Cloud) -> None:
    demo = project(cloud)
    for name in ("a", "b"):
        demo.make("network", name=name)
    body = demo.call("GET", "networks?limit=1&name=a&name=b").json
    href = urlparse(body["networks_links"][0]["href"])
    assert f"{href.scheme}://{href.netloc}" == cloud.services.settings.endpoint
    assert href.path == "/network/v2.0/networks"
    assert "name=a&name=b" in href.query


def test_the_views_of_every_noun_have_the_words_that_clients_read(cloud: Cloud) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    network, subnet = demo.subnet()
    port = demo.make("port", network_id=network["id"])
    router = demo.make("router")
    floating = demo.make("floatingip", floating_network_id=outer["id"])
    every = {"id", "project_id", "tenant_id", "description", "tags", "created_at", "updated_at", "revision_number"}
    words = {
        "network": {"name", "status", "subnets", "shared", "mtu", "router:external", "port_security_enabled"},
        "subnet": {"cidr", "gateway_ip", "allocation_pools", "dns_nameservers", "host_routes", "enable_dhcp"},
        "port": {"mac_address", "fixed_ips", "device_id", "device_owner", "security_groups", "binding:vnic_type"},
        "router": {"external_gateway_info", "routes", "status", "admin_state_up"},
        "floatingip": {"floating_ip_address", "fixed_ip_address", "port_id", "router_id", "port_details", "status"},
    }
    for noun, shown in zip(words, (network, subnet, port, router, floating), strict=True):
        assert every | words[noun] <= set(shown), noun
    bound = admin(cloud).show("port", port["id"])
    assert {"binding:host_id", "binding:vif_type", "binding:vif_details", "binding:profile"} <= set(bound)


def test_availability_counts_what_is_held(cloud: Cloud) -> None:
    demo = project(cloud)
    network, _ = demo.subnet("10.0.0.0/29")
    demo.make("port", network_id=network["id"])
    shown = admin(cloud).call("GET", f"network-ip-availabilities/{network['id']}").json["network_ip_availability"]
    assert (shown["used_ips"], shown["total_ips"]) == (2, 5)
    found = admin(cloud).call("GET", "network-ip-availabilities?network_name=net").json
    assert [each["network_id"] for each in found["network_ip_availabilities"]] == [network["id"]]


def test_each_host_has_an_agent_that_is_alive_while_its_host_reports(cloud: Cloud) -> None:
    heard, silent = (
        add_host(cloud.services.store, "h1"),
        add_host(cloud.services.store, "h2", zone="east", reported=False),
    )
    alive = {each["id"]: each["alive"] for each in admin(cloud).call("GET", "agents").json["agents"]}
    assert alive == {heard: True, silent: False}
    cloud.clock.advance_s(HOST_DOWN_S + 1)
    assert not admin(cloud).call("GET", f"agents/{heard}").json["agent"]["alive"]
    found = admin(cloud).call("GET", "agents?host=h2&alive=False&fields=availability_zone").json
    assert found == {"agents": [{"availability_zone": "east"}]}
    assert project(cloud).call("GET", "agents").json == {"agents": []}
    assert project(cloud).call("GET", f"agents/{heard}").status == 403
    assert error_of(admin(cloud).call("GET", "agents?hots=h2"))[0] == 400
    assert error_of(admin(cloud).call("GET", "agents/h9"))[:2] == (404, "AgentNotFound")


def test_what_is_the_same_everywhere_is_answered(cloud: Cloud) -> None:
    demo = project(cloud)
    add_host(cloud.services.store, "h1", zone="east")
    zones = demo.call("GET", "availability_zones").json["availability_zones"]
    assert {(each["name"], each["resource"], each["state"]) for each in zones} == {
        (zone, kind, "available") for zone in ("east", "nova") for kind in ("network", "router")
    }
    for noun in ("network", "router"):
        made = demo.make(noun, name="n", availability_zone_hints=["east"])
        shown = demo.show(noun, made["id"])
        assert (shown["availability_zone_hints"], shown["availability_zones"]) == (["east"], ["east", "nova"])
        assert demo.refused(noun, availability_zone_hints=["west"])[0] == 400
        assert demo.refused(noun, availability_zone_hints=["east"] * 17)[0] == 400
    assert demo.call("GET", "service-providers").json == {"service_providers": []}
    for method, path in itertools.product(("PATCH",), ("networks", "ports")):
        assert demo.call(method, path).status == 405
    assert error_of(demo.call("GET", "address-groups"))[0] == 404
