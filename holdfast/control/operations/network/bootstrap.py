"""The first networks of a cloud: a public one with its pool, and one for the first project behind a router.

Each has an id that is derived from the cloud's own words, so running it again, or on two replicas at once, finds
what is there and makes only what is missing.
"""

from __future__ import annotations

from holdfast.base.ids import derived_id
from holdfast.control.operations.network.network import network_create, subnet_create
from holdfast.control.operations.network.router import router_create, router_interface_add
from holdfast.control.operations.network.security_group import security_group_default
from holdfast.control.store.database import Tx
from holdfast.control.store.network.network import network_fetch
from holdfast.control.store.network.router import router_fetch
from holdfast.control.store.network.subnet import subnet_fetch
from holdfast.domain.network import NetworkWanted, SubnetWanted
from holdfast.domain.router import Gateway

NAMESPACE = "6b0f6a0e-3d6b-4d2c-9c43-6a8a3d2f7a10"  # of the ids below; never change it


def network_bootstrap(
    tx: Tx, *, admin_project_id: str, demo_project_id: str, public_cidr: str, private_cidr: str
) -> None:
    """Make the networks `public` and `private`, their subnets, and the router between them; there: nothing.

    `public` belongs to the administrators' project; its gateway is the first address and the rest is its pool.
    """
    outside = _id("public", "")
    if network_fetch(tx, outside) is None:
        wanted = NetworkWanted(admin_project_id, "public", external=True, is_default=True)
        network_create(tx, wanted, outside)
    if subnet_fetch(tx, _id("public-subnet", "")) is None:
        ranges = SubnetWanted(admin_project_id, outside, public_cidr, name="public-subnet", dhcp=False)
        subnet_create(tx, ranges, _id("public-subnet", ""))
    _project(tx, demo_project_id, outside, private_cidr)


def _project(tx: Tx, project_id: str, outside: str, private_cidr: str) -> None:
    inside, ranges, way = (_id(word, project_id) for word in ("private", "private-subnet", "router"))
    security_group_default(tx, project_id)
    if network_fetch(tx, inside) is None:
        network_create(tx, NetworkWanted(project_id, "private"), inside)
        subnet_create(tx, SubnetWanted(project_id, inside, private_cidr, name="private-subnet"), ranges)
    if router_fetch(tx, way) is None:
        router = router_create(tx, project_id, "router", gateway=Gateway(outside), router_id=way)
        router_interface_add(tx, router, ranges)


def _id(word: str, project_id: str) -> str:
    return derived_id(NAMESPACE, f"{word} {project_id}".strip())
