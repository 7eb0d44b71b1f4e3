"""The QEMU command line, option by option, against golden files: a change of it is read in review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.host.hypervisor.driver import Card, Disk, MachineSpec
from holdfast.host.hypervisor.qemu.command import Wiring, command

GOLDEN = Path(__file__).parent.parent / "golden"
ID = "6f1c5e0a-3c53-4f0e-9d3a-0a4b8c1d2e3f"
STATE = Path("/var/lib/holdfast/host-1,a")


def wiring(accelerator: str, taps: tuple[int, ...]) -> Wiring:
    return Wiring("pc-q35-7.2", accelerator, STATE / "machines" / ID, 10, 11, 12, 13, taps)


SMALL = MachineSpec(ID, 1, 128, (), ())
LARGE = MachineSpec(
    instance_id=ID,
    vcpus=4,
    memory_mib=8192,
    disks=(Disk(STATE / "root,a.qcow2", "qcow2"), Disk(STATE / "seed.iso", "raw", read_only=True)),
    cards=(
        Card("fa:16:3e:00:00:01", "hf-tap1", "hf-net1", 1450),
        Card("fa:16:3e:00:00:02", "hf-tap2", "hf-net2", 9000),
    ),
    kernel=Path("/images/kernel,1"),
    ramdisk=Path("/images/ramdisk,1"),
    kernel_arguments='console=ttyS0 -uuid "$(reboot)",x=1',
)


@pytest.mark.parametrize(
    ("name", "spec", "accelerator", "taps"),
    [("qemu_small_tcg", SMALL, "tcg", ()), ("qemu_large_kvm", LARGE, "kvm", (14, 15))],
)
def test_the_command_line_is_the_golden_one(
    name: str, spec: MachineSpec, accelerator: str, taps: tuple[int, ...]
) -> None:
    argv = command(spec, wiring(accelerator, taps))
    lines = "".join(f"\n{word}" if word.startswith("-") else f" {word}" for word in argv).strip() + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN_WRITE"):
        path.write_text(lines)
    assert lines == path.read_text(), "run with GOLDEN_WRITE=1 and read the difference"


def test_what_a_user_wrote_is_one_argument_and_comes_after_ours() -> None:
    argv = command(LARGE, wiring("tcg", (14, 15)))
    assert argv[-1] == LARGE.kernel_arguments
    assert argv.index("-uuid") < argv.index("-pidfile") < argv.index("-append")
