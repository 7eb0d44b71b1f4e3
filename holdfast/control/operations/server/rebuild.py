"""Rebuild a server: the same addresses and name, a fresh root disk from an image. Only ever on request."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.base.errors import BadInput, NotFound
from holdfast.control.operations.host_desired import BootSources
from holdfast.control.operations.image import image_for_boot
from holdfast.control.operations.server.acts import act_begin
from holdfast.control.store.database import Tx
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import Power
from holdfast.domain.instance import Flavor, Instance

GIB = 1 << 30


def boot_sources(tx: Tx, image_id: str, flavor: Flavor, credentials: Credentials) -> BootSources:
    """What a server of this flavor boots from; BadInput names what does not fit."""
    try:
        boot = image_for_boot(tx, image_id, credentials.project_id, credentials.is_admin)
    except NotFound as err:
        raise BadInput(f"Can not find requested image {image_id}", code="image_unknown") from err
    disk_gib = max(boot.min_disk_gib, -(-boot.virtual_bytes // GIB))
    for what, have, need, unit in (
        ("disk", flavor.disk_gib, disk_gib, "GiB"),
        ("memory", flavor.memory_mib, boot.min_ram_mib, "MiB"),
    ):
        if have < need and (have or what == "memory"):
            raise BadInput(
                f"Flavor's {what} is too small for requested image: flavor {flavor.name} has {have} {unit}, "
                f"image {image_id} needs {need} {unit}"
            )
    arguments = boot.properties.get("os_command_line", "")
    return BootSources(boot.image, boot.kernel, boot.ramdisk, arguments, boot.virtual_bytes)


def server_rebuild_begin(
    tx: Tx, row: Instance, image_id: str, credentials: Credentials, request_id: str, changes: dict[str, Any]
) -> Instance:
    """Accept a rebuild; whatever was on the root disk will be gone."""
    sources = boot_sources(tx, image_id, row.flavor, credentials)
    changes |= {"image_id": image_id, "image": msgspec.to_builtins(sources), "disk": row.disk + 1, "boot": row.boot + 1}
    changes |= {"soft": False, "power": Power.STOPPED if row.power is Power.STOPPED else Power.RUNNING}
    return act_begin(tx, row, "server_rebuild", credentials, request_id, **changes)
