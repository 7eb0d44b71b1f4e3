"""A real guest, from `holdfast launch` to ssh, beside the same kernel and ramdisk in a bare QEMU. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.cloud import Cloud, Failed, cloud_directory
from bench.load import Figures, median_ms
from holdfast.host.hypervisor.qemu.command import accelerator_options
from holdfast.host.imagebuild.packages import parts_fetch
from holdfast.host.imagebuild.tiny import KERNEL_ARGUMENTS
from holdfast.host.network.metadata.config_drive import iso_image

INSTANCE = "0f0e0d0c-1111-4222-8333-444455556666"
MEMORY_MIB = 128
BOOT_S = 120


async def guests(runs: int) -> Figures:
    """`up` from nothing with a proving guest, again, then launches and bare boots in turn."""
    with cloud_directory(simulated=False) as cloud:
        packages_put(cloud)
        figures: Figures = {"up_s": round(cloud.up(), 2), "second_up_s": round(cloud.up(), 2)}
        launches, bares = [], []
        for number in range(runs):
            launches.append(_launch_s(cloud, f"bench-{number}"))
            bares.append(bare_s(cloud))
        launch_s, bare = median_ms(launches) / 1000, median_ms(bares) / 1000
        figures |= {"launch_to_ssh_s": round(launch_s, 2), "bare_to_ssh_s": round(bare, 2)}
        figures |= {"launch_over_bare_s": round(launch_s - bare, 2), "launch_by_bare": round(launch_s / bare, 2)}
        return {**figures, "accelerator": accelerator_of(cloud)}


def packages_put(cloud: Cloud) -> None:
    """The guest's packages, as a second `up` on a machine would find them: their download is not measured."""
    kept = Path(os.environ.get("HOLDFAST_TEST_CACHE") or Path.home() / ".cache/holdfast-test")
    kept.mkdir(parents=True, exist_ok=True)
    parts_fetch(kept, lambda _: None)
    cloud.state.mkdir(mode=0o711)
    shutil.copytree(kept / "packages", cloud.state / "packages" / "packages", symlinks=True)


def accelerator_of(cloud: Cloud) -> str:
    """kvm or tcg, as an agent of the cloud said."""
    log = next((cloud.state / "logs").glob("agent-*.log")).read_text()
    return "kvm" if "accelerator=kvm" in log else "tcg"


def _launch_s(cloud: Cloud, name: str) -> float:
    """Seconds from the command to its proof that ssh answers."""
    began_s = time.perf_counter()
    said = cloud.run("launch", name, "--json")
    took_s = time.perf_counter() - began_s
    if not any(event.get("ready") for event in map(json.loads, said.splitlines())):
        raise Failed(f"launch did not end in ssh: {said[-500:]}")
    cloud.run("rm", name)
    return took_s


def bare_s(cloud: Cloud) -> float:
    """Seconds from the start of a bare QEMU, with the image's own kernel, ramdisk and disk, to a command over ssh."""
    with TemporaryDirectory(dir=cloud.home) as name:
        room = Path(name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", room / "key"], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = bare_command(cloud, room, port)
        began_s = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            deadline_s = began_s + BOOT_S
            while not _ssh_answers(room, port):
                if time.perf_counter() > deadline_s or process.poll() is not None:
                    raise Failed("the bare guest did not answer")
            return time.perf_counter() - began_s
        finally:
            process.kill()
            process.wait()


def bare_command(cloud: Cloud, room: Path, port: int) -> list[str]:
    """A bare QEMU of the tiny guest, with its files in `room`, where a key pair lies; ssh is on the port."""
    built = next((cloud.state / "built").glob("tiny-*"))
    shutil.copyfile(built / "disk.qcow2", room / "disk")
    keys = {"mine": (room / "key.pub").read_text()}
    about = {"uuid": INSTANCE, "hostname": "bare", "name": "bare", "public_keys": keys}
    drive = iso_image({"openstack/latest/meta_data.json": json.dumps(about).encode()}, "config-2")
    (room / "drive").write_bytes(drive)
    return [
        *("qemu-system-x86_64", "-machine", "q35", *accelerator_options(accelerator_of(cloud)), "-nodefaults"),
        *("-m", str(MEMORY_MIB), "-smp", "1", "-display", "none", "-serial", f"file:{room}/serial"),
        *("-kernel", str(built / "kernel"), "-initrd", str(built / "ramdisk"), "-append", KERNEL_ARGUMENTS),
        *("-drive", f"file={room}/disk,format=qcow2,if=virtio", "-drive", f"file={room}/drive,format=raw,if=virtio"),
        *("-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=n"),
        *("-device", "virtio-rng-pci"),
    ]


def _ssh_answers(room: Path, port: int) -> bool:
    """Whether a command runs there. The console is asked first: QEMU's own port accepts before the guest does,
    and would hold a caller up for seconds."""
    serial = room / "serial"
    if not serial.exists() or b"holdfast-guest: ready" not in serial.read_bytes():
        time.sleep(0.02)
        return False
    options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={room}/known", "BatchMode=yes", "LogLevel=ERROR"]
    flags = [word for option in options for word in ("-o", option)]
    command = ["ssh", "-F", "/dev/null", *flags, "-i", str(room / "key"), "-p", str(port), "root@127.0.0.1", "true"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
