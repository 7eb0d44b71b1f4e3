"""Images: what one is, what it may become, and who sees it. Pure.

The bytes of an image are written once. An upload is an attempt with a name of its own; only the attempt that
the row names may finish, so two uploads never mix and a killed one is recognised by its file.

    queued --upload--> saving --finish--> active <--reactivate-- deactivated
      ^                  |  |                '-----deactivate-----^
      '-----give_up------'  '--refuse--> killed     the content is not what it claims to be
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from holdfast.domain.credentials import Credentials


class Status(StrEnum):
    """Where an image is in its life; Glance's words are the same."""

    QUEUED = "queued"  # a row without bytes
    SAVING = "saving"  # an upload is writing the file that the row names
    ACTIVE = "active"  # the bytes are on disk, inspected, and never change
    KILLED = "killed"  # the bytes were refused and are gone; `reason` says why
    DEACTIVATED = "deactivated"  # an administrator stopped its use; the bytes are kept


TABLE: Final = {
    (Status.QUEUED, "upload"): Status.SAVING,
    (Status.SAVING, "finish"): Status.ACTIVE,
    (Status.SAVING, "give_up"): Status.QUEUED,
    (Status.SAVING, "refuse"): Status.KILLED,
    (Status.ACTIVE, "deactivate"): Status.DEACTIVATED,
    (Status.DEACTIVATED, "reactivate"): Status.ACTIVE,
}

VISIBILITIES: Final = ("public", "community", "shared", "private")
DISK_FORMATS: Final = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "ploop", "iso")
CONTAINER_FORMATS: Final = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
MEMBER_STATUSES: Final = ("pending", "accepted", "rejected")


class Image(msgspec.Struct, frozen=True):
    """One image. Text that nobody gave is empty; `properties` are the owner's own words."""

    id: str
    project_id: str  # the owner; empty: nobody's
    name: str
    status: Status
    reason: str  # why it was killed
    visibility: str
    disk_format: str  # as claimed; what hosts are told is `content`
    container_format: str
    content: str  # what the inspector found: raw, qcow2, vmdk, vhd, vhdx or vdi
    upload: str  # the attempt that wrote or writes the bytes
    size_bytes: int
    virtual_bytes: int
    md5: str
    sha512: str
    min_disk_gib: int
    min_ram_mib: int
    protected: bool
    hidden: bool
    properties: dict[str, str]
    tags: tuple[str, ...]
    created_us: int
    updated_us: int

    @property
    def has_bytes(self) -> bool:
        return self.status in (Status.ACTIVE, Status.DEACTIVATED)


class Member(msgspec.Struct, frozen=True):
    """A project that an image is shared with, and what it made of that."""

    image_id: str
    project_id: str
    status: str
    created_us: int
    updated_us: int


def visible(image: Image, credentials: Credentials, is_member: bool) -> bool:
    """Say whether the caller may know that the image exists."""
    if credentials.is_admin or image.visibility in ("public", "community"):
        return True
    if image.project_id and image.project_id == credentials.project_id:
        return True
    return image.visibility == "shared" and is_member


def boot_format(image: Image) -> str:
    """The word for hosts: kernels and ramdisks keep theirs, everything else is named by its content."""
    return image.disk_format if image.disk_format in ("aki", "ari") else image.content


def file_name(image_id: str, upload: str) -> str:
    """The name of an attempt's finished file; no two attempts share one."""
    return f"{image_id}.{upload}"
