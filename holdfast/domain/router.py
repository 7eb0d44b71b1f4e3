"""Routers: they join the subnets of a project and lead to an external network.

Invariant: a router's legs are ports (`network:router_interface`, `network:router_gateway`) whose `device_id` is
the router's id; only control/operations/network/router makes such ports.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.base.errors import BadInput
from holdfast.base.limits import ROUTER_ROUTES
from holdfast.domain import address as addresses
from holdfast.domain.address import invalid


class Router(msgspec.Struct, frozen=True):
    """A router, present on every host that has ports behind it."""

    id: str
    project_id: str
    name: str
    description: str
    admin_state_up: bool
    external_network_id: str  # empty: no way out
    snat: bool
    routes: list[tuple[str, str]]  # (destination, next hop)
    zone_hints: list[str]  # as its maker asked: every router is in every zone
    created_us: int
    updated_us: int
    revision: int


class Gateway(msgspec.Struct, frozen=True):
    """The way out that is asked for."""

    network_id: str
    snat: bool = True
    address: str = ""  # empty: any
    subnet_id: str = ""


def router_routes_check(routes: Sequence[tuple[str, str]], ranges: Sequence[str]) -> list[tuple[str, str]]:
    """Return canonical routes; BadInput unless each next hop is in a range that the router touches."""
    if len(routes) > ROUTER_ROUTES:
        raise invalid("routes", f"a router has at most {ROUTER_ROUTES} routes.")
    legs = [addresses.range_parse(text) for text in ranges]
    found = []
    for destination, hop in routes:
        there, by = addresses.range_parse(destination, "routes"), addresses.address_parse(hop, "routes")
        if there.version != by.version:
            raise invalid("routes", f"'{there}' and '{by}' are of different families.")
        if not any(by in leg for leg in legs):
            raise BadInput(
                f"Invalid format for routes: the nexthop {by} is not connected with router", code="InvalidRoutes"
            )
        found.append((str(there), str(by)))
    if len(set(found)) != len(found):
        raise BadInput("Invalid format for routes: a route is there twice", code="InvalidRoutes")
    return found
