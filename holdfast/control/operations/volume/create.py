"""Create a volume: blank, from an image, from a snapshot, or from another volume.

    place  give it a host: the one that has what it is a copy of, or the one with the most room
    make   wait until its host has made the file
    ready  it may be used

A blank volume has nothing that could be in the wrong place: where there are several hosts it gets its host when
it is first used, so that it can be attached to a server on any of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.base import ids
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import VOLUME_GIB, VOLUME_MAKE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work
from holdfast.control.operations.image import image_source
from holdfast.control.operations.volume.files import MAKE, READY, act_insert, fail, volume_of, volume_place
from holdfast.control.store.database import Tx
from holdfast.control.store.host import hosts_list
from holdfast.control.store.image import image_visible
from holdfast.control.store.quota import quota_limits, quota_require
from holdfast.control.store.volume.rows import (
    row_insert,
    snapshot_fetch,
    snapshot_usage,
    volume_fetch,
    volume_usage,
)
from holdfast.domain.credentials import Credentials
from holdfast.domain.image import Image, Status
from holdfast.domain.volume import Snapshot, Volume, VolumeState

GIB = 1 << 30


class VolumeWanted(msgspec.Struct, frozen=True):
    """What a caller asks for: at most one source. Without a size it is the source's."""

    name: str = ""
    description: str = ""
    size_gib: int = 0
    zone: str = ""
    image_id: str = ""
    snapshot_id: str = ""
    source_id: str = ""
    properties: dict[str, str] = {}


def _place(work: Work) -> Outcome:
    row = volume_of(work)
    if row.host_id:
        return NEXT
    blank = row.image is None and not row.copy_of
    if blank and len(hosts_list(work.tx)) > 1:
        return Outcome("next", "on no host yet: where it is first used")
    volume_place(work, row, work.data.get("beside", ""))
    return NEXT


CREATE = Act("volume_create", (Step("place", _place), MAKE, READY), fail, VOLUME_MAKE_S)


def volume_create_begin(tx: Tx, wanted: VolumeWanted, credentials: Credentials, request_id: str) -> Volume:
    """Accept a volume; raises and takes nothing when it cannot be."""
    if sum(map(bool, (wanted.image_id, wanted.snapshot_id, wanted.source_id))) > 1:
        raise BadInput("A volume is made from one of an image, a snapshot and a volume, or from nothing.")
    if wanted.zone and wanted.zone not in {host.zone for host in hosts_list(tx)}:
        raise BadInput(f"Availability zone '{wanted.zone[:64]}' is invalid.")
    origin = _origin(tx, wanted, credentials)
    least_gib, beside = origin.pop("least_gib"), origin.pop("beside")
    size_gib = wanted.size_gib or least_gib
    if not size_gib:
        raise BadInput("Invalid input received: 'size' must be specified for a volume that is made from nothing.")
    if size_gib < least_gib:
        raise BadInput(
            f"Invalid input received: Volume size '{size_gib}'GB cannot be smaller than its source: {least_gib}GB."
        )
    _quota(tx, credentials.project_id, size_gib)
    row = Volume(
        id=ids.new_id(),
        project_id=credentials.project_id,
        user_id=credentials.user_id,
        name=wanted.name,
        description=wanted.description,
        state=VolumeState.CREATING,
        host_id="",
        size_gib=size_gib,
        present=True,
        made=False,
        generation=1,
        revision=0,  # no host has it yet: its first host comes with a revision
        properties=wanted.properties,
        fault="",
        created_us=tx.now_us,
        updated_us=tx.now_us,
        **origin,
    )
    row_insert(tx, row)
    act_insert(tx, CREATE, row, credentials.user_id, request_id, beside=beside)
    return row


def _quota(tx: Tx, project_id: str, size_gib: int) -> None:
    volumes, volume_gib = volume_usage(tx, project_id)
    quota_require(tx, project_id, "volumes", volumes)
    quota_gigabytes(tx, project_id, size_gib, volume_gib)
    volume_size_require(tx, project_id, size_gib)


def quota_gigabytes(tx: Tx, project_id: str, more_gib: int, volume_gib: int | None = None) -> None:
    """Raise QuotaExceeded unless so many GiB more still fit; volumes and snapshots count alike."""
    used = volume_usage(tx, project_id)[1] if volume_gib is None else volume_gib
    quota_require(tx, project_id, "gigabytes", used + snapshot_usage(tx, project_id)[1], more_gib)


def volume_size_require(tx: Tx, project_id: str, size_gib: int) -> None:
    """Raise BadInput for a size that one volume may not have."""
    if not 1 <= size_gib <= VOLUME_GIB:
        raise BadInput(f"Invalid input received: a volume has 1 to {VOLUME_GIB} GB, not {size_gib}.")
    limit = quota_limits(tx, project_id)["per_volume_gigabytes"]
    if 0 <= limit < size_gib:
        raise BadInput(f"Invalid input received: a volume of this project has at most {limit} GB, not {size_gib}.")


def _origin(tx: Tx, wanted: VolumeWanted, credentials: Credentials) -> dict[str, Any]:
    """The fields that say where its data comes from, and two that are no fields: what it must hold, and beside what."""
    fields: dict[str, Any] = {"beside": "", "zone": wanted.zone, "bootable": False, "image": None, "image_words": {}}
    fields |= {"copy_of": "", "snapshot_id": "", "source_id": "", "least_gib": 0}
    if wanted.image_id:
        return fields | _from_image(tx, wanted.image_id, credentials)
    if wanted.snapshot_id:
        return fields | _from_snapshot(tx, wanted.snapshot_id, credentials)
    return fields | (_from_volume(tx, wanted.source_id, credentials) if wanted.source_id else {})


def _from_image(tx: Tx, image_id: str, credentials: Credentials) -> dict[str, Any]:
    try:
        image = image_visible(tx, image_id, credentials)
    except NotFound as err:
        raise BadInput(f"Invalid image identifier or unable to access requested image {image_id[:64]}.") from err
    if image.status is not Status.ACTIVE:
        raise BadInput(f"Invalid input received: image {image.id} is {image.status}, not active.")
    if image.disk_format in ("aki", "ari"):
        raise BadInput(f"Invalid input received: image {image.id} is a kernel or ramdisk, no disk.")
    least_gib = max(-(-image.virtual_bytes // GIB), image.min_disk_gib, 1)
    return {"image": image_source(image), "image_words": _words(image), "bootable": True, "least_gib": least_gib}


def _words(image: Image) -> dict[str, str]:
    """What Cinder keeps of an image beside the volume."""
    kept = {"image_id": image.id, "image_name": image.name, "checksum": image.md5, "size": str(image.size_bytes)}
    kept |= {"disk_format": image.disk_format, "container_format": image.container_format}
    kept |= {"min_disk": str(image.min_disk_gib), "min_ram": str(image.min_ram_mib)}
    return {**image.properties, **kept}


def _from_snapshot(tx: Tx, snapshot_id: str, credentials: Credentials) -> dict[str, Any]:
    row = snapshot_fetch(tx, snapshot_id)
    if row is None or not _owned(row, credentials):
        raise NotFound(f"Snapshot {snapshot_id[:64]} could not be found.")
    if row.state is not VolumeState.AVAILABLE:
        raise BadInput(f"Invalid snapshot: Originating snapshot status must be available, but is {row.state}.")
    volume = volume_fetch(tx, row.volume_id)
    return _copied(row, volume) | {"copy_of": row.id, "snapshot_id": row.id, "beside": row.host_id}


def _from_volume(tx: Tx, source_id: str, credentials: Credentials) -> dict[str, Any]:
    row = volume_fetch(tx, source_id)
    if row is None or not _owned(row, credentials):
        raise NotFound(f"Volume {source_id[:64]} could not be found.")
    if row.state is not VolumeState.AVAILABLE:
        raise BadInput(f"Invalid volume: the source volume's status must be available, but is {row.state}.")
    copy_of = row.id if row.host_id else ""  # one that was never anywhere is nothing but zeros
    return _copied(row, row) | {"copy_of": copy_of, "source_id": row.id, "beside": row.host_id}


def _copied(row: Volume | Snapshot, volume: Volume | None) -> dict[str, Any]:
    words: dict[str, Any] = {"least_gib": row.size_gib}
    if volume is not None:
        words |= {"bootable": volume.bootable, "image_words": volume.image_words, "zone": volume.zone}
    return words


def _owned(row: Volume | Snapshot, credentials: Credentials) -> bool:
    """Another project's data is copied by nobody, not even by an administrator in a project of their own."""
    return row.project_id == credentials.project_id
