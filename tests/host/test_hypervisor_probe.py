"""The probe believes a Linux kernel and a boot sector, not a device file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from holdfast.base.errors import Unavailable
from holdfast.base.limits import HYPERVISOR_START_S
from holdfast.host.hypervisor.qemu import probe as probe_module
from holdfast.host.hypervisor.qemu.command import BINARY
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.qemu.probe import linux_failure, newest_machine_type
from holdfast.host.imagebuild.packages import parts_fetch
from tests.stories.bareguest import package_cache

pytestmark = pytest.mark.qemu


LINUX_RUNS = "echo Kernel panic - not syncing: VFS: Unable to mount root fs; exit 0"


def fake_qemu(
    directory: Path, kvm: str, tcg: str = 'exec qemu-system-x86_64 "$@"', types: str = "", linux: str = LINUX_RUNS
) -> str:
    """A QEMU that behaves as told for each accelerator, and notes every boot."""
    path = directory / "qemu-system-fake"
    path.write_text(
        f"""#!/bin/sh
case "$*" in
  *--version*) echo "QEMU emulator version 9.9.9 (Fake)"; exit 0;;
  *"-machine help"*) {types or 'exec qemu-system-x86_64 "$@"'};;
esac
echo boot >> {directory}/boots
case "$*" in
  *"-accel kvm"*"-kernel"*) {linux};;
  *"-accel kvm"*) {kvm};;
  *) {tcg};;
esac
"""
    )
    path.chmod(0o755)
    return str(path)


def boots(directory: Path) -> int:
    return (directory / "boots").read_text().count("boot")


def no_tap(_: object) -> int:
    return -1


@pytest.fixture
def kvm_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module.os, "access", lambda *_: True)


@pytest.mark.usefixtures("kvm_device")
def test_a_kvm_that_runs_the_boot_sector_is_used(tmp_path: Path) -> None:
    probed = Qemu(tmp_path, no_tap, binary=fake_qemu(tmp_path, kvm="exit 33")).probe()
    assert (probed.accelerator, probed.version) == ("kvm", "9.9.9")
    assert "a boot sector alone" in probed.note


@pytest.mark.usefixtures("kvm_device")
def test_a_kvm_that_runs_linux_too_is_believed_without_a_note(tmp_path: Path) -> None:
    probed = Qemu(tmp_path, no_tap, binary=fake_qemu(tmp_path, kvm="exit 33"), kernel=tmp_path / "kernel").probe()
    assert (probed.accelerator, probed.note) == ("kvm", "")


@pytest.mark.usefixtures("kvm_device")
@pytest.mark.parametrize("linux", ["exec sleep 60", "echo something else; exit 0", "exit 1"])
def test_a_kvm_that_runs_a_boot_sector_and_no_linux_is_not_used(
    linux: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a paravirtual host: SeaBIOS and the sector ran, and every kernel spun before its first word."""
    monkeypatch.setattr(probe_module, "PROBE_S", 0.5)
    binary = fake_qemu(tmp_path, kvm="exit 33", linux=linux)
    probed = Qemu(tmp_path, no_tap, binary=binary, kernel=tmp_path / "kernel").probe()
    assert probed.accelerator == "tcg"
    assert "Linux" in probed.note


def test_a_real_kernel_passes_where_it_runs_and_a_file_that_is_none_does_not(tmp_path: Path) -> None:
    kernel = parts_fetch(package_cache(), print).kernel
    machine_type = newest_machine_type(BINARY)
    assert linux_failure(BINARY, machine_type, "tcg", kernel, HYPERVISOR_START_S) == ""
    (tmp_path / "kernel").write_bytes(b"no kernel")
    assert "did not run" in linux_failure(BINARY, machine_type, "tcg", tmp_path / "kernel", HYPERVISOR_START_S)


@pytest.mark.usefixtures("kvm_device")
@pytest.mark.parametrize("status", [0, 1, 3, 134])
def test_a_kvm_that_ends_otherwise_is_not_used_and_the_note_says_why(tmp_path: Path, status: int) -> None:
    binary = fake_qemu(tmp_path, kvm=f"echo it hurts >&2; exit {status}")
    probed = Qemu(tmp_path, no_tap, binary=binary).probe()
    assert probed.accelerator == "tcg"
    assert "KVM" in probed.note and ("it hurts" in probed.note or status == 0)


@pytest.mark.usefixtures("kvm_device")
def test_a_kvm_that_hangs_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PROBE_S", 0.5)
    began_s = time.monotonic()
    probed = Qemu(tmp_path, no_tap, binary=fake_qemu(tmp_path, kvm="exec sleep 60")).probe()
    assert probed.accelerator == "tcg"
    assert "did not end in time" in probed.note
    assert time.monotonic() - began_s < 15


@pytest.mark.usefixtures("kvm_device")
def test_a_probe_is_kept_for_one_boot_and_one_qemu(tmp_path: Path) -> None:
    binary = fake_qemu(tmp_path, kvm="exit 1")
    first = Qemu(tmp_path, no_tap, binary=binary).probe()
    booted = boots(tmp_path)
    assert Qemu(tmp_path, no_tap, binary=binary).probe() == first
    assert boots(tmp_path) == booted
    cache = tmp_path / "probe.json"
    changes = {"boot_id": "an earlier boot", "version": "7.0", "machine_type": "pc-q35-2.4", "kernel": "/other"}
    for key, other in changes.items():
        booted = boots(tmp_path)
        cache.write_text(json.dumps({**json.loads(cache.read_text()), key: other}))
        assert Qemu(tmp_path, no_tap, binary=binary).probe() == first
        assert boots(tmp_path) > booted
    cache.write_text("{")
    assert Qemu(tmp_path, no_tap, binary=binary).probe() == first


def test_a_host_on_which_nothing_runs_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no machine can run here"):
        Qemu(tmp_path, no_tap, binary=fake_qemu(tmp_path, kvm="exit 1", tcg="exit 1")).probe()
    with pytest.raises(Unavailable):
        Qemu(tmp_path, no_tap, binary=str(tmp_path / "none")).probe()


def test_versions_of_machine_types_are_compared_as_numbers(tmp_path: Path) -> None:
    types = "printf 'q35 alias\\npc-q35-9.2 a\\npc-q35-10.0 b\\npc-q35-4.0.1 c\\npc-i440fx-11.0 d\\n'; exit 0"
    assert newest_machine_type(fake_qemu(tmp_path, kvm="exit 1", types=types)) == "pc-q35-10.0"
