"""A guest in a bare QEMU, and the ways to reach into it: console, ssh, power button."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.host.imagebuild.debian import DebianImage
from holdfast.host.imagebuild.tiny import TinyImage

BOUND_S = 120  # a tiny guest needs 2 s of a processor; others may want the same one


def package_cache() -> Path:
    """Packages, kept between runs: their download is no part of what is tested, but its result is."""
    path = Path(os.environ.get("HOLDFAST_TEST_CACHE") or Path.home() / ".cache/holdfast-test")
    path.mkdir(parents=True, exist_ok=True)
    return path


def until(what: Callable[[], object], bound_s: float = BOUND_S) -> None:
    """Return when `what` is true; fail after the bound."""
    deadline_s = time.monotonic() + bound_s
    while not what():
        assert time.monotonic() < deadline_s, f"{what} did not come true in {bound_s} s"
        threading.Event().wait(0.02)


@dataclass
class Guest:
    """One QEMU process and the ways to reach into it."""

    room: Path
    image: TinyImage | DebianImage
    network: str
    drive: Path | None = None
    memory_mib: int = 128
    vcpus: int = 1
    bound_s: float = BOUND_S
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not (self.room / "disk").exists():
            shutil.copyfile(self.image.disk, self.room / "disk")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.room / "serial").unlink(missing_ok=True)
        drives = ["-drive", f"file={self.room}/disk,format={self.image.disk_format},if=virtio"]
        if self.drive:
            drives += ["-drive", f"file={self.drive},format=raw,if=virtio"]
        machine = ["-machine", "pc-q35-7.2", "-accel", "tcg,tb-size=32", "-m", str(self.memory_mib), "-nodefaults"]
        machine += ["-smp", str(self.vcpus)]
        boot = ["-kernel", self.image.kernel, "-initrd", self.image.ramdisk, "-append", self.image.kernel_arguments]
        card = ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22{self.network}"]
        card += ["-device", "virtio-net-pci,netdev=n", "-device", "virtio-rng-pci"]
        card += ["-device", "pcie-root-port,id=free-slot", "-netdev", "user,id=later"]
        ways = ["-serial", f"file:{self.room}/serial", "-qmp", f"unix:{self.room}/qmp,server=on,wait=off"]
        command = ["qemu-system-x86_64", *machine, "-display", "none", *boot, *drives, *card, *ways]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def console(self) -> str:
        path = self.room / "serial"
        return path.read_text(errors="replace") if path.exists() else ""

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.console().count(text) >= times or self._gone(), self.bound_s)
        assert self.console().count(text) >= times, self.console()

    def ssh(self, *command: str, user: str = "root", key: str = "key") -> subprocess.CompletedProcess[bytes]:
        options = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.room}/known", "-F", "/dev/null"]
        options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR", "-i", self.room / key]
        return subprocess.run(
            ["ssh", *options, "-p", str(self.port), f"{user}@127.0.0.1", *command], capture_output=True, timeout=BOUND_S
        )

    def run(self, *command: str, user: str = "root") -> str:
        done = self.ssh(*command, user=user)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def host_key(self) -> str:
        scanned = subprocess.run(
            ["ssh-keyscan", "-t", "ed25519", "-p", str(self.port), "127.0.0.1"], capture_output=True, timeout=BOUND_S
        )
        return scanned.stdout.decode().split()[-1]

    def monitor(self, command: str) -> None:
        """Give QEMU one command and wait for its answer."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.room / "qmp"))
            monitor.settimeout(BOUND_S)
            monitor.sendall(b'{"execute": "qmp_capabilities"}' + command.encode())
            heard = b""
            while heard.count(b'"return"') < 2:
                heard += monitor.recv(4096)
                assert b'"error"' not in heard, heard

    def power_button(self) -> None:
        """Press it and wait until the guest has switched itself off."""
        self.monitor('{"execute": "system_powerdown"}')
        assert self.process is not None
        assert self.process.wait(BOUND_S) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _gone(self) -> bool:
        return self.process is None or self.process.poll() is not None
