"""Guest images built here, in the image service: kernel, ramdisk and disk, uploaded once over the public API."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.base import config
from holdfast.client.session import Session
from holdfast.daemon.first_rows import session_of
from holdfast.daemon.phases import Phases, Told
from holdfast.daemon.places import Places
from holdfast.host.imagebuild.debian import DebianImage, build_debian
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny

TINY = "tiny"


def tiny_ensure(session: Session, target: Path, cache: Path, told: Told) -> str:
    """Return the id of the tiny image, built and uploaded unless it is there."""
    built = build_tiny(target, cache, lambda _: None)
    told.words = f"{TINY} ({_size_mb(built)} MB, built from this host's distribution packages); login {built.login}"
    return _ensure(session, built, TINY, {"os_distro": TINY})


def debian_ensure(options: argparse.Namespace) -> int:
    """Build a Debian with cloud-init, upload it, and say how to launch it. Done already: nothing."""
    places, phases = Places(Path(options.state).absolute()), Phases(bool(options.json))
    settings = config.load(places.state)
    session = session_of(places, settings, "admin")
    name = f"debian-{options.suite}"
    with phases.phase("build") as told:
        built = build_debian(places.state / "built", Path(settings.packages), options.suite, _say(phases))
        told.words = f"{name} ({_size_mb(built)} MB); login {built.login}"
    with phases.phase("upload") as told:
        words = {"os_distro": "debian", "min_ram": options.min_ram_mib, "min_disk": 2}
        told.words = f"image {_ensure(session, built, name, words)}"
    at = "" if places.state == Path(config.Settings().state) else f" --state {places.state}"
    phases.say(f"  next        holdfast{at} launch --image {name} --flavor m1.small")
    return 0


def _say(phases: Phases) -> Callable[[str], None]:
    return lambda words: phases.say(f"  ...   {words}")


def _size_mb(built: TinyImage | DebianImage) -> int:
    return sum(path.stat().st_size for path in (built.kernel, built.ramdisk, built.disk)) // 1_000_000


def _ensure(session: Session, built: TinyImage | DebianImage, name: str, words: dict[str, Any]) -> str:
    """The id of the public image that was made of this very build, uploaded unless it is there."""
    build = built.disk.parent.name
    found = session.get(f"/image/v2/images?name={name}&visibility=public&status=active")["images"]
    mine = [image for image in found if image.get("holdfast_build") == build]
    return str(mine[0]["id"]) if mine else _upload(session, built, name, {**words, "holdfast_build": build})


def _upload(session: Session, built: TinyImage | DebianImage, name: str, words: dict[str, Any]) -> str:
    common = {"visibility": "public", "holdfast_build": words["holdfast_build"]}
    kernel = _image(session, built.kernel, f"{name}-kernel", "aki", common)
    ramdisk = _image(session, built.ramdisk, f"{name}-ramdisk", "ari", common)
    boot = {"kernel_id": kernel, "ramdisk_id": ramdisk, "os_command_line": built.kernel_arguments}
    return _image(session, built.disk, name, built.disk_format, {**common, **words, **boot, "login_user": built.login})


def _image(session: Session, path: Path, name: str, disk_format: str, words: dict[str, Any]) -> str:
    container = disk_format if disk_format in ("aki", "ari") else "bare"
    body = {"name": name, "disk_format": disk_format, "container_format": container, **words}
    image_id = str(session.post("/image/v2/images", body)["id"])
    session.upload(f"/image/v2/images/{image_id}/file", path)
    return image_id
