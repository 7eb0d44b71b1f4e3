"""Every URL of the network service: not without a token, and never through to another tenant's object.

Generated from the route table: a URL that somebody adds is tested without being named here.
"""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.api.http.routes import PUBLIC, Route
from holdfast.api.network.routes import FACADE
from tests.api.network_client import PLURALS, Project, admin, other_tenant, outside, project
from tests.api.rows import everything
from tests.conftest import Cloud

GUARDED = [route for route in FACADE.routes if route.rule != PUBLIC]
WITH_OBJECT = [route for route in GUARDED if "{id}" in route.path or "{project_id}" in route.path]
BODIES: dict[str, Any] = {
    "networks": {"network": {"name": "taken"}},
    "subnets": {"subnet": {"name": "taken"}},
    "subnetpools": {"subnetpool": {"name": "taken"}},
    "ports": {"port": {"name": "taken"}},
    "routers": {"router": {"name": "taken"}},
    "floatingips": {"floatingip": {"port_id": None}},
    "security-groups": {"security_group": {"name": "taken"}},
    "quotas": {"quota": {"network": 1}},
}


def label(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_only_discovery_is_public() -> None:
    assert {label(route) for route in FACADE.routes if route.rule == PUBLIC} == {"GET /", "GET /v2.0"}


def test_without_a_token_nothing_answers(cloud: Cloud) -> None:
    for route in GUARDED:
        path = route.path.replace("{id}", "x").replace("{project_id}", "x").replace("{tag}", "x")
        answer = cloud.client.request(route.method, f"/network{path.replace('{alias}', 'x')}")
        assert answer.status == 401, label(route)
        bad = cloud.client.as_token("forged").request(route.method, f"/network{path.replace('{alias}', 'x')}")
        assert bad.status == 401, label(route)


@pytest.fixture
def owned(cloud: Cloud) -> dict[str, str]:
    """One object of each noun, of project demo: path segment -> id."""
    demo = project(cloud)
    network, subnet = demo.subnet()
    router = demo.make("router", name="r", external_gateway_info={"network_id": outside(cloud)["id"]})
    answer = demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    assert answer.status == 200, answer.body
    port = demo.make("port", network_id=network["id"])
    gateway = router["external_gateway_info"]["network_id"]
    floating = demo.make("floatingip", floating_network_id=gateway, port_id=port["id"])
    group = demo.make("security_group", name="g")
    rule = demo.make("security_group_rule", security_group_id=group["id"], direction="ingress", protocol="tcp")
    for path, made in (("networks", network), ("ports", port)):
        assert demo.call("PUT", f"{path}/{made['id']}/tags/x").status == 201
    return {
        "networks": network["id"],
        "subnets": subnet["id"],
        "subnetpools": demo.make("subnetpool", prefixes=["10.0.0.0/8"])["id"],
        "ports": port["id"],
        "routers": router["id"],
        "floatingips": floating["id"],
        "security-groups": group["id"],
        "security-group-rules": rule["id"],
        "quotas": cloud.known.demo_project_id,
        "network-ip-availabilities": network["id"],
        "agents": network["id"],
    }


def test_another_tenant_gets_nothing_through_any_url_and_changes_nothing(cloud: Cloud, owned: dict[str, str]) -> None:
    stranger = other_tenant(cloud)
    stranger.list("security_group")  # makes the stranger's own default group
    before = everything(cloud)
    for route in WITH_OBJECT:
        segment = route.path.split("/")[2]
        object_id = owned[segment]
        path = route.path.replace("{id}", object_id).replace("{project_id}", object_id).replace("{tag}", "x")
        body: Any = BODIES.get(segment)
        if path.endswith(("add_router_interface", "remove_router_interface")):
            body = {"subnet_id": owned["subnets"]}
        if path.endswith("tags"):
            body = {"tags": ["taken"]}
        answer = stranger.client.request(route.method, f"/network{path}", body)
        assert answer.status in (403, 404), f"{label(route)}: {answer.status} {answer.body!r}"
        assert everything(cloud) == before, label(route)


def test_another_tenants_objects_are_not_in_any_list(cloud: Cloud, owned: dict[str, str]) -> None:
    stranger = other_tenant(cloud)
    for noun in PLURALS:
        found = {each["id"] for each in stranger.list(noun)}
        assert not found & set(owned.values()), noun


def test_another_tenants_objects_cannot_be_named_in_a_request(cloud: Cloud, owned: dict[str, str]) -> None:
    stranger = other_tenant(cloud)
    own_network, own_subnet = stranger.subnet("10.0.0.0/24")
    own_group = stranger.make("security_group", name="own")
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("port", {"network_id": owned["networks"]}),
        ("port", {"network_id": own_network["id"], "security_groups": [owned["security-groups"]]}),
        ("port", {"network_id": own_network["id"], "fixed_ips": [{"subnet_id": owned["subnets"]}]}),
        ("port", {"network_id": own_network["id"], "device_id": owned["routers"]}),
        ("subnet", {"network_id": owned["networks"], "ip_version": 4, "cidr": "10.66.0.0/24"}),
        ("subnet", {"network_id": own_network["id"], "ip_version": 4, "subnetpool_id": owned["subnetpools"]}),
        ("router", {"external_gateway_info": {"network_id": owned["networks"]}}),
        ("floatingip", {"floating_network_id": owned["networks"]}),
        ("security_group_rule", {"security_group_id": owned["security-groups"], "direction": "ingress"}),
        (
            "security_group_rule",
            {
                "security_group_id": own_group["id"],
                "direction": "ingress",
                "remote_group_id": owned["security-groups"],
            },
        ),
    ]
    before = everything(cloud)
    for noun, attributes in attempts:
        status, _ = stranger.refused(noun, **attributes)
        assert status in (400, 403, 404, 409), (noun, attributes)
        assert everything(cloud) == before, (noun, attributes)
    router = stranger.make("router")
    for body in ({"subnet_id": owned["subnets"]}, {"port_id": owned["ports"]}):
        assert stranger.call("PUT", f"routers/{router['id']}/add_router_interface", body).status == 404
    port = stranger.make("port", network_id=own_network["id"])
    answer = stranger.call("PUT", f"ports/{port['id']}", {"port": {"security_groups": [owned["security-groups"]]}})
    assert answer.status == 404
    assert own_subnet["id"]


def test_a_tenant_may_not_set_what_belongs_to_the_operator(cloud: Cloud) -> None:
    """NET-14, OSSA-2015-018, OSSA-2014-008."""
    demo = project(cloud)
    outside(cloud)
    network, subnet = demo.subnet()
    shared = admin(cloud).make("network", name="shared", shared=True)
    admin(cloud).make("subnet", network_id=shared["id"], ip_version=4, cidr="10.3.0.0/24")
    refused: list[tuple[str, dict[str, Any]]] = [
        ("network", {"shared": True}),
        ("network", {"router:external": True}),
        ("network", {"provider:network_type": "vxlan", "provider:segmentation_id": 5}),
        ("network", {"project_id": cloud.known.admin_project_id}),
        ("port", {"network_id": network["id"], "device_owner": "network:router_interface"}),
        ("port", {"network_id": network["id"], "device_owner": "network:dhcp"}),
        ("port", {"network_id": network["id"], "binding:host_id": "h1"}),
        ("port", {"network_id": network["id"], "binding:profile": {"a": 1}}),
        ("port", {"network_id": network["id"], "project_id": cloud.known.admin_project_id}),
        ("port", {"network_id": shared["id"], "port_security_enabled": False}),
        ("port", {"network_id": shared["id"], "mac_address": "fa:16:3e:00:00:01"}),
        ("port", {"network_id": shared["id"], "fixed_ips": [{"ip_address": "10.3.0.9"}]}),
        ("port", {"network_id": shared["id"], "allowed_address_pairs": [{"ip_address": "10.3.0.9"}]}),
        ("subnet", {"network_id": shared["id"], "ip_version": 4, "cidr": "10.4.0.0/24"}),
        ("router", {"ha": True}),
        ("subnetpool", {"prefixes": ["10.0.0.0/8"], "shared": True}),
    ]
    for noun, attributes in refused:
        status, kind = demo.refused(noun, **attributes)
        assert (status, kind) == (403, "PolicyNotAuthorized"), (noun, attributes)
    port = demo.make("port", network_id=shared["id"])
    for attributes in (
        {"port_security_enabled": False},
        {"allowed_address_pairs": [{"ip_address": "0.0.0.0/0"}]},
        {"fixed_ips": [{"ip_address": "10.3.0.9"}]},
        {"device_owner": "network:router_gateway"},
        {"binding:host_id": "h"},
    ):
        assert demo.call("PUT", f"ports/{port['id']}", {"port": attributes}).status == 403, attributes
    assert demo.call("PUT", f"networks/{network['id']}", {"network": {"shared": True}}).status == 403
    assert demo.call("PUT", f"networks/{shared['id']}", {"network": {"name": "mine"}}).status == 403
    for path in ("tags", "tags/x"):
        assert demo.call("PUT", f"networks/{shared['id']}/{path}", {"tags": ["x"]}).status == 403, path
    for query in ("ports?binding:host_id=h1", "networks?provider:segmentation_id=5", "ports?sort_key=binding:host_id"):
        assert demo.call("GET", query).status == 403, query
    assert "provider:segmentation_id" not in demo.show("network", network["id"])
    assert subnet["id"]


def test_a_port_of_another_project_in_my_network_is_mine_to_see_but_not_to_use(cloud: Cloud) -> None:
    demo, stranger = project(cloud), other_tenant(cloud)
    network, _ = demo.subnet()
    theirs = stranger.make("router")["project_id"]
    port = admin(cloud).make("port", network_id=network["id"], project_id=theirs)
    assert demo.show("port", port["id"])["project_id"] == theirs
    router = demo.make("router")
    body = {"port_id": port["id"]}
    assert demo.call("PUT", f"routers/{router['id']}/add_router_interface", body).status == 404
    assert demo.call("DELETE", f"ports/{port['id']}").status == 403
    assert demo.call("PUT", f"ports/{port['id']}", {"port": {"name": "mine"}}).status == 403
    demo.list("security_group")
    assert demo.refused("floatingip", floating_network_id=outside(cloud)["id"], port_id=port["id"])[0] == 404


def test_a_reader_reads_and_changes_nothing(cloud: Cloud, owned: dict[str, str]) -> None:
    reader = reader_of_demo(cloud)
    assert reader.show("network", owned["networks"])["id"] == owned["networks"]
    before = everything(cloud)
    for route in WITH_OBJECT:
        segment = route.path.split("/")[2]
        if route.method == "GET" or segment == "agents":
            continue
        path = route.path.replace("{id}", owned[segment]).replace("{project_id}", owned[segment])
        answer = reader.client.request(route.method, f"/network{path.replace('{tag}', 'x')}", BODIES.get(segment))
        assert answer.status == 403, label(route)
    assert reader.refused("network", name="n")[0] == 403
    assert everything(cloud) == before


def reader_of_demo(cloud: Cloud) -> Project:
    identity = cloud.as_user("admin", "admin")
    user = identity.post(
        "/identity/v3/users", {"user": {"name": "reader", "password": "reader-pw", "domain_id": "default"}}
    ).json["user"]
    role = cloud.known.role_ids["reader"]
    path = f"/identity/v3/projects/{cloud.known.demo_project_id}/users/{user['id']}/roles/{role}"
    assert identity.put(path).status == 204
    methods = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": "reader-pw"}}}
    scope = {"project": {"id": cloud.known.demo_project_id}}
    token = cloud.client.post("/identity/v3/auth/tokens", {"auth": {"identity": methods, "scope": scope}})
    return Project(cloud.client.as_token(token.headers["x-subject-token"]))
