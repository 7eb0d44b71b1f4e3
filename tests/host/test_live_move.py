"""A real guest moves from one QEMU to another while it counts: nothing of it is lost, and it never runs twice."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.base.errors import Conflict
from holdfast.base.ids import new_id
from holdfast.host.hypervisor.driver import (
    Card,
    Copy,
    Disk,
    MachineSpec,
    Passage,
    Reason,
    Run,
    Sending,
    SendState,
    Where,
)
from holdfast.host.hypervisor.qemu.machines import Qemu
from holdfast.host.hypervisor.qemu.processes import processes_of
from holdfast.host.hypervisor.qmp import Qmp, short_path
from holdfast.host.imagebuild.packages import parts_fetch
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny
from tests.stories.bareguest import package_cache
from tests.stories.bareguest import until as until_bound

BOUND_S = 40
pytestmark = pytest.mark.qemu
HERE = "127.0.0.1"
deep = pytest.mark.skipif(not os.environ.get("HOLDFAST_TEST_MOVES"), reason="HOLDFAST_TEST_MOVES=1 runs all moves")
COUNT = "(n=0; while :; do n=$((n+1)); echo count-$n-; sleep 0.1; done > /dev/ttyS0) &"


def until(what: Callable[[], object]) -> None:
    until_bound(what, BOUND_S)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> TinyImage:
    parts_fetch(package_cache(), print)
    return build_tiny(tmp_path_factory.mktemp("tiny"), package_cache(), print)


def no_tap(card: Card) -> int:
    raise AssertionError(f"{card} was not asked for")


class Host:
    """One driver on one state directory."""

    def __init__(self, state: Path, spec: MachineSpec) -> None:
        state.mkdir(exist_ok=True)
        self.state, self.spec, self.id = state.resolve(), spec, spec.instance_id
        self.driver = Qemu(self.state, no_tap, accelerator="tcg")
        self.directory = self.state / "machines" / self.id

    def console(self) -> str:
        return self.driver.console(self.id, 1 << 20).decode("utf-8", "replace")

    def shell(self, command: str) -> None:
        """Run a command as root on the serial console, to its end."""
        mark = new_id()[:8]
        with socket.socket(socket.AF_UNIX) as line:
            with short_path(self.directory / "console.sock") as name:
                line.connect(name)
            line.settimeout(BOUND_S)
            line.sendall(f"\n{command}\necho end-'{mark}'\n".encode())
            heard = b""
            while f"end-{mark}".encode() not in heard:
                heard += line.recv(4096)

    def counts(self) -> list[int]:
        return [int(found) for found in re.findall(r"count-(\d+)-", self.console())]

    def seen(self) -> tuple[Run, Reason]:
        found = self.driver.machines()[self.id]
        return found.run, found.reason

    def pid(self) -> int:
        return self.driver.machines()[self.id].pid

    def ask(self, command: str) -> dict[str, object]:
        """By the monitor for people, which the driver does not use."""
        with Qmp(self.directory / "debug.qmp") as monitor:
            return dict(monitor.execute(command))

    def send(self, passage: Passage, where: Where) -> Sending:
        """Until it is sent or failed."""
        last: list[Sending] = []

        def over() -> bool:
            last.append(self.driver.send(self.id, passage, where))
            return last[-1].state in (SendState.SENT, SendState.FAILED)

        until(over)
        return last[-1]


class Witness:
    """Samples both QEMUs; `twice` counts the moments in which both had running processors."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts, self.twice, self.samples = hosts, 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self.samples > 0
        assert self.twice == 0, f"two copies ran in {self.twice} of {self.samples} samples"

    def _look(self) -> None:
        while not self._over.is_set():
            running = 0
            for host in self.hosts:
                with suppress(Exception):
                    running += bool(host.ask("query-status")["running"])
            self.samples += 1
            self.twice += running > 1


class World:
    """Two hosts, and a guest on the first that counts."""

    def __init__(self, room: Path, image: TinyImage) -> None:
        self.disk = room / "root.qcow2"
        base = room / "base"
        shutil.copyfile(image.disk, base)
        self.base = (base, image.disk_format)
        self.overlay(self.disk)
        self.spec = MachineSpec(
            instance_id=new_id(),
            vcpus=1,
            memory_mib=128,
            disks=(Disk(self.disk, "qcow2"),),
            cards=(),
            kernel=image.kernel,
            ramdisk=image.ramdisk,
            kernel_arguments=image.kernel_arguments,
        )
        self.source, self.target = Host(room / "a", self.spec), Host(room / "b", self.spec)

    def overlay(self, path: Path) -> None:
        form = ["-q", "-f", "qcow2", "-b", str(self.base[0]), "-F", self.base[1]]
        subprocess.run(["qemu-img", "create", *form, str(path)], check=True)

    def count(self) -> None:
        self.source.driver.start(self.spec)
        until(lambda: "login:" in self.source.console())
        self.source.shell(COUNT)
        until(lambda: len(self.source.counts()) > 2)

    def passage(self, copy: Copy = Copy.NONE) -> Passage:
        return Passage(new_id(), copy, secrets.token_hex(32))

    def await_guest(self, passage: Passage) -> Where:
        spec = self.spec
        if passage.copy is not Copy.NONE:
            other = self.disk.with_name("other.qcow2")
            self.overlay(other)
            spec = replace(spec, disks=(Disk(other, "qcow2"),))
        return self.target.driver.receive(spec, passage, HERE)

    def goes_on_counting(self, host: Host, beyond: int) -> None:
        until(lambda: host.counts() and host.counts()[-1] > beyond)


@pytest.fixture
def world(tmp_path: Path, image: TinyImage) -> Iterator[World]:
    world = World(tmp_path.resolve(), image)
    yield world
    for host in (world.source, world.target):
        for process in processes_of(host.state):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def listens(where: Where) -> bool:
    for port in filter(None, (where.port, where.disks_port)):
        with closing(socket.socket()) as knock:
            if knock.connect_ex((where.address, port)) == 0:
                return True
    return False


@pytest.mark.parametrize("copy", [Copy.NONE, Copy.TOP])
def test_a_guest_goes_on_elsewhere_where_it_was(world: World, copy: Copy) -> None:
    world.count()
    source, target = world.source, world.target
    if copy is not Copy.NONE:
        source.shell("dd if=/dev/urandom of=/dev/vda bs=1k count=64 seek=9000; sync")
    passage = world.passage(copy)
    with Witness(source, target):
        where = world.await_guest(passage)
        assert world.await_guest(passage) == where if copy is Copy.NONE else True
        assert target.seen() == (Run.PAUSED, Reason.RECEIVING)
        sent = source.send(passage, where)
        assert sent.state is SendState.SENT, sent
        assert source.seen() == (Run.PAUSED, Reason.SENT)
        until(lambda: target.seen() == (Run.PAUSED, Reason.RECEIVED))
        last = source.counts()[-1]
        for host in (source, target):
            with pytest.raises(Conflict):
                host.driver.pause(world.spec.instance_id, False)
        target.driver.activate(world.spec.instance_id)
        world.goes_on_counting(target, last)
        assert min(target.counts()) in (last, last + 1), "it neither began anew nor left out a number"
        assert target.seen() == (Run.RUNNING, Reason.NONE)
        source.driver.stop(world.spec.instance_id, 30)
        assert source.seen() == (Run.STOPPED, Reason.MOVED)
    assert not listens(where)
    assert not list(world.disk.parent.glob("*/machines/*/keys.psk"))[1:]
    if copy is not Copy.NONE:
        target.driver.stop(world.spec.instance_id, 0)
        other = world.disk.with_name("other.qcow2")
        subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", world.disk, other], check=True)


@deep
def test_a_target_that_dies_leaves_the_guest_where_it_is(world: World) -> None:
    world.count()
    passage = world.passage()
    where = world.await_guest(passage)
    os.kill(world.target.pid(), signal.SIGKILL)
    until(lambda: world.target.seen() == (Run.STOPPED, Reason.NOT_RECEIVED))
    assert world.source.send(passage, where).state is SendState.FAILED
    world.goes_on_counting(world.source, world.source.counts()[-1])
    assert world.source.seen() == (Run.RUNNING, Reason.NONE)


@deep
def test_a_guest_that_was_sent_is_taken_back_and_sent_again(world: World) -> None:
    world.count()
    source, target, instance_id = world.source, world.target, world.spec.instance_id
    with Witness(source, target):
        passage = world.passage()
        assert source.send(passage, world.await_guest(passage)).state is SendState.SENT
        assert source.driver.cancel_send(instance_id).state is SendState.SENT
        until(lambda: target.seen() == (Run.PAUSED, Reason.RECEIVED))
        target.driver.stop(instance_id, 30)
        assert target.seen() == (Run.STOPPED, Reason.NOT_RECEIVED)
        source.driver.activate(instance_id)
        world.goes_on_counting(source, source.counts()[-1])
        again = world.passage()
        assert source.send(again, world.await_guest(again)).state is SendState.SENT
        until(lambda: target.seen() == (Run.PAUSED, Reason.RECEIVED))
        target.driver.activate(instance_id)
        world.goes_on_counting(target, source.counts()[-1])


@deep
def test_without_the_key_nobody_sends_a_guest(world: World) -> None:
    world.count()
    passage = world.passage()
    where = world.await_guest(passage)
    thief = replace(passage, key=secrets.token_hex(32))
    refused = world.source.send(thief, where)
    assert refused.state is SendState.FAILED
    assert passage.key not in repr(passage)
    assert world.target.seen()[0] is not Run.RUNNING
    world.goes_on_counting(world.source, world.source.counts()[-1])


@deep
def test_a_guest_is_not_woken_in_two_places_even_if_told_so(world: World) -> None:
    """The last line: QEMU's lock on a disk that both open."""
    world.count()
    passage = world.passage()
    assert world.source.send(passage, world.await_guest(passage)).state is SendState.SENT
    until(lambda: world.target.seen() == (Run.PAUSED, Reason.RECEIVED))
    with Witness(world.source, world.target):
        world.target.driver.activate(world.spec.instance_id)
        with pytest.raises(Conflict):
            world.source.driver.activate(world.spec.instance_id)
        world.goes_on_counting(world.target, world.source.counts()[-1])


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("cancelled", marks=deep),
        pytest.param("target killed", marks=deep),
        pytest.param("target frozen", marks=deep),
    ],
)
def test_a_move_that_ends_in_its_middle_leaves_the_guest_where_it_is(world: World, end: str) -> None:
    world.count()
    source, target, instance_id = world.source, world.target, world.spec.instance_id
    passage = world.passage(Copy.FULL)
    with Witness(source, target):
        where = world.await_guest(passage)
        assert source.driver.send(instance_id, passage, where).state in (SendState.COPYING, SendState.SENDING)
        if end == "target killed":
            os.kill(target.pid(), signal.SIGKILL)
            assert source.send(passage, where).state is SendState.FAILED
        else:
            if end == "target frozen":
                os.kill(target.pid(), signal.SIGSTOP)
            assert source.driver.cancel_send(instance_id).state is SendState.NONE
            os.kill(target.pid(), signal.SIGCONT)
        world.goes_on_counting(source, source.counts()[-1])
        assert source.seen() == (Run.RUNNING, Reason.NONE)
        assert source.ask("query-migrate").get("status") in (None, "failed", "cancelled")
        target.driver.stop(instance_id, 30)
        assert target.seen() == (Run.STOPPED, Reason.NOT_RECEIVED)
    assert not listens(where)


@deep
def test_a_source_that_dies_before_the_switch_leaves_a_target_that_never_runs(world: World) -> None:
    world.count()
    source, target, instance_id = world.source, world.target, world.spec.instance_id
    passage = world.passage()
    with Witness(target):
        where = world.await_guest(passage)
        os.kill(source.pid(), signal.SIGKILL)
        assert target.seen() == (Run.PAUSED, Reason.RECEIVING)
        with pytest.raises(Conflict):
            target.driver.activate(instance_id)
        assert target.seen() == (Run.PAUSED, Reason.RECEIVING)
        target.driver.stop(instance_id, 0)
    assert not listens(where)
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", world.disk], check=True)
    source.driver.start(world.spec)
    until(lambda: source.console().count("login:") == 2)
