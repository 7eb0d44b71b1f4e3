"""What each noun of the network service takes and refuses, in Neutron's words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.network_client import Project, admin, error_of, other_tenant, outside, project
from tests.conftest import Cloud

ROUTER_CALLS = ("add_router_interface", "remove_router_interface")


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"cidr": "10.0.0.5/24"}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0"}, "HTTPBadRequest"),
        ({"cidr": "0.0.0.0/0"}, "HTTPBadRequest"),
        ({"cidr": "224.0.0.0/8"}, "HTTPBadRequest"),
        ({"cidr": "127.0.0.0/8"}, "HTTPBadRequest"),
        ({"cidr": "169.254.0.0/16"}, "HTTPBadRequest"),
        ({"cidr": "168.0.0.0/6"}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/33"}, "HTTPBadRequest"),
        ({"cidr": "nonsense\n"}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/24", "ip_version": 6}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/24", "ip_version": 5}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/31"}, "InvalidInput"),
        ({"cidr": "10.0.0.0/32"}, "InvalidInput"),
        ({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.1.1"}, "InvalidInput"),
        ({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.0"}, "InvalidInput"),
        ({"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.255"}, "InvalidInput"),
        (
            {"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}]},
            "GatewayConflictWithAllocationPools",
        ),
        (
            {"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.1.2", "end": "10.0.1.9"}]},
            "OutOfBoundsAllocationPool",
        ),
        (
            {"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.2"}]},
            "InvalidAllocationPool",
        ),
        (
            {
                "cidr": "10.0.0.0/24",
                "allocation_pools": [
                    {"start": "10.0.0.2", "end": "10.0.0.9"},
                    {"start": "10.0.0.9", "end": "10.0.0.12"},
                ],
            },
            "OverlappingAllocationPools",
        ),
        ({"cidr": "10.0.0.0/24", "allocation_pools": [{"start": "10.0.0.2"}]}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/24", "dns_nameservers": ["dns.example"]}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/24", "dns_nameservers": ["1.1.1.1\nserver=6.6.6.6"]}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/24", "dns_nameservers": ["1.1.1.1", "1.1.1.1"]}, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/24", "dns_nameservers": [f"1.1.1.{n}" for n in range(6)]}, "DNSNameServersExhausted"),
        ({"cidr": "10.0.0.0/24", "host_routes": [{"destination": "x", "nexthop": "10.0.0.9"}]}, "HTTPBadRequest"),
        ({"cidr": "2001:db8::/64", "ip_version": 6, "ipv6_address_mode": "magic"}, "HTTPBadRequest"),
        ({"cidr": "2001:db8::/80", "ip_version": 6, "ipv6_address_mode": "slaac"}, "InvalidInput"),
        (
            {"cidr": "2001:db8::/64", "ip_version": 6, "ipv6_address_mode": "slaac", "enable_dhcp": False},
            "InvalidInput",
        ),
        ({}, "BadRequest"),
        ({"prefixlen": 24}, "BadRequest"),
        ({"cidr": None}, "BadRequest"),
    ],
)
def test_what_is_no_subnet_is_refused(cloud: Cloud, attributes: dict[str, Any], kind: str) -> None:
    demo = project(cloud)
    network = demo.make("network", name="n")
    status, found = demo.refused("subnet", network_id=network["id"], **{"ip_version": 4, **attributes})
    assert (status, found) == (409 if kind.startswith("GatewayConflict") else 400, kind)
    assert demo.show("network", network["id"])["subnets"] == []


def test_small_ranges_without_dhcp_and_ranges_without_gateway_work(cloud: Cloud) -> None:
    demo = project(cloud)
    for cidr, count in (("10.0.0.0/32", 1), ("10.0.0.0/31", 1), ("10.0.0.0/30", 1), ("10.0.0.0/29", 5)):
        network, subnet = demo.subnet(cidr, enable_dhcp=False)
        for _ in range(count):
            demo.make("port", network_id=network["id"])
        assert demo.refused("port", network_id=network["id"]) == (409, "IpAddressGenerationFailure"), cidr
    _, subnet = demo.subnet("10.0.0.0/24", gateway_ip=None)
    assert (subnet["gateway_ip"], subnet["allocation_pools"]) == (None, [{"start": "10.0.0.1", "end": "10.0.0.254"}])
    _, middle = demo.subnet("10.0.0.0/24", gateway_ip="10.0.0.100")
    assert middle["allocation_pools"] == [
        {"start": "10.0.0.1", "end": "10.0.0.99"},
        {"start": "10.0.0.101", "end": "10.0.0.254"},
    ]


def test_subnets_that_are_cut_from_a_pool_never_meet(cloud: Cloud) -> None:
    demo = project(cloud)
    pool = demo.make("subnetpool", name="p", prefixes=["10.8.0.0/22", "10.8.4.0/22"], default_prefixlen=24)
    assert pool["prefixes"] == ["10.8.0.0/21"]
    assert (pool["ip_version"], pool["min_prefixlen"], pool["max_prefixlen"]) == (4, 8, 32)

    def cut(**more: Any) -> dict[str, Any]:
        network = demo.make("network", name="n")
        return demo.make("subnet", network_id=network["id"], ip_version=4, subnetpool_id=pool["id"], **more)

    ranges = [cut(cidr="10.8.1.0/24"), cut(prefixlen=28), cut(), cut(prefixlen=22)]
    assert [each["cidr"] for each in ranges] == ["10.8.1.0/24", "10.8.0.0/28", "10.8.2.0/24", "10.8.4.0/22"]
    assert ranges[0]["subnetpool_id"] == pool["id"]
    network = demo.make("network", name="n")
    for more, kind in (
        ({"prefixlen": 23}, (409, "SubnetAllocationError")),
        ({"cidr": "10.8.2.0/25"}, (409, "SubnetAllocationError")),
        ({"cidr": "192.168.0.0/24"}, (409, "SubnetAllocationError")),
        ({"prefixlen": 4}, (400, "MinPrefixSubnetAllocationError")),
        ({"prefixlen": 33}, (400, "MaxPrefixSubnetAllocationError")),
    ):
        body = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"], **more}
        assert demo.refused("subnet", **body) == kind, more
    assert error_of(demo.call("DELETE", f"subnetpools/{pool['id']}")) == (409, "SubnetPoolDeleteError")
    less = {"subnetpool": {"prefixes": ["10.8.0.0/22"]}}
    assert error_of(demo.call("PUT", f"subnetpools/{pool['id']}", less)) == (400, "IllegalSubnetPoolPrefixUpdate")
    grown = demo.change("subnetpool", pool["id"], prefixes=["10.8.0.0/20"], name="larger")
    assert (grown["prefixes"], grown["name"]) == (["10.8.0.0/20"], "larger")
    assert cut(prefixlen=23)["cidr"] == "10.8.8.0/23"


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"prefixes": []}, "HTTPBadRequest"),
        ({"prefixes": ["10.0.0.1/24"]}, "HTTPBadRequest"),
        ({"prefixes": ["10.0.0.0/8", "2001:db8::/32"]}, "PrefixVersionMismatch"),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 24, "max_prefixlen": 16}, "IllegalSubnetPoolPrefixBounds"),
        ({"prefixes": ["10.0.0.0/8"], "max_prefixlen": 64}, "IllegalSubnetPoolPrefixBounds"),
        ({"prefixes": ["10.0.0.0/8"], "address_scope_id": "x"}, "BadRequest"),
    ],
)
def test_what_is_no_subnet_pool_is_refused(cloud: Cloud, attributes: dict[str, Any], kind: str) -> None:
    assert project(cloud).refused("subnetpool", **attributes) == (400, kind)


def test_ranges_of_one_network_never_overlap_but_those_of_two_may(cloud: Cloud) -> None:
    demo = project(cloud)
    network, _ = demo.subnet("10.0.0.0/24")
    for cidr in ("10.0.0.0/24", "10.0.0.128/25", "10.0.0.0/16"):
        assert demo.refused("subnet", network_id=network["id"], ip_version=4, cidr=cidr) == (400, "InvalidInput")
    demo.make("subnet", network_id=network["id"], ip_version=4, cidr="10.0.1.0/24")
    demo.subnet("10.0.0.0/24")


def test_a_subnet_changes_its_gateway_pools_and_names(cloud: Cloud) -> None:
    demo = project(cloud)
    _, subnet = demo.subnet("10.0.0.0/24", allocation_pools=[{"start": "10.0.0.10", "end": "10.0.0.20"}])
    after = demo.change(
        "subnet",
        subnet["id"],
        name="s",
        gateway_ip="10.0.0.254",
        dns_nameservers=["1.1.1.1", "9.9.9.9"],
        host_routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.7"}],
        enable_dhcp=False,
        allocation_pools=[{"start": "10.0.0.50", "end": "10.0.0.60"}],
    )
    assert after["gateway_ip"] == "10.0.0.254"
    assert after["dns_nameservers"] == ["1.1.1.1", "9.9.9.9"]
    assert after["host_routes"] == [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.7"}]
    assert after["allocation_pools"] == [{"start": "10.0.0.50", "end": "10.0.0.60"}]
    assert demo.list("port", "device_owner=network:dhcp") == []
    assert demo.change("subnet", subnet["id"], enable_dhcp=True)["enable_dhcp"]
    (serving,) = demo.list("port", "device_owner=network:dhcp")
    assert serving["fixed_ips"][0]["ip_address"] == "10.0.0.50"
    answer = demo.call("PUT", f"subnets/{subnet['id']}", {"subnet": {"cidr": "10.1.0.0/24"}})
    assert error_of(answer) == (400, "HTTPBadRequest")


def test_what_is_in_use_is_not_deleted(cloud: Cloud) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    network, subnet = demo.subnet()
    port = demo.make("port", network_id=network["id"])
    router = demo.make("router", external_gateway_info={"network_id": outer["id"]})
    assert demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}).status == 200
    demo.make("floatingip", floating_network_id=outer["id"], port_id=port["id"])
    group = port["security_groups"][0]
    for path, kind in (
        (f"networks/{network['id']}", "NetworkInUse"),
        (f"subnets/{subnet['id']}", "SubnetInUse"),
        (f"routers/{router['id']}", "RouterInUse"),
        (f"security-groups/{group}", "SecurityGroupCannotRemoveDefault"),
    ):
        assert error_of(demo.call("DELETE", path)) == (409, kind)
    leg = demo.list("port", f"device_id={router['id']}")[0]
    assert error_of(demo.call("DELETE", f"ports/{leg['id']}")) == (409, "ServicePortInUse")
    for name in ROUTER_CALLS[1:]:
        answer = demo.call("PUT", f"routers/{router['id']}/{name}", {"subnet_id": subnet["id"]})
        assert error_of(answer) == (409, "RouterInterfaceInUseByFloatingIP")
    answer = demo.call("PUT", f"routers/{router['id']}", {"router": {"external_gateway_info": None}})
    assert error_of(answer) == (409, "RouterExternalGatewayInUseByFloatingIp")
    assert error_of(admin(cloud).call("DELETE", f"networks/{outer['id']}")) == (409, "NetworkInUse")


def test_free_floating_addresses_go_with_their_network(cloud: Cloud) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    floating = demo.make("floatingip", floating_network_id=outer["id"])
    admin(cloud).delete("network", outer["id"])
    assert demo.call("GET", f"floatingips/{floating['id']}").status == 404


def test_a_leg_of_a_router_stays_in_its_subnet(cloud: Cloud) -> None:
    demo = project(cloud)
    (_, subnet), (_, other) = demo.subnet(), demo.subnet("10.1.0.0/24")
    router = demo.make("router")
    leg = demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}).json
    same = demo.change("port", leg["port_id"], fixed_ips=[{"subnet_id": subnet["id"]}])
    assert same["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.1"}]
    for fixed in ([], [{"subnet_id": other["id"]}], [{"ip_address": "10.0.0.9"}]):
        assert error_of(demo.call("PUT", f"ports/{leg['port_id']}", {"port": {"fixed_ips": fixed}}))[0] == 400


def test_everything_can_be_deleted_in_order_and_nothing_is_left(cloud: Cloud) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    network, subnet = demo.subnet()
    port = demo.make("port", network_id=network["id"])
    router = demo.make("router", external_gateway_info={"network_id": outer["id"]})
    demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    floating = demo.make("floatingip", floating_network_id=outer["id"], port_id=port["id"])
    demo.delete("floatingip", floating["id"])
    demo.delete("port", port["id"])
    answer = demo.call("PUT", f"routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
    assert answer.status == 200
    demo.delete("router", router["id"])
    demo.delete("network", network["id"])
    admin(cloud).delete("network", outer["id"])
    assert admin(cloud).list("port") == []
    assert admin(cloud).list("subnet") == []


@pytest.mark.parametrize(
    ("attributes", "status", "kind"),
    [
        ({"fixed_ips": [{"ip_address": "10.0.9.1"}]}, 400, "InvalidIpForNetwork"),
        ({"fixed_ips": [{"ip_address": "10.0.0.255"}]}, 400, "InvalidIpForSubnet"),
        ({"fixed_ips": [{"ip_address": "10.0.0.0"}]}, 400, "InvalidIpForSubnet"),
        ({"fixed_ips": [{"ip_address": "nonsense"}]}, 400, "HTTPBadRequest"),
        ({"fixed_ips": [{"ip_address": "fe80::1%eth0"}]}, 400, "HTTPBadRequest"),
        ({"fixed_ips": [{"ip_address": "10.0.0.2"}]}, 409, "IpAddressAlreadyAllocated"),
        ({"fixed_ips": [{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9"}]}, 409, "IpAddressAlreadyAllocated"),
        ({"fixed_ips": [{"subnet_id": "00000000-0000-0000-0000-000000000000"}]}, 400, "InvalidInput"),
        ({"fixed_ips": [{"colour": "red"}]}, 400, "HTTPBadRequest"),
        ({"mac_address": "01:00:5e:00:00:01"}, 400, "HTTPBadRequest"),
        ({"mac_address": "fa:16:3e"}, 400, "HTTPBadRequest"),
        ({"security_groups": ["nosuch"]}, 404, "SecurityGroupNotFound"),
        ({"port_security_enabled": False, "security_groups": ["default"]}, 409, None),
        ({"port_security_enabled": False, "allowed_address_pairs": [{"ip_address": "10.0.0.9"}]}, 409, None),
        ({"allowed_address_pairs": [{"ip_address": "10.0.0.9"}] * 2}, 400, "DuplicateAddressPairInRequest"),
        (
            {"allowed_address_pairs": [{"ip_address": f"10.0.0.{n}"} for n in range(11)]},
            400,
            "AllowedAddressPairExhausted",
        ),
        ({"dns_name": "a\nb"}, 400, "HTTPBadRequest"),
        ({"dns_name": "a,b=c"}, 400, "HTTPBadRequest"),
        ({"binding:vnic_type": "direct"}, 400, "HTTPBadRequest"),
        ({"network_id": "nosuch"}, 404, "NetworkNotFound"),
    ],
)
def test_what_is_no_port_is_refused_and_takes_nothing(
    cloud: Cloud, attributes: dict[str, Any], status: int, kind: str | None
) -> None:
    demo = project(cloud)
    network, _ = demo.subnet()
    found = demo.refused("port", **{"network_id": network["id"], **attributes})
    assert found[0] == status
    assert kind in (None, found[1])
    assert len(demo.list("port")) == 1, "DHCP's own"


def test_a_port_changes_its_addresses_and_keeps_what_it_is_asked_to_keep(cloud: Cloud) -> None:
    demo = project(cloud)
    network, subnet = demo.subnet()
    port = demo.make("port", network_id=network["id"])
    first = port["fixed_ips"][0]
    both = demo.change("port", port["id"], fixed_ips=[first, {"ip_address": "10.0.0.50"}])
    assert [fixed["ip_address"] for fixed in both["fixed_ips"]] == [first["ip_address"], "10.0.0.50"]
    one = demo.change("port", port["id"], fixed_ips=[{"ip_address": "10.0.0.50"}])
    assert [fixed["ip_address"] for fixed in one["fixed_ips"]] == ["10.0.0.50"]
    assert demo.change("port", port["id"], fixed_ips=[])["fixed_ips"] == []
    named = demo.change(
        "port", port["id"], name="p", dns_name="Web-1", allowed_address_pairs=[{"ip_address": "10.0.0.9"}]
    )
    assert (named["name"], named["dns_name"]) == ("p", "web-1")
    assert named["allowed_address_pairs"] == [{"ip_address": "10.0.0.9", "mac_address": port["mac_address"]}]
    assert subnet["id"]


def test_routers_join_subnets_by_subnet_and_by_port(cloud: Cloud) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    one, two = demo.subnet("10.0.0.0/24"), demo.subnet("10.1.0.0/24")
    router = demo.make("router", name="r")
    path = f"routers/{router['id']}"
    answer = demo.call("PUT", f"{path}/add_router_interface", {"subnet_id": one[1]["id"]}).json
    assert {answer["subnet_id"], *answer["subnet_ids"]} == {one[1]["id"]}
    port = demo.make("port", network_id=two[0]["id"])
    assert demo.call("PUT", f"{path}/add_router_interface", {"port_id": port["id"]}).status == 200
    assert demo.show("port", port["id"])["device_owner"] == "network:router_interface"
    legs = demo.list("port", f"device_id={router['id']}")
    assert {leg["fixed_ips"][0]["ip_address"] for leg in legs} == {"10.0.0.1", port["fixed_ips"][0]["ip_address"]}
    for body, status, kind in (
        ({"subnet_id": one[1]["id"]}, 400, "BadRequest"),  # there already
        ({"port_id": port["id"]}, 409, "PortInUse"),
        ({"subnet_id": demo.subnet("10.0.0.0/16")[1]["id"]}, 400, "BadRequest"),  # overlaps
        ({"subnet_id": demo.subnet("10.7.0.0/24", gateway_ip=None)[1]["id"]}, 400, "BadRequest"),
        ({"subnet_id": "nosuch"}, 404, "SubnetNotFound"),
        ({"port_id": "nosuch"}, 404, "PortNotFound"),
        ({}, 400, "BadRequest"),
    ):
        assert error_of(demo.call("PUT", f"{path}/add_router_interface", body)) == (status, kind), body
    routes = [{"destination": "10.50.0.0/16", "nexthop": "10.1.0.77"}]
    assert demo.change("router", router["id"], routes=routes)["routes"] == routes
    away = [{"destination": "10.50.0.0/16", "nexthop": "192.0.2.1"}]
    assert error_of(demo.call("PUT", path, {"router": {"routes": away}})) == (400, "InvalidRoutes")
    answer = demo.call("PUT", f"{path}/remove_router_interface", {"port_id": port["id"]})
    assert error_of(answer) == (409, "RouterInterfaceInUseByRoute")
    more = {"router": {"routes": [{"destination": "10.51.0.0/16", "nexthop": "10.1.0.78"}]}}
    assert len(demo.call("PUT", f"{path}/add_extraroutes", more).json["router"]["routes"]) == 2
    left = demo.call("PUT", f"{path}/remove_extraroutes", {"router": {"routes": routes}}).json["router"]["routes"]
    assert left == more["router"]["routes"]
    demo.change("router", router["id"], routes=[])
    assert demo.call("PUT", f"{path}/remove_router_interface", {"port_id": port["id"]}).status == 200
    assert demo.call("GET", f"ports/{port['id']}").status == 404
    answer = demo.call("PUT", f"{path}/remove_router_interface", {"port_id": port["id"]})
    assert error_of(answer) == (404, "RouterInterfaceNotFound")
    answer = demo.call("PUT", f"{path}/remove_router_interface", {"subnet_id": two[1]["id"]})
    assert error_of(answer) == (404, "RouterInterfaceNotFoundForSubnet")
    gated = demo.change("router", router["id"], external_gateway_info={"network_id": outer["id"]})
    again = demo.change("router", router["id"], external_gateway_info={"network_id": outer["id"]})
    assert gated["external_gateway_info"] == again["external_gateway_info"]
    assert demo.change("router", router["id"], external_gateway_info={})["external_gateway_info"] is None
    for wrong, status, kind in ((one[0]["id"], 400, "BadRequest"), ("nosuch", 404, "NetworkNotFound")):
        body = {"router": {"external_gateway_info": {"network_id": wrong}}}
        assert error_of(demo.call("PUT", path, body)) == (status, kind)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"direction": "sideways"}, "HTTPBadRequest"),
        ({"ethertype": "bad"}, "HTTPBadRequest"),
        ({"protocol": "bad"}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": 256}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": -1}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": "tcp", "port_range_min": 80, "port_range_max": 79}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": 0, "port_range_max": 80}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": -16, "port_range_max": 80}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 80}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": "many"}, "HTTPBadRequest"),
        ({"port_range_min": 80, "port_range_max": 80}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "gre", "port_range_min": 1, "port_range_max": 1}, "SecurityGroupInvalidProtocolForPort"),
        ({"protocol": "icmp", "port_range_min": 256}, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_range_max": 0}, "SecurityGroupMissingIcmpType"),
        ({"protocol": "ipv6-icmp", "ethertype": "IPv4"}, "SecurityGroupEthertypeConflictWithProtocol"),
        ({"remote_ip_prefix": "10.0.0.0/33"}, "HTTPBadRequest"),
        ({"remote_ip_prefix": "2001:db8::/32"}, "SecurityGroupRuleParameterConflict"),
    ],
)
def test_what_is_no_rule_is_refused(cloud: Cloud, attributes: dict[str, Any], kind: str) -> None:
    demo = project(cloud)
    group = demo.make("security_group", name="g")
    body = {"security_group_id": group["id"], "direction": "ingress", **attributes}
    assert demo.refused("security_group_rule", **body) == (400, kind)
    assert len(demo.show("security_group", group["id"])["security_group_rules"]) == 2


def test_rules_are_stored_in_one_form_and_never_twice(cloud: Cloud) -> None:
    demo = project(cloud)
    group = demo.make("security_group", name="g")
    base = {"security_group_id": group["id"], "direction": "ingress"}
    same: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}, {"protocol": 6, "port_range_min": "22"}),
        ({"protocol": "17"}, {"protocol": "UDP"}),
        ({"remote_ip_prefix": "10.0.0.5/24"}, {"remote_ip_prefix": "10.0.0.0/24", "protocol": "any"}),
        ({"protocol": "icmp", "ethertype": "IPv6"}, {"protocol": "icmpv6", "ethertype": "ipv6"}),
        ({"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}, {"protocol": 1, "port_range_min": 8}),
    ]
    for first, second in same:
        made = demo.make("security_group_rule", **base, **first)
        again = {**first, **second}
        assert demo.refused("security_group_rule", **base, **again) == (409, "SecurityGroupRuleExists"), made
    shown = demo.list("security_group_rule", "protocol=udp")
    assert [(rule["protocol"], rule["port_range_min"]) for rule in shown] == [("17", None)], "as it was written"
    assert demo.make("security_group_rule", **base, protocol="icmp", port_range_min=8)["port_range_max"] is None
    numbered = demo.make("security_group_rule", **base, protocol=99)
    assert numbered["protocol"] == "99"
    assert demo.make("security_group_rule", **base, ethertype="IPv6", protocol=17)["protocol"] == "17"
    demo.delete("security_group_rule", numbered["id"])


def test_the_default_group_is_there_on_first_sight_and_stays(cloud: Cloud) -> None:
    demo = project(cloud)
    (group,) = demo.list("security_group")
    assert group["name"] == "default"
    rules = {(r["direction"], r["ethertype"], bool(r["remote_group_id"])) for r in group["security_group_rules"]}
    assert rules == {
        ("egress", "IPv4", False),
        ("egress", "IPv6", False),
        ("ingress", "IPv4", True),
        ("ingress", "IPv6", True),
    }
    assert demo.refused("security_group", name="default") == (409, "SecurityGroupDefaultAlreadyExists")
    answer = demo.call("PUT", f"security-groups/{group['id']}", {"security_group": {"name": "mine"}})
    assert answer.status in (400, 409)
    assert demo.refused("security_group", name="g", stateful=False) == (400, "BadRequest")


def test_a_group_that_goes_takes_the_rules_that_name_it(cloud: Cloud) -> None:
    demo = project(cloud)
    one, two = demo.make("security_group", name="one"), demo.make("security_group", name="two")
    rule = demo.make("security_group_rule", security_group_id=one["id"], direction="ingress", remote_group_id=two["id"])
    demo.delete("security_group", two["id"])
    assert demo.call("GET", f"security-group-rules/{rule['id']}").status == 404
    assert len(demo.show("security_group", one["id"])["security_group_rules"]) == 2


def with_server(demo: Project, outer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two ports behind a router."""
    network, subnet = demo.subnet()
    router = demo.make("router", external_gateway_info={"network_id": outer["id"]})
    demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    return demo.make("port", network_id=network["id"]), demo.make("port", network_id=network["id"])


def test_a_floating_address_is_not_stolen_but_moves_for_who_knows_its_revision(cloud: Cloud) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    one, two = with_server(demo, outer)
    floating = demo.make("floatingip", floating_network_id=outer["id"], port_id=one["id"])
    assert (floating["port_id"], floating["status"]) == (one["id"], "DOWN")
    path, body = f"floatingips/{floating['id']}", {"floatingip": {"port_id": two["id"]}}
    assert error_of(demo.call("PUT", path, body)) == (409, "FloatingIPPortAlreadyAssociated")
    stale = f"revision_number={floating['revision_number'] + 7}"
    assert error_of(demo.call("PUT", path, body, if_match=stale))[0] == 412
    assert demo.show("floatingip", floating["id"])["port_id"] == one["id"]
    current = f"revision_number={floating['revision_number']}"
    moved = demo.call("PUT", path, body, if_match=current).json["floatingip"]
    assert (moved["port_id"], moved["fixed_ip_address"]) == (two["id"], two["fixed_ips"][0]["ip_address"])
    same = demo.change("floatingip", floating["id"], port_id=two["id"])
    assert same["revision_number"] == moved["revision_number"], "there already: nothing"
    free = demo.change("floatingip", floating["id"], port_id=None)
    assert (free["port_id"], free["fixed_ip_address"], free["router_id"], free["port_details"]) == (None,) * 4
    back = demo.change("floatingip", floating["id"], port_id=one["id"], description="mine")
    assert (back["port_id"], back["description"]) == (one["id"], "mine")
    second = demo.make("floatingip", floating_network_id=outer["id"])
    taken = f"floatingips/{second['id']}", {"floatingip": {"port_id": one["id"]}}
    assert error_of(demo.call("PUT", *taken)) == (409, "FloatingIPPortAlreadyAssociated")
    object.__setattr__(cloud.services.settings, "allow_floating_move", True)
    assert demo.call("PUT", path, body).json["floatingip"]["port_id"] == two["id"], "as the operator wants it"
    assert other_tenant(cloud).call("PUT", path, {"floatingip": {"port_id": one["id"]}}).status == 404
    stale = f"revision_number={moved['revision_number'] - 1}"
    assert error_of(demo.call("PUT", path, {"floatingip": {"port_id": one["id"]}}, if_match=stale))[0] == 412
    demo.call("PUT", *taken)
    demo.call("PUT", path, {"floatingip": {"port_id": one["id"]}})
    assert demo.show("floatingip", floating["id"])["port_id"] == two["id"], "a fixed address has one floating address"


@pytest.mark.parametrize(
    ("attributes", "status", "kind"),
    [
        ({"port_id": "nosuch"}, 404, "PortNotFound"),
        ({"fixed_ip_address": "10.0.0.9"}, 400, "BadRequest"),
        ({"floating_network_id": "nosuch"}, 404, "NetworkNotFound"),
        ({"floating_ip_address": "172.24.4.77"}, 403, "PolicyNotAuthorized"),
        ({"floating_network_id": None}, 400, "HTTPBadRequest"),
        ({"colour": "red"}, 400, "HTTPBadRequest"),
    ],
)
def test_what_is_no_floating_address_is_refused(
    cloud: Cloud, attributes: dict[str, Any], status: int, kind: str
) -> None:
    demo = project(cloud)
    outer = outside(cloud)
    body = {"floating_network_id": outer["id"], **attributes}
    assert demo.refused("floatingip", **body) == (status, kind)
    assert admin(cloud).list("port", "device_owner=network:floatingip") == []


def test_the_operator_may_choose_an_address_and_a_number(cloud: Cloud) -> None:
    operator = admin(cloud)
    outer = outside(cloud)
    chosen = operator.make("floatingip", floating_network_id=outer["id"], floating_ip_address="172.24.4.77")
    assert chosen["floating_ip_address"] == "172.24.4.77"
    taken = operator.refused("floatingip", floating_network_id=outer["id"], floating_ip_address="172.24.4.77")
    assert taken == (409, "IpAddressAlreadyAllocated")
    number = {"provider:network_type": "vxlan", "provider:segmentation_id": 77}
    assert operator.make("network", name="n", **number)["provider:segmentation_id"] == 77
    assert operator.refused("network", name="m", **number) == (409, "TunnelIdInUse")
    for wrong in (
        {"provider:network_type": "vlan"},
        {"provider:network_type": "flat"},
        {"provider:segmentation_id": -1},
    ):
        assert operator.refused("network", name="m", **wrong)[0] == 400, wrong
    assert operator.refused("network", name="m", mtu=9000) == (400, "InvalidInput")


def test_a_network_that_others_use_is_not_taken_from_them(cloud: Cloud) -> None:
    operator, demo = admin(cloud), project(cloud)
    shared = operator.make("network", name="shared", shared=True)
    operator.make("subnet", network_id=shared["id"], ip_version=4, cidr="10.3.0.0/24")
    port = demo.make("port", network_id=shared["id"])
    answer = operator.call("PUT", f"networks/{shared['id']}", {"network": {"shared": False}})
    assert error_of(answer) == (409, "InvalidSharedSetting")
    demo.delete("port", port["id"])
    assert operator.change("network", shared["id"], shared=False)["shared"] is False
    assert demo.call("GET", f"networks/{shared['id']}").status == 404
