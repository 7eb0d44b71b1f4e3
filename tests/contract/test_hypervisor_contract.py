"""Every sentence of host/hypervisor/driver.py, against every driver. QEMU idles in its BIOS or runs a boot sector."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput, Conflict, NotFound, Unavailable
from holdfast.base.ids import new_id
from holdfast.host.hypervisor.driver import Card, Disk, Hypervisor, MachineSpec, Reason, Run
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.hypervisor.simulated import Simulated, happen, queue_failure
from tests.waiting import eventually

# mov dx,0x604; mov ax,0x2000; out dx,ax; hlt: the soft power-off of a q35
TURNS_ITSELF_OFF = bytes.fromhex("ba0406 b80020 ef f4 ebfd")


def machine(disks: tuple[Disk, ...] = ()) -> MachineSpec:
    return MachineSpec(instance_id=new_id(), vcpus=1, memory_mib=32, disks=disks, cards=())


def no_tap(card: Card) -> int:
    raise AssertionError(f"{card} was not asked for")


@dataclass
class Site:
    """One driver on one state directory, and how its world can be looked at and broken."""

    state: Path
    kind: str

    def driver(self) -> Hypervisor:
        return Simulated(self.state) if self.kind == "simulated" else Qemu(self.state, no_tap, accelerator="tcg")

    def starts(self, instance_id: str) -> int:
        """How many machines of this id there are, by the world's word."""
        if self.kind == "simulated":
            return int(self.driver().console(instance_id, 1 << 20).decode().count("boot "))
        return len([found for found in processes_of(self.state) if found.instance_id == instance_id])

    def unstartable(self, spec: MachineSpec) -> MachineSpec:
        if self.kind == "simulated":
            queue_failure(self.state, "start", Unavailable("the disk is not there"))
            return spec
        gone = (Disk(self.state / "gone.raw", "raw"),)
        return MachineSpec(spec.instance_id, spec.vcpus, spec.memory_mib, gone, spec.cards)

    def crash(self, driver: Hypervisor, instance_id: str) -> None:
        if self.kind == "simulated":
            happen(self.state, instance_id, Reason.KILLED)
        else:
            os.kill(driver.machines()[instance_id].pid, signal.SIGKILL)

    def turn_off_from_inside(self, driver: Hypervisor) -> str:
        """Start a machine whose guest turns itself off."""
        if self.kind == "simulated":
            spec = machine()
            driver.start(spec)
            happen(self.state, spec.instance_id, Reason.GUEST_SHUTDOWN)
            return spec.instance_id
        disk = self.state / "off.raw"
        disk.write_bytes((TURNS_ITSELF_OFF.ljust(510, b"\0") + b"\x55\xaa").ljust(2 << 20, b"\0"))
        spec = machine(disks=(Disk(disk, "raw"),))
        driver.start(spec)
        return spec.instance_id


@pytest.fixture(params=["simulated", pytest.param("qemu", marks=pytest.mark.qemu)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path.resolve(), request.param)
    yield site
    for process in processes_of(site.state):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def test_a_probe_says_what_runs_here_and_in_which_version(site: Site) -> None:
    probed = site.driver().probe()
    assert probed.accelerator in ("tcg", "kvm", "simulated")
    assert probed.version and probed.note


def test_an_empty_host_holds_no_machine(site: Site) -> None:
    assert site.driver().machines() == {}


def test_a_started_machine_runs(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    seen = driver.machines()[spec.instance_id]
    assert (seen.run, seen.reason) == (Run.RUNNING, Reason.NONE)
    assert site.starts(spec.instance_id) == 1


def test_starting_twice_is_starting_once(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    first = driver.machines()
    driver.start(spec)
    site.driver().start(spec)
    assert driver.machines() == first
    assert site.starts(spec.instance_id) == 1


def test_a_paused_machine_that_is_started_stays_as_it_is(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    driver.pause(spec.instance_id, True)
    driver.start(spec)
    assert driver.machines()[spec.instance_id].run == Run.PAUSED
    assert site.starts(spec.instance_id) == 1


def test_eight_threads_that_start_one_machine_start_it_once(site: Site) -> None:
    spec, gate, failures = machine(), threading.Barrier(8), []

    def start() -> None:
        driver = site.driver()
        gate.wait()
        try:
            driver.start(spec)
        except Exception as err:
            failures.append(err)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert site.starts(spec.instance_id) == 1


def test_a_new_driver_finds_pauses_and_stops_what_a_killed_one_started(site: Site) -> None:
    spec = machine()
    program = f"""
import os
from pathlib import Path
from holdfast.host.hypervisor.driver import MachineSpec
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.simulated import Simulated
from tests.waiting import eventually
state = Path({str(site.state)!r})
driver = Simulated(state) if {site.kind!r} == "simulated" else Qemu(state, None, accelerator="tcg")
driver.start(MachineSpec({spec.instance_id!r}, 1, 32, (), ()))
os.killpg(0, 9)
"""
    done = subprocess.run([sys.executable, "-c", program], start_new_session=True, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr

    driver = site.driver()
    assert driver.machines()[spec.instance_id].run == Run.RUNNING
    driver.start(spec)
    assert site.starts(spec.instance_id) == 1
    driver.pause(spec.instance_id, True)
    assert driver.machines()[spec.instance_id].run == Run.PAUSED
    driver.stop(spec.instance_id, 0)
    assert driver.machines()[spec.instance_id].run == Run.STOPPED


def test_a_stranger_is_nothing_to_stop_or_forget_and_an_error_to_pause_or_read(site: Site) -> None:
    driver, stranger = site.driver(), new_id()
    driver.stop(stranger, 0)
    driver.stop(stranger, 5)
    driver.forget(stranger)
    with pytest.raises(Conflict):
        driver.pause(stranger, True)
    with pytest.raises(NotFound):
        driver.console(stranger, 100)
    assert driver.machines() == {}


def test_a_stopped_machine_is_kept_and_says_who_stopped_it(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    driver.stop(spec.instance_id, 0)
    driver.stop(spec.instance_id, 0)
    seen = driver.machines()[spec.instance_id]
    assert (seen.run, seen.pid, seen.reason) == (Run.STOPPED, 0, Reason.FORCED)
    if site.kind == "qemu":
        assert site.starts(spec.instance_id) == 0


def test_a_stopped_machine_starts_again_and_its_console_goes_on(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    eventually(lambda: driver.console(spec.instance_id, 1 << 20))
    driver.stop(spec.instance_id, 0)
    before = driver.console(spec.instance_id, 1 << 20)
    driver.start(spec)
    seen = driver.machines()[spec.instance_id]
    assert (seen.run, seen.reason) == (Run.RUNNING, Reason.NONE)
    assert before
    eventually(lambda: len(driver.console(spec.instance_id, 1 << 20)) > len(before))
    assert driver.console(spec.instance_id, 1 << 20).startswith(before)


def test_a_console_gives_its_last_bytes_and_no_more_than_asked(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    eventually(lambda: len(driver.console(spec.instance_id, 1 << 20)) > 20)
    driver.stop(spec.instance_id, 0)
    whole = driver.console(spec.instance_id, 1 << 20)
    assert driver.console(spec.instance_id, 7) == whole[-7:]
    assert driver.console(spec.instance_id, 0) == b""


def test_pausing_and_resuming_may_be_repeated(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    for paused, expected in ((True, Run.PAUSED), (True, Run.PAUSED), (False, Run.RUNNING), (False, Run.RUNNING)):
        driver.pause(spec.instance_id, paused)
        assert driver.machines()[spec.instance_id].run == expected
    driver.stop(spec.instance_id, 0)
    with pytest.raises(Conflict):
        driver.pause(spec.instance_id, True)


def test_a_running_or_paused_machine_is_not_forgotten(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    with pytest.raises(Conflict):
        driver.forget(spec.instance_id)
    driver.pause(spec.instance_id, True)
    with pytest.raises(Conflict):
        driver.forget(spec.instance_id)
    assert driver.machines()[spec.instance_id].run == Run.PAUSED


def test_a_forgotten_machine_leaves_no_trace_but_its_disks(site: Site) -> None:
    driver = site.driver()
    disk = site.state / "kept.raw"
    disk.write_bytes(b"\0" * 4096)
    spec = machine(disks=(Disk(disk, "raw"),))
    driver.start(spec)
    driver.stop(spec.instance_id, 0)
    driver.forget(spec.instance_id)
    driver.forget(spec.instance_id)
    assert driver.machines() == {}
    with pytest.raises(NotFound):
        driver.console(spec.instance_id, 100)
    assert [path for path in site.state.rglob("*") if spec.instance_id in str(path)] == []
    assert disk.exists()


def test_a_failed_start_leaves_nothing_and_the_next_one_succeeds(site: Site) -> None:
    driver, spec = site.driver(), machine()
    with pytest.raises(Unavailable):
        driver.start(site.unstartable(spec))
    assert driver.machines() == {}
    assert [path for path in site.state.rglob("*") if spec.instance_id in str(path)] == []
    driver.start(spec)
    assert site.starts(spec.instance_id) == 1


def test_a_failed_restart_keeps_the_machine_and_its_console(site: Site) -> None:
    driver, spec = site.driver(), machine()
    driver.start(spec)
    eventually(lambda: driver.console(spec.instance_id, 100))
    driver.stop(spec.instance_id, 0)
    with pytest.raises(Unavailable):
        driver.start(site.unstartable(spec))
    seen = driver.machines()[spec.instance_id]
    assert (seen.run, seen.reason) == (Run.STOPPED, Reason.START_FAILED)
    assert driver.console(spec.instance_id, 100)


def test_a_guest_that_turned_itself_off_is_told_from_one_that_was_killed(site: Site) -> None:
    driver, killed = site.driver(), machine()
    driver.start(killed)
    site.crash(driver, killed.instance_id)
    off = site.turn_off_from_inside(driver)
    eventually(lambda: site.driver().machines()[off].run == Run.STOPPED)
    eventually(lambda: site.driver().machines()[killed.instance_id].run == Run.STOPPED)
    reasons = {key: seen.reason for key, seen in site.driver().machines().items()}
    assert reasons == {off: Reason.GUEST_SHUTDOWN, killed.instance_id: Reason.KILLED}


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "x" * 36, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"])
def test_a_name_that_is_no_id_never_becomes_a_path(site: Site, name: str) -> None:
    driver = site.driver()
    with pytest.raises(BadInput):
        driver.start(MachineSpec(name, 1, 32, (), ()))
    driver.stop(name, 0)
    driver.forget(name)
    with pytest.raises(NotFound):
        driver.console(name, 100)
    assert driver.machines() == {}
    assert site.state.exists()
