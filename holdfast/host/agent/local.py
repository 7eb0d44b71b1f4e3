"""The real network and the real disks of this host, as the agent works with them."""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.ids import is_id, new_id
from holdfast.base.log import get
from holdfast.domain.desired import DesiredHost, Machine, MoveRole
from holdfast.domain.observed import FloatingReport
from holdfast.host.agent.parts import Prepared
from holdfast.host.dial import ControlPlane
from holdfast.host.hypervisor.driver import Card, Disk
from holdfast.host.hypervisor.qemu.directory import write_durable
from holdfast.host.imagecache import qemu_img
from holdfast.host.imagecache.cache import Cache
from holdfast.host.network.apply import HostNetwork
from holdfast.host.network.metadata.config_drive import write_config_drive
from holdfast.host.network.metadata.documents import plugged_of

log = get(__name__)
GIB = 1 << 30
ROOT, DRIVE, KERNEL, RAMDISK, CAPTURED = "root.qcow2", "config-2.iso", "kernel", "ramdisk", "captured.qcow2"
NUMBER = "root.number"  # beside a root disk that other hosts find as well: for which number it was made, whole


class LocalNetwork:
    """Namespaces, bridges, rules and addresses in this machine's kernel."""

    def __init__(self, network: HostNetwork) -> None:
        self._network = network

    def apply(self, desired: DesiredHost) -> tuple[tuple[FloatingReport, ...], tuple[str, ...]]:
        report = self._network.apply(desired)
        return report.floating, tuple(f"{problem.kind} {problem.id}: {problem.reason}" for problem in report.problems)

    def cards(self, machine: Machine) -> tuple[Card, ...]:
        return tuple(self._network.card(card.port.id) for card in machine.interfaces)


class LocalDisks:
    """One directory per machine; its root disk stands on a verified base of the image cache."""

    def __init__(
        self,
        directory: Path,
        cache: Cache,
        send: Callable[[str, Path], None],
        desired: Callable[[], DesiredHost],
        kept: Path | None = None,
    ) -> None:
        """`send(image_id, path)` uploads a file into an image; `desired` is the host's whole desired state.

        `kept` is where the disks of machines go that left without them; None: other hosts have this directory too.
        """
        self._directory, self._cache, self._send, self._desired = directory, cache, send, desired
        self._kept = kept
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)

    def is_made(self, machine: Machine) -> bool:
        if self._kept is not None:
            return False  # what is here is known from what was reached here
        try:
            return int((self._directory / machine.instance_id / NUMBER).read_text()) == machine.disk
        except (FileNotFoundError, ValueError):
            return False

    def adopt(self, machine: Machine) -> None:
        root = self._directory / machine.instance_id / ROOT
        if not root.exists():
            raise Unavailable(
                f"the root disk of {machine.instance_id} is not where it was: it is not made anew, nothing was changed",
                code="disk_missing",
                detail=str(root),
                retryable=True,
            )

    def leave(self, instance_id: str) -> None:
        home = self._directory / instance_id
        if self._kept is None or not is_id(instance_id) or not home.is_dir():
            return
        self._kept.mkdir(mode=0o700, exist_ok=True)
        os.replace(home, self._kept / f"{instance_id}.{new_id()[:8]}")

    def prepare(self, machine: Machine, fresh: bool) -> Prepared:
        home = self._directory / machine.instance_id
        home.mkdir(mode=0o711, exist_ok=True)
        root = home / ROOT
        inbound = machine.move is not None and machine.move.role is MoveRole.RECEIVE
        shared = inbound and machine.move is not None and machine.move.copy == "none"
        if shared and not root.exists():
            raise Conflict(f"the disk of {machine.instance_id} is not on this host's storage", code="disk_not_shared")
        if inbound and fresh and root.exists():
            raise Conflict(f"a disk of {machine.instance_id} is here already", code="disk_is_here")
        if shared:
            log.debug("disk_awaited", instance=machine.instance_id)  # and only looked at: another host writes to it
        elif fresh:
            self._cache.machine_disk(machine.image, root, machine.disk_gib)
            if self._kept is None and not inbound:  # before any guest runs on it
                write_durable(home / NUMBER, f"{machine.disk}\n".encode())
        else:
            self.adopt(machine)
            qemu_img.grow(root, machine.disk_gib * GIB)
        disks = [Disk(root, "qcow2")]
        if machine.config_drive:
            drive = home / DRIVE
            if not (shared and drive.exists()):
                write_config_drive(drive, machine.metadata, plugged_of(self._desired()).get(machine.instance_id, ()))
            disks.append(Disk(drive, "raw", read_only=True))
        kernel = self._cache.kernel(machine.kernel, home / KERNEL) if machine.kernel else None
        ramdisk = self._cache.kernel(machine.ramdisk, home / RAMDISK) if machine.ramdisk else None
        return Prepared(tuple(disks), kernel, ramdisk)

    def remove(self, instance_id: str) -> None:
        if not is_id(instance_id):
            return
        aside = self._kept.glob(f"{instance_id}.*") if self._kept is not None and self._kept.is_dir() else ()
        for home in (self._directory / instance_id, *aside):
            if home.is_dir():
                shutil.rmtree(home)

    def capture(self, machine: Machine) -> None:
        home = self._directory / machine.instance_id
        target = home / CAPTURED
        try:
            self._cache.snapshot(home / ROOT, target)
            self._send(machine.capture_image_id, target)
        finally:
            target.unlink(missing_ok=True)

    def held(self) -> tuple[str, ...]:
        return tuple(self._cache.held())

    def free_gib(self) -> int:
        return shutil.disk_usage(self._directory).free // GIB

    def size_gib(self) -> int:
        return shutil.disk_usage(self._directory).total // GIB

    def found(self) -> tuple[str, ...]:
        if self._kept is None:
            return ()  # most of what is there is other hosts'
        return tuple(path.name for path in self._directory.iterdir() if is_id(path.name))


def file_sender(control: ControlPlane, timeout_s: int) -> Callable[[str, Path], None]:
    """Return what uploads a file of this host into an image of the cloud."""

    def send(image_id: str, path: Path) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        connection = control.connect(timeout_s)
        try:
            with path.open("rb") as source:
                connection.ask("PUT", f"/images/{image_id}/file", source, headers)
            answer = connection.getresponse()
            words = answer.read(500).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as err:
            control.failed()
            raise Unavailable("the disk could not be sent to the image service", detail=str(err)) from err
        finally:
            connection.close()
        if answer.status != 204:
            raise Unavailable(f"the image service answered {answer.status} to the disk", detail=words)

    return send
