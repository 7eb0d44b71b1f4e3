"""What tests of the network start from: a project's network behind a router, made through the operations."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.base.ids import new_id
from holdfast.control.operations.network.network import network_create, subnet_create
from holdfast.control.operations.network.port import port_create
from holdfast.control.operations.network.router import router_create, router_interface_add
from holdfast.control.store.database import Tx
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.domain.network import Network, NetworkWanted, Subnet, SubnetWanted
from holdfast.domain.port import Port, PortWanted
from holdfast.domain.router import Gateway, Router


@dataclass
class Site:
    """A project with a network, a subnet, a router, and the way out."""

    project_id: str
    network: Network
    subnet: Subnet
    router: Router
    outside: Network
    pool: Subnet


def make_network(tx: Tx, project_id: str, cidr: str, **more: object) -> tuple[Network, Subnet]:
    network = network_create(tx, NetworkWanted(project_id, "net"))
    return network, subnet_create(tx, SubnetWanted(project_id, network.id, cidr, **more))  # type: ignore[arg-type]


def make_site(tx: Tx, cidr: str = "10.0.0.0/24", public: str = "172.24.4.0/24") -> Site:
    project_id = new_id()
    network, subnet = make_network(tx, project_id, cidr)
    outside = network_create(tx, NetworkWanted("operators", "public", external=True))
    pool = subnet_create(tx, SubnetWanted("operators", outside.id, public, dhcp=False))
    router = router_create(tx, project_id, "router", gateway=Gateway(outside.id))
    router_interface_add(tx, router, subnet.id)
    return Site(project_id, network, subnet, router, outside, pool)


def make_port(tx: Tx, network: Network, **more: object) -> Port:
    return port_create(tx, PortWanted(network.project_id, network.id, **more))  # type: ignore[arg-type]


def address_of(tx: Tx, port: Port) -> str:
    return addresses_of_ports(tx, [port.id])[port.id][0].address
