"""Servers in Nova's words, for the microversion that was asked for.

Every field is either in this file for the versions that have it, or absent: a client must never meet a field
that its version does not have, nor miss one that it has.
"""

from __future__ import annotations

from typing import Any

from holdfast.base.clock import iso_z
from holdfast.domain import server as words
from holdfast.domain.host import veiled_host
from holdfast.domain.instance import Flavor, Instance
from holdfast.domain.server import Server
from holdfast.domain.volume import AttachedView

ROOT_DEVICE = "/dev/vda"


def links(base: str, kind: str, object_id: str) -> list[dict[str, str]]:
    """The two links that every compute resource has."""
    return [
        {"rel": "self", "href": f"{base}/compute/v2.1/{kind}/{object_id}"},
        {"rel": "bookmark", "href": f"{base}/compute/{kind}/{object_id}"},
    ]


def server_brief(server: Server, base: str) -> dict[str, Any]:
    """A server in a list without details."""
    row = server.instance
    return {"id": row.id, "name": row.name, "links": links(base, "servers", row.id)}


def server_detail(server: Server, base: str, minor: int, admin: bool) -> dict[str, Any]:
    """A server whole."""
    row = server.instance
    status = words.status(server)
    view: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "status": status,
        "tenant_id": row.project_id,
        "user_id": row.user_id,
        "metadata": row.properties,
        "hostId": veiled_host(row.project_id, server.host_name),
        "image": {"id": row.image_id, "links": links(base, "images", row.image_id)[1:]} if row.image_id else "",
        "flavor": flavor_embedded(row.flavor, base, minor),
        "created": iso_z(row.created_us),
        "updated": iso_z(row.updated_us),
        "addresses": addresses(server),
        "accessIPv4": row.access_ipv4,
        "accessIPv6": row.access_ipv6,
        "links": links(base, "servers", row.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": row.zone or row.zone_asked.partition(":")[0],
        "config_drive": "True" if row.config_drive else "",
        "key_name": row.key_name or None,
        "OS-SRV-USG:launched_at": _instant(row.launched_us),
        "OS-SRV-USG:terminated_at": _instant(row.terminated_us),
        "OS-EXT-STS:task_state": words.task_state(server),
        "OS-EXT-STS:vm_state": words.vm_state(server),
        "OS-EXT-STS:power_state": words.power_state(server),
        "os-extended-volumes:volumes_attached": [_volume(volume, minor) for volume in server.volumes],
    }
    if server.groups:
        view["security_groups"] = [{"name": name} for name in server.groups]
    if status in ("ACTIVE", "BUILD", "REBUILD"):
        view["progress"] = 100 if status == "ACTIVE" else 0
    if row.fault and status in ("ERROR", "DELETED"):
        view["fault"] = {"code": row.fault.code, "created": iso_z(row.fault.at_us), "message": row.fault.message}
    _by_version(view, server, minor)
    if admin:
        _for_admins(view, server, minor)
    return view


def _volume(volume: AttachedView, minor: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": volume.volume_id}
    return shown | ({"delete_on_termination": volume.delete_on_termination} if minor >= 3 else {})


def _by_version(view: dict[str, Any], server: Server, minor: int) -> None:
    row = server.instance
    if minor >= 9:
        view["locked"] = row.is_locked
    if minor >= 19:
        view["description"] = row.description or None
    if minor >= 26:
        view["tags"] = row.tags
    if minor >= 63:
        view["trusted_image_certificates"] = None
    if minor >= 73:
        view["locked_reason"] = row.locked or None
    if minor >= 90:
        view["OS-EXT-SRV-ATTR:hostname"] = row.hostname
    if minor >= 96:
        view["pinned_availability_zone"] = row.zone_asked.partition(":")[0] or None


def _for_admins(view: dict[str, Any], server: Server, minor: int) -> None:
    row = server.instance
    view["OS-EXT-SRV-ATTR:host"] = server.host_name or None
    view["OS-EXT-SRV-ATTR:hypervisor_hostname"] = server.host_name or None
    view["OS-EXT-SRV-ATTR:instance_name"] = f"instance-{row.id[:8]}"
    if minor >= 3:
        view["OS-EXT-SRV-ATTR:reservation_id"] = row.reservation_id
        view["OS-EXT-SRV-ATTR:launch_index"] = row.launch_index
        view["OS-EXT-SRV-ATTR:hostname"] = row.hostname
        view["OS-EXT-SRV-ATTR:kernel_id"] = _source_id(row, "kernel")
        view["OS-EXT-SRV-ATTR:ramdisk_id"] = _source_id(row, "ramdisk")
        view["OS-EXT-SRV-ATTR:root_device_name"] = ROOT_DEVICE
        view["OS-EXT-SRV-ATTR:user_data"] = row.user_data or None
    if minor >= 16:
        view["host_status"] = "" if not row.host_id else "UP" if server.host_up else "UNKNOWN"


def _source_id(row: Instance, name: str) -> str:
    source = row.image.get(name) or {}
    return str(source.get("id", ""))


def flavor_embedded(flavor: Flavor, base: str, minor: int) -> dict[str, Any]:
    """The flavor in a server: a link before 2.47, the server's own copy since."""
    if minor < 47:
        return {"id": flavor.id, "links": links(base, "flavors", flavor.id)[1:]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mib,
        "disk": flavor.disk_gib,
        "ephemeral": flavor.ephemeral_gib,
        "swap": flavor.swap_mib,
        "original_name": flavor.name,
        "extra_specs": flavor.extra_specs,
    }


def addresses(server: Server) -> dict[str, list[dict[str, Any]]]:
    """Addresses by the name of their network."""
    view: dict[str, list[dict[str, Any]]] = {}
    for item in server.addresses:
        view.setdefault(item.network_name, []).append(
            {
                "version": item.version,
                "addr": item.address,
                "OS-EXT-IPS:type": "floating" if item.floating else "fixed",
                "OS-EXT-IPS-MAC:mac_addr": item.mac,
            }
        )
    return view


def _instant(instant_us: int) -> str | None:
    return iso_z(instant_us).replace("Z", ".000000") if instant_us else None
