"""What this host can really run: a machine is started and has to say so.

/dev/kvm may be there, open, and run a ROM, and yet hang any BIOS, or run a BIOS and yet hang any Linux (nested
and paravirtual hosts do either). So the proof is both: a Linux kernel, where one is at hand, that gets as far as
missing a root file system; and SeaBIOS reading a boot sector from a virtio disk, whose few instructions end QEMU
with one exit status that nothing else gives. The answer holds for one boot of the host, one QEMU and one kernel,
and is kept that long.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

from holdfast.base.errors import Unavailable
from holdfast.base.limits import HYPERVISOR_START_S, PROBE_S
from holdfast.base.log import get
from holdfast.base.run import CommandFailed, run
from holdfast.host.hypervisor.driver import Probed
from holdfast.host.hypervisor.qemu.command import SANDBOX, accelerator_options

log = get(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROVED = 33  # isa-debug-exit turns a written 0x10 into (0x10 << 1) | 1
# mov dx,0x501; mov al,0x10; out dx,al; hlt; jmp back to hlt
_SECTOR = bytes.fromhex("ba0105 b010 ee f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
_DISK_BYTES = 2 << 20  # SeaBIOS finds no geometry on a disk much smaller


def boot_id() -> str:
    """This boot of the host."""
    return BOOT_ID.read_text().strip()


def version_of(binary: str) -> str:
    """`7.2.22`; raises Unavailable when there is no QEMU."""
    found = re.search(r"version (\S+)", run([binary, "--version"], timeout_s=HYPERVISOR_START_S).decode())
    if found is None:
        raise Unavailable(f"{binary} does not say its version")
    return found[1]


def newest_machine_type(binary: str) -> str:
    """The newest versioned q35 that this QEMU offers."""
    listed = run([binary, "-machine", "help"], timeout_s=HYPERVISOR_START_S).decode()
    types = re.findall(r"^(pc-q35-([\d.]+))\s", listed, re.MULTILINE)
    if not types:
        raise Unavailable(f"{binary} offers no q35 machine")
    newest: str = max(types, key=lambda found: [int(part) for part in found[1].split(".")])[0]
    return newest


def probe(binary: str, machine_type: str, cache: Path, kernel: Path | None = None) -> Probed:
    """Find the best accelerator that works, from `cache` when it was found on this boot with this QEMU and kernel."""
    key = {"boot_id": boot_id(), "version": version_of(binary), "machine_type": machine_type, "kernel": str(kernel)}
    try:
        kept = json.loads(cache.read_text())
        if kept.items() >= key.items():
            return Probed(kept["accelerator"], kept["note"], kept["version"])
    except (OSError, ValueError, KeyError, AttributeError):
        log.debug("probe_not_kept", path=cache)
    probed = _try_accelerators(binary, machine_type, key["version"], kernel)
    temporary = cache.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({**key, **asdict(probed)}))
    os.replace(temporary, cache)
    log.info("probe_done", accelerator=probed.accelerator, note=probed.note, version=probed.version)
    return probed


def _try_accelerators(binary: str, machine_type: str, version: str, kernel: Path | None) -> Probed:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        why = "/dev/kvm is not there" if not os.path.exists("/dev/kvm") else "/dev/kvm may not be opened"
    else:
        why = linux_failure(binary, machine_type, "kvm", kernel, PROBE_S) if kernel else ""
        why = why or _sector_failure(binary, machine_type, "kvm", PROBE_S)
        if not why:
            return Probed("kvm", "" if kernel else "proved by a boot sector alone: no kernel is at hand", version)
    note = f"no KVM: {why}"
    if broken := _sector_failure(binary, machine_type, "tcg", HYPERVISOR_START_S):
        raise Unavailable(f"no machine can run here; {note}; no TCG: {broken}")
    return Probed("tcg", note, version)


def _machine(binary: str, machine_type: str, accelerator: str) -> list[str]:
    return [
        binary, "-nodefaults", "-no-user-config", "-display", "none", "-sandbox", SANDBOX, "-m", "size=64M",
        "-machine", f"{machine_type},usb=off,vmport=off,dump-guest-core=off,graphics=off",
        *accelerator_options(accelerator),
    ]  # fmt: skip


def linux_failure(binary: str, machine_type: str, accelerator: str, kernel: Path, timeout_s: float) -> str:
    """Boot a kernel without a root file system; return '' when it panics for the lack of it, else why not."""
    boot = ["-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 quiet panic=-1"]
    try:
        said = run([*_machine(binary, machine_type, accelerator), *boot], timeout_s=timeout_s)
    except CommandFailed as err:
        return f"Linux did not run: {' '.join(err.message.split())}"
    return "" if b"Kernel panic" in said else "Linux ended before it missed its root file system"


def _sector_failure(binary: str, machine_type: str, accelerator: str, timeout_s: float) -> str:
    """Boot the sector; return '' when it ran, else why not, in one line."""
    with tempfile.NamedTemporaryFile(prefix="holdfast-probe-") as disk:
        disk.write(_SECTOR.ljust(_DISK_BYTES, b"\0"))
        disk.flush()
        node = {"node-name": "d", "driver": "raw", "file": {"driver": "file", "filename": disk.name}}
        argv = [
            *_machine(binary, machine_type, accelerator),
            "-device", "isa-debug-exit,iobase=0x501,iosize=2",
            "-blockdev", json.dumps(node), "-device", "virtio-blk-pci,drive=d,bootindex=1",
        ]  # fmt: skip
        try:
            run(argv, timeout_s=timeout_s)
        except CommandFailed as err:
            if err.status == _PROVED:
                return ""
            return f"a boot sector did not run: {' '.join(err.message.split())}"
    return "QEMU ended before the boot sector ran"
