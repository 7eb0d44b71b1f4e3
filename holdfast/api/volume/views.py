"""Volumes, snapshots and attachments in Cinder's words. The only place of this service that knows them."""

from __future__ import annotations

from typing import Any

from holdfast.base.clock import iso_micros
from holdfast.control.store.volume.listing import VolumeWhole
from holdfast.domain.volume import TYPE_NAME, Attachment, Snapshot, VolumeState

BACKEND = TYPE_NAME  # of a host, as administrators see it: HOST@local


def status(state: VolumeState) -> str:
    """Cinder's word."""
    return "error" if state is VolumeState.FAILED else state.value


def states_of(word: str) -> tuple[VolumeState, ...]:
    """The states that have this word; none for one that there is not."""
    return tuple(state for state in VolumeState if status(state) == word)


def volume_brief(whole: VolumeWhole, base: str) -> dict[str, Any]:
    """A volume in a list without details."""
    row = whole.row
    return {"id": row.id, "name": row.name, "links": links(base, "volumes", row.id)}


def volume_detail(whole: VolumeWhole, base: str, minor: int, admin: bool) -> dict[str, Any]:
    """A volume whole."""
    row = whole.row
    view = volume_made(whole, base, minor, admin)
    view["os-vol-tenant-attr:tenant_id"] = row.project_id
    if row.image_words:
        view["volume_image_metadata"] = row.image_words
    return view


def volume_made(whole: VolumeWhole, base: str, minor: int, admin: bool) -> dict[str, Any]:
    """A volume as the answer to its creation or change shows it: less than it shows when asked for."""
    row = whole.row
    attached = whole.attachment if whole.attachment and whole.attachment.attached_us else None
    view: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description or None,
        "status": status(row.state),
        "size": row.size_gib,
        "availability_zone": row.zone or None,
        "created_at": instant(row.created_us),
        "updated_at": instant(row.updated_us),
        "attachments": [_attached(attached, whole.host_name if admin else None)] if attached else [],
        "bootable": str(row.bootable).lower(),
        "consistencygroup_id": None,
        "encrypted": False,
        "links": links(base, "volumes", row.id),
        "metadata": row.properties,
        "multiattach": False,
        "replication_status": None,
        "snapshot_id": row.snapshot_id or None,
        "source_volid": row.source_id or None,
        "user_id": row.user_id,
        "volume_type": TYPE_NAME,
    }
    if row.fault:
        view["holdfast_reason"] = row.fault
    if minor >= 13:
        view["group_id"] = None
    if minor >= 48:
        view |= {"service_uuid": None, "shared_targets": False}
    if admin:
        view |= {"migration_status": None, "os-vol-mig-status-attr:migstat": None}
        view |= {"os-vol-mig-status-attr:name_id": None}
        view["os-vol-host-attr:host"] = backend(whole.host_name)
    return view


def backend(host_name: str) -> str | None:
    """A host as Cinder names one."""
    return f"{host_name}@{BACKEND}#{BACKEND}" if host_name else None


def _attached(row: Attachment, host_name: str | None) -> dict[str, Any]:
    return {
        "id": row.volume_id,
        "attachment_id": row.id,
        "volume_id": row.volume_id,
        "server_id": row.instance_id,
        "host_name": host_name,
        "device": row.device,
        "attached_at": instant(row.attached_us),
    }


def snapshot_view(row: Snapshot, minor: int, detailed: bool = True) -> dict[str, Any]:
    """A snapshot."""
    view: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description or None,
        "volume_id": row.volume_id,
        "status": status(row.state),
        "size": row.size_gib,
        "metadata": row.properties,
        "created_at": instant(row.created_us),
        "updated_at": instant(row.updated_us),
    }
    if detailed:
        view["os-extended-snapshot-attributes:project_id"] = row.project_id
        view["os-extended-snapshot-attributes:progress"] = "100%" if row.state is VolumeState.AVAILABLE else "0%"
    if row.fault:
        view["holdfast_reason"] = row.fault
    if minor >= 14:
        view["group_snapshot_id"] = None
    if minor >= 41:
        view["user_id"] = row.user_id
    return view


def attachment_view(row: Attachment, detailed: bool) -> dict[str, Any]:
    """An attachment, as its own resource."""
    view: dict[str, Any] = {
        "id": row.id,
        "volume_id": row.volume_id,
        "instance": row.instance_id,
        "status": "attached" if row.attached_us else "attaching",
    }
    if detailed:
        view |= {"attached_at": instant(row.attached_us), "detached_at": None, "attach_mode": "rw"}
        view["connection_info"] = {}
    return view


def links(base: str, kind: str, object_id: str) -> list[dict[str, str]]:
    """The two links that Cinder gives."""
    return [
        {"rel": "self", "href": f"{base}/volume/v3/{kind}/{object_id}"},
        {"rel": "bookmark", "href": f"{base}/volume/{kind}/{object_id}"},
    ]


def instant(instant_us: int) -> str | None:
    """Cinder's times have no zone: they are UTC."""
    return iso_micros(instant_us).rstrip("Z") if instant_us else None
