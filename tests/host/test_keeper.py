"""The keeper as a process, beside processes that look like our QEMUs, real QEMUs, and a small control plane."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from holdfast.base.ids import new_id
from holdfast.base.limits import CONSOLE_BYTES
from holdfast.host.hypervisor.driver import MachineSpec, Reason, Run
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.keeper.keep import look
from holdfast.host.keeper.lease import Grant, Lease, boot_id, boot_time_s, read_grant, read_lease, write_grant
from holdfast.host.keeper.watchdog import Watchdog
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent


class ControlPlane:
    """Grants leases until it is told otherwise."""

    def __init__(self) -> None:
        self.valid_s, self.enforce, self.behaviour = 1.0, True, "grant"
        self.asked: list[dict[str, object]] = []
        self.asked_at_s: list[float] = []
        self._gate = threading.Event()
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                control.asked.append({**body, "path": self.path, "token": self.headers["X-Host-Token"]})
                control.asked_at_s.append(boot_time_s())
                if control.behaviour == "hang":
                    control._gate.wait(60)
                answer = json.dumps({"valid_s": control.valid_s, "enforce": control.enforce}).encode()
                self.send_response(200 if control.behaviour == "grant" else 503)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class World:
    """A host's state directory with a keeper and look-alikes of QEMU."""

    def __init__(self, state: Path, control: ControlPlane) -> None:
        self.state, self.control = state, control
        self.processes: list[subprocess.Popen[bytes]] = []
        (state / "token").write_text("s3cret")

    def keeper(self, *more: str) -> subprocess.Popen[bytes]:
        argv = [
            sys.executable, "-m", "holdfast.host.keeper", "--state", str(self.state),
            "--endpoint", self.control.endpoint, "--token-file", str(self.state / "token"), "--host", "host-1",
            "--log", str(self.state / "keeper.log"), *more,
        ]  # fmt: skip
        process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd="/")
        self.processes.append(process)
        return process

    def guest(self, state: Path | None = None, name: str = "qemu-system-x86_64") -> subprocess.Popen[bytes]:
        """A process with the command line of a machine's QEMU; it waits to be killed."""
        instance_id = new_id()
        pid_file = f"{state or self.state}/machines/{instance_id}/pid"
        argv = [name, "-c", "read -r -t 300 line", "-uuid", instance_id, "-pidfile", pid_file]
        process = subprocess.Popen(argv, executable="/bin/bash", stdin=subprocess.PIPE)
        self.processes.append(process)
        seen = Path(f"/proc/{process.pid}/cmdline")
        eventually(lambda: b"-pidfile" in seen.read_bytes() or process.poll() is not None)  # or killed already
        return process

    def lease(self) -> Lease:
        return read_lease(self.state / "lease.json")

    def close(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)
            if process.stdin:
                process.stdin.close()
        for found in processes_of(self.state):
            with suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGKILL)


@pytest.fixture
def control() -> Iterator[ControlPlane]:
    control = ControlPlane()
    yield control
    control.close()


@pytest.fixture
def world(tmp_path: Path, control: ControlPlane) -> Iterator[World]:
    world = World(tmp_path.resolve(), control)
    yield world
    world.close()


def ended(*processes: subprocess.Popen[bytes]) -> bool:
    return all(process.poll() == -signal.SIGKILL for process in processes)


def alive(*processes: subprocess.Popen[bytes]) -> bool:
    return all(process.poll() is None for process in processes)


def test_a_lease_is_renewed_every_third_of_it_and_written_for_the_agent(world: World, control: ControlPlane) -> None:
    control.valid_s = 1.5
    world.keeper()
    eventually(lambda: len(control.asked) >= 4)
    assert control.asked[0]["path"] == "/hosts/v1/host-1/lease"
    assert control.asked[0]["token"] == "s3cret"
    assert control.asked[0]["boot_id"] == boot_id()
    assert control.asked_at_s[3] - control.asked_at_s[0] > 1.0
    lease = world.lease()
    assert lease.known and lease.enforce and lease.may_run and lease.left_s <= 1.5


def test_a_lease_is_counted_from_the_question_not_from_the_answer(world: World, control: ControlPlane) -> None:
    control.valid_s = 600
    world.keeper()
    eventually(lambda: world.lease().known)
    grant = read_grant(world.state / "lease.json")
    assert grant and len(control.asked_at_s) == 1
    assert grant.asked_s <= control.asked_at_s[0]


def test_guests_live_while_the_lease_is_renewed_and_end_when_it_has_lapsed(world: World, control: ControlPlane) -> None:
    guests = [world.guest() for _ in range(3)]
    world.keeper()
    eventually(lambda: len(control.asked) >= 6)  # well past the first grant's end
    assert alive(*guests)
    control.behaviour = "refuse"
    eventually(lambda: ended(*guests))
    grant = read_grant(world.state / "lease.json")
    assert grant and boot_time_s() >= grant.asked_s + grant.valid_s, "not before the lease had lapsed"


def test_only_our_guests_end(world: World, control: ControlPlane, tmp_path: Path) -> None:
    ours = world.guest()
    strangers = [world.guest(state=tmp_path / "elsewhere"), world.guest(name="tail"), world.guest(name="bash")]
    world.keeper()
    eventually(lambda: world.lease().may_run)
    control.behaviour = "refuse"
    eventually(lambda: ended(ours))
    assert alive(*strangers)


def test_guests_that_appear_while_it_is_lapsed_end_too(world: World, control: ControlPlane) -> None:
    world.keeper()
    eventually(lambda: world.lease().may_run)
    control.behaviour = "refuse"
    eventually(lambda: not world.lease().may_run)
    late = world.guest()
    eventually(lambda: ended(late))
    control.behaviour = "grant"
    eventually(lambda: world.lease().may_run)
    again, asked = world.guest(), len(control.asked)
    eventually(lambda: len(control.asked) >= asked + 5)
    assert alive(again)


def test_nothing_ends_under_a_lease_that_does_not_enforce(world: World, control: ControlPlane) -> None:
    control.enforce = False
    guest = world.guest()
    world.keeper()
    eventually(lambda: world.lease().known)
    control.behaviour = "refuse"
    eventually(lambda: world.lease().left_s == 0)
    lapsed_at_s = boot_time_s()
    eventually(lambda: boot_time_s() > lapsed_at_s + 2)  # four looks of the keeper
    assert alive(guest)
    assert world.lease().may_run


def test_an_enforced_lease_that_was_replaced_by_a_loose_one_ends_nothing(world: World, control: ControlPlane) -> None:
    guest = world.guest()
    world.keeper()
    eventually(lambda: world.lease().enforce)
    control.enforce = False
    eventually(lambda: not world.lease().enforce)
    control.behaviour = "refuse"
    eventually(lambda: world.lease().left_s == 0)
    lapsed_at_s = boot_time_s()
    eventually(lambda: boot_time_s() > lapsed_at_s + 2)
    assert alive(guest)


def test_a_control_plane_that_hangs_does_not_hold_up_the_countdown(world: World, control: ControlPlane) -> None:
    guest = world.guest()
    world.keeper()
    eventually(lambda: world.lease().may_run)
    control.behaviour = "hang"
    began_s = boot_time_s()
    eventually(lambda: ended(guest))
    assert boot_time_s() - began_s < 4, "the request's own bound is longer"


def test_a_killed_keeper_that_returns_late_acts_at_once(world: World, control: ControlPlane) -> None:
    guest = world.guest()
    keeper = world.keeper()
    eventually(lambda: world.lease().may_run)
    keeper.kill()
    keeper.wait(10)
    control.behaviour = "hang"
    eventually(lambda: world.lease().left_s == 0)
    assert alive(guest)
    world.keeper()
    eventually(lambda: ended(guest))


def test_a_killed_keeper_that_returns_in_time_goes_on(world: World, control: ControlPlane) -> None:
    control.valid_s = 6
    guest = world.guest()
    keeper = world.keeper()
    eventually(lambda: world.lease().may_run)
    keeper.kill()
    keeper.wait(10)
    first_epoch, asked = control.asked[-1]["keeper_epoch"], len(control.asked)
    world.keeper()
    eventually(lambda: len(control.asked) > asked)
    assert control.asked[-1]["keeper_epoch"] > first_epoch  # type: ignore[operator]
    assert alive(guest)


def test_a_keeper_that_was_frozen_past_the_deadline_acts_when_it_wakes(world: World, control: ControlPlane) -> None:
    guest = world.guest()
    keeper = world.keeper()
    eventually(lambda: world.lease().may_run)
    control.behaviour = "refuse"
    keeper.send_signal(signal.SIGSTOP)
    eventually(lambda: world.lease().left_s == 0)
    assert alive(guest)
    keeper.send_signal(signal.SIGCONT)
    eventually(lambda: ended(guest))


def test_a_keeper_that_never_had_a_grant_ends_nothing(world: World, control: ControlPlane) -> None:
    control.behaviour = "refuse"
    guest = world.guest()
    world.keeper()
    eventually(lambda: len(control.asked) >= 3)
    assert alive(guest)
    assert not world.lease().may_run


def test_there_is_one_keeper_per_state_directory(world: World, control: ControlPlane) -> None:
    first = world.keeper()
    eventually(lambda: world.lease().may_run)
    second = world.keeper()
    assert second.wait(10) == 1
    assert alive(first)


def test_a_reason_that_cannot_be_written_saves_no_guest(world: World) -> None:
    guest = world.guest()
    (world.state / "machines").mkdir()
    os.symlink("/dev/full", world.state / "machines" / processes_of(world.state)[0].instance_id)
    look(world.state, Grant(boot_id(), 0.0, 0.1, True), boot_id(), Watchdog(None))
    eventually(lambda: ended(guest))


def test_the_token_is_in_no_command_line_and_no_log(world: World, control: ControlPlane) -> None:
    control.behaviour = "refuse"
    keeper = world.keeper()
    eventually(lambda: len(control.asked) >= 2)
    eventually(lambda: "lease_not_renewed" in (world.state / "keeper.log").read_text())
    assert b"s3cret" not in Path(f"/proc/{keeper.pid}/cmdline").read_bytes()
    assert "s3cret" not in (world.state / "keeper.log").read_text()


def test_a_keeper_is_small(world: World) -> None:
    keeper = world.keeper()
    eventually(lambda: world.lease().may_run)
    rollup = Path(f"/proc/{keeper.pid}/smaps_rollup").read_text()
    pss_kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert pss_kib < 16 * 1024


def test_consoles_are_bounded_while_no_agent_runs(world: World) -> None:
    directory = world.state / "machines" / new_id()
    directory.mkdir(parents=True)
    console = directory / "console.log"
    console.write_bytes(b"A" * (3 * CONSOLE_BYTES) + b"the end")
    world.keeper()
    eventually(lambda: console.stat().st_size == CONSOLE_BYTES)
    assert console.read_bytes().endswith(b"A" * 100 + b"the end")


@pytest.mark.qemu
def test_a_real_machine_ends_with_the_lease_and_says_why(world: World, control: ControlPlane) -> None:
    driver = Qemu(world.state, lambda _: -1, accelerator="tcg")
    spec = MachineSpec(new_id(), 1, 32, (), ())
    driver.start(spec)
    world.keeper()
    eventually(lambda: len(control.asked) >= 5)
    assert driver.machines()[spec.instance_id].run == Run.RUNNING
    control.behaviour = "refuse"
    eventually(lambda: driver.machines()[spec.instance_id].run == Run.STOPPED)
    assert driver.machines()[spec.instance_id].reason == Reason.LEASE_LAPSED


def test_a_watchdog_is_armed_only_by_an_enforced_lease_and_touched_while_all_is_well(tmp_path: Path) -> None:
    device = tmp_path / "watchdog"
    os.mkfifo(device)
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    try:
        watchdog = Watchdog(device)
        watchdog.keep(armed=False, healthy=True)
        assert os.read(reader, 100) == b""
        watchdog.keep(armed=True, healthy=True)
        watchdog.keep(armed=True, healthy=True)
        assert os.read(reader, 100) == b"\0\0"
        watchdog.keep(armed=True, healthy=False)
        with pytest.raises(BlockingIOError):  # still open, not touched
            os.read(reader, 100)
        watchdog.keep(armed=False, healthy=True)
        assert os.read(reader, 100) == b"V"
        assert os.read(reader, 100) == b"", "closed"
    finally:
        os.close(reader)


def test_a_watchdog_is_left_alone_while_guests_outlive_their_lease(world: World, tmp_path: Path) -> None:
    device = tmp_path / "watchdog"
    device.touch()
    watchdog, this_boot = Watchdog(device), boot_id()
    look(world.state, Grant(this_boot, boot_time_s(), 30.0, True), this_boot, watchdog)
    assert device.read_bytes() == b"\0"
    guest = world.guest()
    lapsed = Grant(this_boot, boot_time_s() - 60, 30.0, True)
    look(world.state, lapsed, this_boot, watchdog)
    assert device.read_bytes() == b"\0", "a guest was still found"
    eventually(lambda: ended(guest))
    look(world.state, lapsed, this_boot, watchdog)
    assert device.read_bytes() == b"\0\0"


def test_a_watchdog_that_is_not_there_does_not_stop_the_countdown(world: World, tmp_path: Path) -> None:
    guest, this_boot = world.guest(), boot_id()
    write_grant(world.state / "lease.json", Grant(this_boot, boot_time_s() - 60, 30.0, True))
    look(world.state, read_grant(world.state / "lease.json"), this_boot, Watchdog(tmp_path / "none" / "watchdog"))
    eventually(lambda: ended(guest))
