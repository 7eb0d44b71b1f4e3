"""Floating addresses: public addresses that lead to a fixed address of a port.

    free --associate--> pending --observed up--> carrying
      ^                    | ^                      |
      |                    | '-----observed down----'
      '----disassociate----'

The state is computed from columns (`port_id`, `up`); ACTIVE is shown only for what a host has seen to carry
traffic (seed 000: an address that was "not really public").
"""

from __future__ import annotations

import msgspec


class FloatingIp(msgspec.Struct, frozen=True):
    """A public address of a project."""

    id: str
    project_id: str
    description: str
    network_id: str
    address: str
    port_id: str  # empty: free
    fixed: str
    router_id: str
    auto_for_instance: bool  # made for a server on its way up: released with it
    request_key: str  # whoever repeats a request gets the address of the first one; empty: none
    up: bool
    reason: str  # why it is not up, from the host
    created_us: int
    updated_us: int
    revision: int


class FloatingWanted(msgspec.Struct, frozen=True):
    """What a caller asks for."""

    project_id: str
    network_id: str
    port_id: str = ""
    fixed: str = ""  # empty: the port's only one
    address: str = ""  # empty: any
    subnet_id: str = ""
    description: str = ""
    auto_for_instance: bool = False
    request_key: str = ""
    any_project: bool = False  # an administrator may name another project's port


def status(floating_ip: FloatingIp) -> str:
    """The API's word."""
    return "ACTIVE" if floating_ip.port_id and floating_ip.up else "DOWN"
