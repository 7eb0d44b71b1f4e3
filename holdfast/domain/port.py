"""Ports: a card in a network, its owner words, and who may use which.

Invariant: `instance_id` is written by the compute service only. `device_id` is what the API shows and a user may
write; nothing that is plugged or released is ever decided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

DHCP = "network:dhcp"
ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
FLOATING_IP = "network:floatingip"
COMPUTE = "compute:nova"
RESERVED = "network:"  # owners that begin so belong to the network service
OWN = (ROUTER_INTERFACE, ROUTER_GATEWAY, FLOATING_IP)  # deleted with what they serve, never by themselves
AUTOMATIC = (DHCP,)  # go with the network
VNIC_TYPES = ("normal",)


class Port(msgspec.Struct, frozen=True):
    """A port. Its addresses, security groups and tags are in tables of their own."""

    id: str
    project_id: str  # empty: the network service's own
    network_id: str
    name: str
    description: str
    admin_state_up: bool
    mac: str
    device_id: str
    device_owner: str
    instance_id: str  # the machine it is plugged into; empty: none
    auto_for_instance: bool  # compute made it, and it goes with the machine
    host_id: str
    up: bool  # the host says that it carries traffic
    vnic_type: str
    profile: dict[str, Any]
    port_security: bool
    allowed_pairs: list[tuple[str, str]]  # (mac, address or range)
    dns_name: str
    created_us: int
    updated_us: int
    revision: int


class FixedAddress(msgspec.Struct, frozen=True):
    """An address that a port holds."""

    port_id: str
    subnet_id: str
    address: str


class FixedWanted(msgspec.Struct, frozen=True):
    """An address that a caller asks for: in a subnet, or exactly this one, or both."""

    subnet_id: str = ""
    address: str = ""


class PortWanted(msgspec.Struct, frozen=True):
    """What a caller asks for; None where the default is wanted."""

    project_id: str
    network_id: str
    name: str = ""
    description: str = ""
    admin_state_up: bool = True
    mac: str = ""
    fixed: Sequence[FixedWanted] | None = None
    security_groups: Sequence[str] | None = None  # ids; None: the default group
    port_security: bool | None = None  # None: as the network says
    allowed_pairs: Sequence[tuple[str, str]] = ()
    device_id: str = ""
    device_owner: str = ""
    instance_id: str = ""
    auto_for_instance: bool = False
    host_id: str = ""
    vnic_type: str = "normal"
    profile: dict[str, Any] = {}
    dns_name: str = ""
    trusted: bool = False  # the network's project and sharing were checked already


def host_name(port: Port, addresses: Sequence[str]) -> str:
    """The name that DHCP gives to the guest."""
    if port.dns_name:
        return port.dns_name
    return "host-" + addresses[0].replace(".", "-").replace(":", "-") if addresses else ""
