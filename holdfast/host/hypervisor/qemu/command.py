"""The command line of one machine: a pure function, so that a golden file shows every option.

Nothing that a user chose appears in an argument that QEMU parses by commas: names stay out, ids are ids,
block devices are JSON, and our own paths have their commas doubled. A guest gets no device that it does
not need: no graphics, floppy, USB or boot ROM, since each of them has been a way out of QEMU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.limits import QEMU_TB_SIZE_MIB, VOLUME_SLOTS
from holdfast.host.hypervisor.driver import Card, Disk, MachineSpec, Volume
from holdfast.host.hypervisor.qemu.files import CONSOLE_FILE
from holdfast.host.hypervisor.qemu.processes import PID_FILE
from holdfast.host.hypervisor.qemu.volumes import bus_of, device_of, nodes_of

BINARY = "qemu-system-x86_64"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_SLOTS_AT = 0x10  # the first PCI device number of the ports for volumes
RNG_BYTES, RNG_PERIOD_MS = 64 << 10, 1_000  # a guest may read the host's entropy no faster than this


@dataclass(frozen=True, slots=True)
class Wiring:
    """What one start gives the process: descriptors, and what this host was proved to run."""

    machine_type: str  # versioned, so that a guest sees the same chips wherever it is restored
    accelerator: str  # kvm or tcg
    directory: Path  # the machine's own
    agent_monitor: int  # listening sockets
    debug_monitor: int
    console: int
    guest_agent: int
    taps: tuple[int, ...]  # one per card
    waits: bool = False  # for a guest from another host; nothing else of the command line differs


def command(spec: MachineSpec, wiring: Wiring, binary: str = BINARY) -> list[str]:
    """Return the argument vector for `spec`."""
    return [
        binary,
        *_frame(spec, wiring),
        *_monitors(wiring),
        *_serial(wiring),
        *(option for n, disk in enumerate(spec.disks) for option in _disk(n, disk)),
        *(option for n, card in enumerate(spec.cards) for option in _card(n, card, wiring.taps[n])),
        *_slots(),
        *(option for volume in spec.volumes for option in _volume(volume)),
        *(["-S", "-incoming", "defer"] if wiring.waits else []),
        *_kernel(spec),
    ]


def accelerator_options(accelerator: str) -> list[str]:
    """Return the processor options; the translation buffer's default would take 512 MiB of the host per guest."""
    if accelerator == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", f"tcg,tb-size={QEMU_TB_SIZE_MIB}", "-cpu", "max"]


def _frame(spec: MachineSpec, wiring: Wiring) -> list[str]:
    product = "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,family=Virtual Machine"
    return [
        "-name", f"guest={spec.instance_id},debug-threads=on",
        "-uuid", spec.instance_id,
        "-pidfile", f"{wiring.directory}/{PID_FILE}",
        "-nodefaults",
        "-no-user-config",
        "-sandbox", SANDBOX,
        "-machine", f"{wiring.machine_type},usb=off,vmport=off,dump-guest-core=off,graphics=off",
        *accelerator_options(wiring.accelerator),
        "-smp", f"cpus={spec.vcpus},sockets=1,cores={spec.vcpus},threads=1",
        "-m", f"size={spec.memory_mib}M",
        "-display", "none",
        "-rtc", "base=utc",
        "-boot", "menu=off,strict=on",
        "-action", "reboot=reset,shutdown=poweroff",
        "-global", "ICH9-LPC.disable_s3=1",
        "-global", "ICH9-LPC.disable_s4=1",
        "-msg", "timestamp=on",
        "-smbios", f"{product},serial={spec.instance_id},uuid={spec.instance_id}",
        "-object", "rng-random,id=rng,filename=/dev/urandom",
        "-device", f"virtio-rng-pci,rng=rng,max-bytes={RNG_BYTES},period={RNG_PERIOD_MS}",
    ]  # fmt: skip


def _monitors(wiring: Wiring) -> list[str]:
    return [
        "-chardev", f"socket,id=agent-monitor,fd={wiring.agent_monitor},server=on,wait=off",
        "-mon", "chardev=agent-monitor,mode=control",
        "-chardev", f"socket,id=debug-monitor,fd={wiring.debug_monitor},server=on,wait=off",
        "-mon", "chardev=debug-monitor,mode=control",
    ]  # fmt: skip


def _serial(wiring: Wiring) -> list[str]:
    log = f"{wiring.directory}/{CONSOLE_FILE}".replace(",", ",,")
    return [
        "-chardev", f"socket,id=console,fd={wiring.console},server=on,wait=off,logfile={log},logappend=on",
        "-device", "isa-serial,chardev=console",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=guest-agent,fd={wiring.guest_agent},server=on,wait=off",
        "-device", "virtserialport,chardev=guest-agent,name=org.qemu.guest_agent.0",
    ]  # fmt: skip


def _disk(number: int, disk: Disk) -> list[str]:
    name, access = f"disk{number}", {"read-only": disk.read_only, "discard": "unmap"}
    file = {"node-name": f"{name}-file", "driver": "file", "filename": str(disk.path), "locking": "on", **access}
    layer = {"node-name": name, "driver": disk.format, "file": f"{name}-file", **access}
    boot = ",bootindex=1" if number == 0 else ""
    return [
        "-blockdev", json.dumps(file),
        "-blockdev", json.dumps(layer),
        "-device", f"virtio-blk-pci,id={name}-device,drive={name}{boot}",
    ]  # fmt: skip


def _card(number: int, card: Card, tap: int) -> list[str]:
    return [
        "-netdev", f"tap,id=net{number},fd={tap},vhost=off",
        "-device", f"virtio-net-pci,netdev=net{number},mac={card.mac},host_mtu={card.mtu},romfile=",
    ]  # fmt: skip


def _slots() -> list[str]:
    """One port per volume that may come while the guest runs; q35 itself takes no device then.

    They stand behind everything else on the bus, so no other device moves, and claim no I/O ports: there are
    too few for all of them, and virtio needs none.
    """
    ports = []
    for slot in range(VOLUME_SLOTS):
        place = f"addr={_SLOTS_AT + slot // 8:#x}.{slot % 8},multifunction=on,chassis={slot + 1},io-reserve=0"
        ports += ["-device", f"pcie-root-port,id={bus_of(slot)},bus=pcie.0,{place}"]
    return ports


def _volume(volume: Volume) -> list[str]:
    nodes = [option for node in nodes_of(volume) for option in ("-blockdev", json.dumps(node))]
    return [*nodes, "-device", json.dumps(device_of(volume))]


def _kernel(spec: MachineSpec) -> Sequence[str]:
    if spec.kernel is None:
        return []
    ramdisk = ["-initrd", str(spec.ramdisk)] if spec.ramdisk else []
    return ["-kernel", str(spec.kernel), *ramdisk, "-append", spec.kernel_arguments]
