"""The tiny image in the image service: kernel, ramdisk and disk, uploaded once over the public API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.client.session import Session
from holdfast.daemon.phases import Told
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny

NAME = "tiny"


def tiny_ensure(session: Session, target: Path, cache: Path, told: Told) -> str:
    """Return the id of the tiny image, built and uploaded unless it is there."""
    built = build_tiny(target, cache, lambda _: None)
    build = built.disk.parent.name
    found = session.get(f"/image/v2/images?name={NAME}&visibility=public&status=active")["images"]
    mine = [image for image in found if image.get("holdfast_build") == build]
    size_mb = sum(path.stat().st_size for path in (built.kernel, built.ramdisk, built.disk)) // 1_000_000
    told.words = f"{NAME} ({size_mb} MB, built from this host's distribution packages); login {built.login}"
    return str(mine[0]["id"]) if mine else _upload(session, built, build)


def _upload(session: Session, built: TinyImage, build: str) -> str:
    common = {"visibility": "public", "holdfast_build": build}
    kernel = _image(session, built.kernel, f"{NAME}-kernel", "aki", common)
    ramdisk = _image(session, built.ramdisk, f"{NAME}-ramdisk", "ari", common)
    words = {"kernel_id": kernel, "ramdisk_id": ramdisk, "os_command_line": built.kernel_arguments, "os_distro": NAME}
    return _image(session, built.disk, NAME, built.disk_format, {**common, **words, "login_user": built.login})


def _image(session: Session, path: Path, name: str, disk_format: str, words: dict[str, Any]) -> str:
    container = disk_format if disk_format in ("aki", "ari") else "bare"
    body = {"name": name, "disk_format": disk_format, "container_format": container, **words}
    image_id = str(session.post("/image/v2/images", body)["id"])
    session.upload(f"/image/v2/images/{image_id}/file", path)
    return image_id
