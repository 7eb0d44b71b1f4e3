"""The ports of instances: what the compute service and EC2 ask for. All of it may be repeated.

Invariant: only these functions write `instance_id`, and a released instance holds no port and no address that was
made for it; what its owner made stays the owner's, unplugged.
"""

from __future__ import annotations

from holdfast.base.errors import Conflict
from holdfast.control.operations.network.port import (
    floating_ips_let_go,
    floating_ips_unseen,
    port_changed,
    port_moved,
    port_refetch,
    ports_forget,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.network.floating_ip import floating_ips_of_ports
from holdfast.control.store.network.port import (
    PORTS,
    port_fetch,
    ports_of_instance_ids,
    ports_on_host,
)
from holdfast.control.store.network.query import object_update
from holdfast.domain.network import missing
from holdfast.domain.port import COMPUTE, Port


def port_bind(tx: Tx, port_id: str, instance_id: str, owner: str = COMPUTE, host_id: str = "") -> Port:
    """Plug a port into an instance, on a host if it has one by now; Conflict when another device has it."""
    port = port_fetch(tx, port_id)
    if port is None:
        raise missing("Port", port_id)
    if (port.instance_id or port.device_id) not in ("", instance_id):
        message = f"Unable to complete operation on port {port.id} for network {port.network_id}. Port already has an "
        raise Conflict(message + f"attached device {port.device_id}.", code="PortInUse")
    bound = {"instance_id": instance_id, "device_id": instance_id, "device_owner": owner, "host_id": host_id}
    if all(getattr(port, name) == value for name, value in bound.items()):
        return port
    object_update(tx, PORTS, port.id, {**bound, "up": False})
    after = port_refetch(tx, port)
    port_moved(tx, after)
    return after


def instance_ports_move(tx: Tx, instance_id: str, host_id: str) -> None:
    """Say that the instance's ports are on this host now; empty: on none."""
    for port in ports_of_instance_ids(tx, [instance_id]):
        if port.host_id != host_id:
            if port.host_id:
                port_moved(tx, port)
            object_update(tx, PORTS, port.id, {"host_id": host_id, "up": False})
            floating_ips_unseen(tx, floating_ips_of_ports(tx, [port.id]))
            if host_id:
                port_moved(tx, port_refetch(tx, port))


def instance_ports_observed(tx: Tx, instance_id: str, up: bool) -> None:
    """Write down whether the instance's ports carry traffic: its machine runs on its host, or it does not."""
    for port in ports_of_instance_ids(tx, [instance_id]):
        if port.up != up:
            object_update(tx, PORTS, port.id, {"up": up})


def host_ports_unseen(tx: Tx, host_id: str) -> None:
    """Say that nothing on a host is seen to work any more: it does not report. Repeating is nothing."""
    ports = ports_on_host(tx, host_id)
    for port in ports:
        if port.up:
            object_update(tx, PORTS, port.id, {"up": False})
    floating_ips_unseen(tx, floating_ips_of_ports(tx, [port.id for port in ports]))


def port_unbind(tx: Tx, port_id: str) -> None:
    """Unplug a port; it keeps its addresses. Gone or free already: nothing."""
    port = port_fetch(tx, port_id)
    if port is None or not port.instance_id:
        return
    floating_ips_let_go(tx, [port.id], staying=True)
    floating_ips_unseen(tx, floating_ips_of_ports(tx, [port.id]))
    port_moved(tx, port)
    free = {"instance_id": "", "device_id": "", "device_owner": "", "host_id": "", "up": False}
    object_update(tx, PORTS, port.id, free)
    port_changed(tx, port.instance_id)


def instance_ports_release(tx: Tx, instance_id: str) -> None:
    """Let go of everything that the instance holds: its own ports and what was made for it. Repeating is nothing."""
    ports = ports_of_instance_ids(tx, [instance_id])
    ports_forget(tx, [port for port in ports if port.auto_for_instance])
    for port in ports:
        if not port.auto_for_instance:
            port_unbind(tx, port.id)
