"""What the operator sees of public addresses: every one, its holder, and when it may be had again."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.api.operator import public_addresses
from holdfast.base.limits import ADDRESS_COOL_DOWN_S
from tests.api.network_client import admin, outside, project
from tests.conftest import Cloud


def test_each_address_is_held_cooling_or_free_and_the_pool_says_how_many(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_addresses, "PAGE_ROWS", 2)
    public, demo = outside(cloud, "172.24.4.0/28"), project(cloud)
    size = pools(cloud)["total"]
    network, subnet = demo.subnet()
    router = demo.make("router", external_gateway_info={"network_id": public["id"]})
    demo.call("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    port = demo.make("port", network_id=network["id"])
    leads = demo.make("floatingip", floating_network_id=public["id"], port_id=port["id"])
    gone, idle = (demo.make("floatingip", floating_network_id=public["id"]) for _ in range(2))
    demo.delete("floatingip", gone["id"])
    assert pools(cloud) == {"total": size, "held": 3, "cooling": 1, "free": size - 4}
    seen = addresses(cloud)
    assert {each["state"] for each in seen.values()} == {"held", "cooling"}
    held = seen[leads["floating_ip_address"]]
    assert (held["floating_ip_id"], held["port_id"], held["project"]) == (leads["id"], port["id"], "demo")
    assert held["since"].startswith(leads["created_at"].rstrip("Z"))
    assert (seen[idle["floating_ip_address"]]["port_id"], held["up"]) == ("", False)
    gateway = router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"]
    assert seen[gateway]["holder_kind"] == "network:router_gateway"
    cools = seen[gone["floating_ip_address"]]
    assert (cools["holder_id"], cools["project"], cools["state"]) == ("", "", "cooling")
    cloud.clock.advance_s(ADDRESS_COOL_DOWN_S + 1)
    assert addresses(cloud)[gone["floating_ip_address"]]["state"] == "free"
    assert pools(cloud) == {"total": size, "held": 3, "cooling": 0, "free": size - 3}


@pytest.mark.parametrize("marker", ["x", "x/10.0.0.1", "6f2a4c3e-0000-4000-8000-000000000000/x%00", "/"])
def test_a_marker_that_is_none_is_refused(cloud: Cloud, marker: str) -> None:
    answer = admin(cloud).client.get(f"/operator/v1/public-addresses?marker={marker}")
    assert answer.status == 400 and "marker" in answer.body.decode()


def page(cloud: Cloud, marker: str = "") -> dict[str, Any]:
    answer = admin(cloud).client.get(f"/operator/v1/public-addresses?marker={marker}")
    assert answer.status == 200, answer.body
    return dict(answer.json)


def pools(cloud: Cloud) -> dict[str, int]:
    (pool,) = page(cloud)["pools"]
    return {name: pool[name] for name in ("total", "held", "cooling", "free")}


def addresses(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """All of them, page after page."""
    found, marker = {}, None
    while marker != "":
        answer = page(cloud, marker or "")
        assert len(answer["addresses"]) <= 2
        found |= {each["address"]: each for each in answer["addresses"]}
        marker = answer["next"]
    return found
