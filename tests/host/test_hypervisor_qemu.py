"""What only QEMU can get wrong: image locks, lost files, reused pids, frozen monitors, floods, privileges."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput, Conflict, Unavailable
from holdfast.base.ids import new_id
from holdfast.base.limits import CONSOLE_BYTES
from holdfast.host.hypervisor.driver import Card, Disk, MachineSpec, Reason, Run
from holdfast.host.hypervisor.qemu import launch as launch_module
from holdfast.host.hypervisor.qemu import machines as machines_module
from holdfast.host.hypervisor.qemu.directory import locked, remove
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.qemu.processes import Process, held, process_at, processes_of
from holdfast.host.hypervisor.qmp import Qmp
from tests.waiting import eventually

pytestmark = pytest.mark.qemu

# A guest that enables the power button, says '~', waits halted for the button, and turns a q35 off:
# sti; mov dx,0x602; mov ax,0x100; out dx,ax; mov dx,0x3f8; mov al,'~'; out dx,al;
# mov dx,0x600; L: hlt; in ax,dx; test ah,1; jz L; mov dx,0x604; mov ax,0x2000; out dx,ax
OBEYS_BUTTON = bytes.fromhex("fb ba0206 b80001 ef baf803 b07e ee ba0006 f4 ed f6c401 74f9 ba0406 b80020 ef f4 ebfd")
# A guest that writes to its serial port as fast as it can: mov dx,0x3f8; mov al,'A'; L: out dx,al; jmp L
FLOODS_CONSOLE = bytes.fromhex("baf803 b041 ee ebfd")
# A guest that writes its whole disk with BIOS calls: xor ax,ax; mov ds,ax; L: mov si,0x7c20; mov ax,0x4300;
# mov dl,0x80; int 0x13; add word [0x7c28],0x20; jmp L; at 0x7c20 the packet: 32 sectors from 0:7c00 to sector 64 on
FILLS_DISK = bytes.fromhex("31c0 8ed8 be207c b80043 b280 cd13 8306287c20 ebef").ljust(0x20, b"\0") + bytes.fromhex(
    "1000 2000 007c0000 4000000000000000"
)


def machine(disks: tuple[Disk, ...] = (), cards: tuple[Card, ...] = ()) -> MachineSpec:
    return MachineSpec(instance_id=new_id(), vcpus=1, memory_mib=32, disks=disks, cards=cards)


def boot_disk(state: Path, program: bytes) -> tuple[Disk, ...]:
    disk = state / f"{new_id()}.raw"
    disk.write_bytes((program.ljust(510, b"\0") + b"\x55\xaa").ljust(2 << 20, b"\0"))
    return (Disk(disk, "raw"),)


def no_tap(card: Card) -> int:
    raise AssertionError(f"{card} was not asked for")


def end_all(state: Path) -> None:
    for process in processes_of(state):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path.resolve()
    end_all(tmp_path.resolve())


@pytest.fixture
def driver(state: Path) -> Qemu:
    return Qemu(state, no_tap, accelerator="tcg")


def listens_for_the_button(driver: Qemu, spec: MachineSpec) -> bool:
    return b"~" in driver.console(spec.instance_id, 4096)


def test_two_machines_cannot_write_to_one_disk(driver: Qemu, state: Path) -> None:
    disk = state / "shared.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "8M"], check=True)
    first, second = machine((Disk(disk, "qcow2"),)), machine((Disk(disk, "qcow2"),))
    driver.start(first)
    with pytest.raises(Unavailable, match="lock"):
        driver.start(second)
    assert list(driver.machines()) == [first.instance_id]


def test_two_machines_may_read_one_disk(driver: Qemu, state: Path) -> None:
    disk = state / "seed.raw"
    disk.write_bytes(b"\0" * 4096)
    first, second = machine((Disk(disk, "raw", read_only=True),)), machine((Disk(disk, "raw", read_only=True),))
    driver.start(first)
    driver.start(second)
    assert len(processes_of(state)) == 2


def test_a_guest_that_obeys_the_power_button_is_not_killed(driver: Qemu, state: Path) -> None:
    spec = machine(boot_disk(state, OBEYS_BUTTON))
    driver.start(spec)
    eventually(lambda: listens_for_the_button(driver, spec))
    began_s = time.monotonic()
    driver.stop(spec.instance_id, 20)
    assert time.monotonic() - began_s < 15
    assert driver.machines()[spec.instance_id].reason == Reason.STOPPED


def test_a_paused_guest_is_woken_to_obey_the_power_button(driver: Qemu, state: Path) -> None:
    spec = machine(boot_disk(state, OBEYS_BUTTON))
    driver.start(spec)
    eventually(lambda: listens_for_the_button(driver, spec))
    driver.pause(spec.instance_id, True)
    driver.stop(spec.instance_id, 20)
    assert driver.machines()[spec.instance_id].reason == Reason.STOPPED


def test_a_guest_that_ignores_the_power_button_is_killed_after_the_grace(driver: Qemu) -> None:
    spec = machine()
    driver.start(spec)
    began_s = time.monotonic()
    driver.stop(spec.instance_id, 0.5)
    assert 0.5 <= time.monotonic() - began_s < 5
    assert driver.machines()[spec.instance_id].reason == Reason.FORCED


def test_a_frozen_qemu_is_taken_for_running_holds_nobody_up_and_can_be_stopped(driver: Qemu, state: Path) -> None:
    frozen, healthy = [machine() for _ in range(3)], machine()
    for spec in [*frozen, healthy]:
        driver.start(spec)
    for spec in frozen:
        os.kill(driver.machines()[spec.instance_id].pid, signal.SIGSTOP)
    driver.pause(healthy.instance_id, True)
    for _ in range(12):  # more than a frozen monitor queues
        began_s = time.monotonic()
        seen = driver.machines()
        assert time.monotonic() - began_s < 2
        if seen[frozen[0].instance_id].reason == Reason.NONE:
            raise AssertionError("a frozen process answered")
        assert seen[healthy.instance_id].run == Run.PAUSED
        assert {seen[spec.instance_id].run for spec in frozen} == {Run.RUNNING}
        assert {seen[spec.instance_id].reason for spec in frozen} == {Reason.MONITOR_SILENT}
    driver.stop(frozen[0].instance_id, 0)
    assert driver.machines()[frozen[0].instance_id].run == Run.STOPPED
    os.kill(seen[frozen[1].instance_id].pid, signal.SIGCONT)
    eventually(lambda: driver.machines()[frozen[1].instance_id].reason == Reason.NONE)


def test_the_debug_monitor_does_not_take_the_agents_place(driver: Qemu, state: Path) -> None:
    spec = machine()
    driver.start(spec)
    with Qmp(state / "machines" / spec.instance_id / "debug.qmp") as debug:
        assert driver.machines()[spec.instance_id].reason == Reason.NONE
        assert debug.execute("query-status")["running"] is True


def test_a_reused_pid_is_not_taken_for_ours(driver: Qemu, state: Path) -> None:
    spec = machine()
    driver.start(spec)
    os.kill(driver.machines()[spec.instance_id].pid, signal.SIGKILL)
    eventually(lambda: driver.machines()[spec.instance_id].run == Run.STOPPED)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            (state / "machines" / spec.instance_id / "pid").write_text(f"{stranger.pid}\n")
            assert driver.machines()[spec.instance_id].run == Run.STOPPED
            driver.stop(spec.instance_id, 0)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_pid_that_passed_to_somebody_else_is_not_held(state: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            with held(Process(stranger.pid, new_id()), state) as handle:
                assert handle is None
        finally:
            stranger.kill()


def test_a_directory_that_was_removed_while_it_was_waited_for_is_not_the_one_that_is_held(state: Path) -> None:
    directory, waiting = state / "d", threading.Event()
    seen: list[bool] = []

    def wait_for_it() -> None:
        waiting.set()
        with locked(directory, 10, create=True) as fresh:
            seen.extend([fresh, directory.exists()])

    waiter = threading.Thread(target=wait_for_it)
    with locked(directory, 10, create=True):
        waiter.start()
        waiting.wait(10)
        eventually(lambda: len(_holders(directory)) == 2)
        remove(directory)
    waiter.join(10)
    assert seen == [True, True]


def _holders(directory: Path) -> list[str]:
    """Our descriptors on this directory."""
    links = []
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{entry}"))
    return [link for link in links if link == str(directory)]


def test_a_process_that_only_mentions_a_machine_is_not_ours(driver: Qemu, state: Path) -> None:
    spec = machine()
    pid_file = f"{state}/machines/{spec.instance_id}/pid"
    words = ["-uuid", spec.instance_id, "-pidfile", pid_file]
    with subprocess.Popen(["tail", "-f", "/dev/null", "--", *words], stderr=subprocess.DEVNULL) as other:
        try:
            assert process_at(other.pid, state) is None
            assert driver.machines() == {}
        finally:
            other.kill()


def test_another_state_directorys_machines_are_not_ours(driver: Qemu, state: Path) -> None:
    other_state = state / "other"
    other, spec = Qemu(other_state, no_tap, accelerator="tcg"), machine()
    try:
        other.start(spec)
        assert driver.machines() == {}
        driver.stop(spec.instance_id, 0)
        assert other.machines()[spec.instance_id].run == Run.RUNNING
    finally:
        end_all(other_state)


@pytest.mark.parametrize("lost", ["spec.json", "pid", "agent.qmp", "everything"])
def test_a_machine_whose_files_are_lost_still_runs_and_is_not_started_again(
    driver: Qemu, state: Path, lost: str
) -> None:
    spec = machine()
    driver.start(spec)
    directory = state / "machines" / spec.instance_id
    subprocess.run(["rm", "-rf", str(directory / lost) if lost != "everything" else str(directory)], check=True)
    fresh = Qemu(state, no_tap, accelerator="tcg")
    assert fresh.machines()[spec.instance_id].run == Run.RUNNING
    fresh.start(spec)
    assert len(processes_of(state)) == 1
    with pytest.raises(Conflict):
        fresh.forget(spec.instance_id)
    fresh.stop(spec.instance_id, 0)
    assert processes_of(state) == []
    fresh.forget(spec.instance_id)
    assert fresh.machines() == {}


def test_a_machine_with_a_process_that_proc_does_not_show_is_not_started_again(
    driver: Qemu, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = machine()
    driver.start(spec)
    monkeypatch.setattr(launch_module, "KILL_S", 0.2)
    monkeypatch.setattr(driver, "_find", lambda _: [])
    with pytest.raises(Unavailable, match="does not end"):
        driver.start(spec)
    assert len(processes_of(state)) == 1


def test_a_killed_qemu_leaves_no_zombie_behind(driver: Qemu) -> None:
    spec = machine()
    driver.start(spec)
    pid = driver.machines()[spec.instance_id].pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: driver.machines()[spec.instance_id].run == Run.STOPPED)
    eventually(lambda: driver.machines() and not os.path.exists(f"/proc/{pid}"))
    driver.start(spec)
    pid = driver.machines()[spec.instance_id].pid
    driver.stop(spec.instance_id, 0)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_terminated_qemu_is_not_taken_for_a_guests_wish(driver: Qemu) -> None:
    spec = machine()
    driver.start(spec)
    os.kill(driver.machines()[spec.instance_id].pid, signal.SIGTERM)
    eventually(lambda: driver.machines()[spec.instance_id].run == Run.STOPPED)
    assert driver.machines()[spec.instance_id].reason == Reason.KILLED


def test_a_machine_that_ran_when_the_host_went_down_says_so(driver: Qemu, state: Path) -> None:
    spec = machine()
    driver.start(spec)
    os.kill(driver.machines()[spec.instance_id].pid, signal.SIGKILL)
    eventually(lambda: driver.machines()[spec.instance_id].run == Run.STOPPED)
    path = state / "machines" / spec.instance_id / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "an earlier one"}))
    assert driver.machines()[spec.instance_id].reason == Reason.HOST_RESTART


def test_a_failed_start_says_qemus_last_words(driver: Qemu, state: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone\.raw.*No such file"):
        driver.start(machine((Disk(state / "gone.raw", "raw"),)))


def test_a_qemu_that_never_answers_is_ended_and_leaves_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = state / "qemu-system-fake"
    real = "qemu-system-x86_64"
    binary.write_text(
        f'#!/bin/sh\ncase "$*" in *help*|*--version*) exec {real} "$@";; esac\necho $$ > {state}/pid\nexec sleep 60\n'
    )
    binary.chmod(0o755)
    driver = Qemu(state, no_tap, accelerator="tcg", binary=str(binary))
    driver.probe()
    monkeypatch.setattr(machines_module, "HYPERVISOR_START_S", 0.5)
    with pytest.raises(Unavailable):
        driver.start(machine())
    assert driver.machines() == {}
    assert not os.path.exists(f"/proc/{(state / 'pid').read_text().strip()}")


def test_a_start_whose_agent_was_killed_is_no_guests_wish(driver: Qemu, state: Path) -> None:
    empty, unconfirmed = machine(), machine()
    (state / "machines" / empty.instance_id).mkdir()
    assert driver.machines()[empty.instance_id].reason == Reason.START_FAILED
    driver.start(empty)
    assert driver.machines()[empty.instance_id].run == Run.RUNNING

    driver.start(unconfirmed)
    reason = state / "machines" / unconfirmed.instance_id / "reason"
    reason.write_text(Reason.START_FAILED)  # killed after the spawn
    assert driver.machines()[unconfirmed.instance_id].run == Run.RUNNING
    assert not reason.exists()


def test_a_start_that_gets_no_tap_leaves_nothing(state: Path) -> None:
    def refuse(card: Card) -> int:
        raise Unavailable(f"no tap {card.tap}")

    driver = Qemu(state, refuse, accelerator="tcg")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Unavailable, match="no tap"):
        driver.start(machine(cards=(Card("52:54:00:00:00:01", "hfhv-no", "", 1450),)))
    assert driver.machines() == {}
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("fault", ["mac", "format", "vcpus"])
def test_words_that_qemu_would_parse_are_checked_first(driver: Qemu, state: Path, fault: str) -> None:
    mac = "52:54:00:00:00:01,romfile=/etc/shadow" if fault == "mac" else "52:54:00:00:00:01"
    disk = Disk(state / "a", "host_device" if fault == "format" else "raw")
    card = Card(mac, "tap", "", 1450)
    with pytest.raises(BadInput):
        driver.start(MachineSpec(new_id(), 0 if fault == "vcpus" else 1, 32, (disk,), (card,)))
    assert driver.machines() == {}


def test_a_guest_that_floods_its_console_cannot_fill_the_disk(driver: Qemu, state: Path) -> None:
    spec = machine(boot_disk(state, FLOODS_CONSOLE))
    driver.start(spec)
    log = state / "machines" / spec.instance_id / "console.log"
    eventually(lambda: driver.console(spec.instance_id, 3) == b"AAA")
    with open(log, "ab") as more:  # what the guest would have written in half a minute
        more.write(b"B" * (4 * CONSOLE_BYTES))
    driver.machines()
    cut = log.stat().st_size
    assert cut <= CONSOLE_BYTES + 256 * 1024
    eventually(lambda: log.stat().st_size > cut + 1000)
    driver.stop(spec.instance_id, 0)
    kept = log.read_bytes()
    assert kept.endswith(b"AAA")
    assert b"\0" not in kept, "the guest's output goes on at the new end, not at the old offset"


def test_a_console_that_became_a_link_is_not_followed(driver: Qemu, state: Path) -> None:
    spec = machine()
    driver.start(spec)
    driver.stop(spec.instance_id, 0)
    log = state / "machines" / spec.instance_id / "console.log"
    secret = state / "secret"
    secret.write_bytes(b"x" * (4 * CONSOLE_BYTES))
    log.unlink()
    log.symlink_to(secret)
    assert driver.console(spec.instance_id, 100) == b""
    driver.machines()
    assert secret.stat().st_size == 4 * CONSOLE_BYTES
    log.unlink()
    os.mkfifo(log)
    assert driver.console(spec.instance_id, 100) == b""
    driver.machines()


def test_only_its_owner_may_read_a_machines_directory(driver: Qemu, state: Path) -> None:
    spec = machine()
    driver.start(spec)
    directory = state / "machines" / spec.instance_id
    assert directory.stat().st_mode & 0o777 == 0o700
    pid = driver.machines()[spec.instance_id].pid
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status
    assert Path(f"/proc/{pid}/environ").read_bytes().startswith(b"PATH=")
    assert Path(f"/proc/{pid}/environ").read_bytes().count(b"\0") == 1, "nothing of our own environment"


def test_a_deep_state_directory_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path.resolve().joinpath(*["a-rather-long-directory-name"] * 6, "with,comma")
    driver, spec = Qemu(deep, no_tap, accelerator="tcg"), machine()
    try:
        driver.start(spec)
        assert driver.machines()[spec.instance_id].reason == Reason.NONE
        eventually(lambda: b"SeaBIOS" in driver.console(spec.instance_id, 4096))
    finally:
        end_all(deep)


@pytest.mark.root
def test_a_guest_on_a_full_filesystem_is_paused_with_a_reason_and_resumes_when_there_is_room(
    driver: Qemu, state: Path
) -> None:
    small = state / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "hfhv-small", str(small)], check=True)
    try:
        disks = boot_disk(small, FILLS_DISK)
        os.truncate(disks[0].path, 24 << 20)
        spec = machine(disks)
        driver.start(spec)
        eventually(lambda: driver.machines()[spec.instance_id].reason == Reason.NOSPACE)
        assert driver.machines()[spec.instance_id].run == Run.PAUSED
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        driver.pause(spec.instance_id, False)
        eventually(lambda: disks[0].path.stat().st_blocks * 512 > 12 << 20)
        assert driver.machines()[spec.instance_id].run == Run.RUNNING
    finally:
        end_all(state)
        # a killed process has no command line before it has let go of its files
        eventually(lambda: subprocess.run(["umount", str(small)], capture_output=True).returncode == 0)


@pytest.mark.root
def test_a_start_on_a_full_state_directory_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    full = tmp_path.resolve() / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "hfhv-full", str(full)], check=True)
    try:
        driver = Qemu(full, no_tap, accelerator="tcg")
        with open(full / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(Unavailable):
            driver.start(machine())
        assert driver.machines() == {}
        assert list((full / "machines").iterdir()) == []
    finally:
        subprocess.run(["umount", str(full)], check=True)


@pytest.mark.root
def test_an_unprivileged_qemu_owns_its_machine_and_nothing_else() -> None:
    with tempfile.TemporaryDirectory(prefix="hfhv-") as name:
        state = Path(name).resolve()
        state.chmod(0o711)
        driver = Qemu(state, no_tap, user="nobody", accelerator="tcg")
        disks = boot_disk(state, OBEYS_BUTTON)
        disks[0].path.chmod(0o600)
        spec = machine(disks)
        try:
            driver.start(spec)
            eventually(lambda: listens_for_the_button(driver, spec))
            pid = driver.machines()[spec.instance_id].pid
            status = Path(f"/proc/{pid}/status").read_text()
            assert "Uid:\t65534\t65534\t65534\t65534" in status
            assert "CapEff:\t0000000000000000" in status
            assert disks[0].path.stat().st_uid == 65534
            assert (state / "machines" / spec.instance_id / "spec.json").stat().st_uid == 0
            driver.stop(spec.instance_id, 20)
            assert driver.machines()[spec.instance_id].reason == Reason.STOPPED
            driver.start(spec)
            os.kill(driver.machines()[spec.instance_id].pid, signal.SIGKILL)
            eventually(lambda: driver.machines()[spec.instance_id].reason == Reason.KILLED)
            driver.forget(spec.instance_id)
        finally:
            end_all(state)


def test_an_unknown_user_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        Qemu(tmp_path, no_tap, user="nobody-of-that-name")


@pytest.mark.root
def test_a_tap_is_handed_over_and_nothing_of_it_stays_open_here(state: Path) -> None:
    def open_tap(card: Card) -> int:
        handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        iff_tap, iff_no_pi, iff_vnet_hdr, tunsetiff = 0x0002, 0x1000, 0x4000, 0x400454CA
        fcntl.ioctl(handle, tunsetiff, struct.pack("16sH22x", card.tap.encode(), iff_tap | iff_no_pi | iff_vnet_hdr))
        return handle

    driver = Qemu(state, open_tap, accelerator="tcg")
    spec = machine(cards=(Card("52:54:00:00:00:01", "hfhv-tap0", "", 1450),))
    before = len(os.listdir("/proc/self/fd"))
    driver.start(spec)
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.path.exists("/sys/class/net/hfhv-tap0")
    with Qmp(state / "machines" / spec.instance_id / "debug.qmp") as monitor:
        listed = monitor.execute("qom-list", {"path": "/machine/peripheral-anon"})
        paths = [f"/machine/peripheral-anon/{item['name']}" for item in listed if "virtio-net" in item["type"]]
        assert [monitor.execute("qom-get", {"path": path, "property": "host_mtu"}) for path in paths] == [1450]
    driver.stop(spec.instance_id, 0)
    eventually(lambda: not os.path.exists("/sys/class/net/hfhv-tap0"))
