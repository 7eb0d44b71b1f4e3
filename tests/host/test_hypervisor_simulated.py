"""The simulated driver's own promises: knobs that any process may turn, and thousands of machines."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.base.errors import Conflict, NoCapacity, NotFound, Unavailable
from holdfast.base.ids import new_id
from holdfast.host.hypervisor.driver import MachineSpec, Reason, Run
from holdfast.host.hypervisor.simulated import Knobs, Simulated, happen, queue_failure, set_knobs


def machine() -> MachineSpec:
    return MachineSpec(new_id(), 1, 64, (), ())


def test_a_queued_failure_is_raised_once_and_in_order(tmp_path: Path) -> None:
    driver, spec = Simulated(tmp_path), machine()
    queue_failure(tmp_path, "start", Unavailable("first", code="no_memory"))
    queue_failure(tmp_path, "start", NoCapacity("second"))
    with pytest.raises(Unavailable, match="first") as caught:
        driver.start(spec)
    assert caught.value.code == "no_memory"
    with pytest.raises(NoCapacity, match="second"):
        driver.start(spec)
    driver.start(spec)
    assert driver.machines()[spec.instance_id].run == Run.RUNNING


@pytest.mark.parametrize("verb", ["probe", "machines", "start", "stop", "pause", "forget"])
def test_every_verb_can_be_made_to_fail_by_another_process_and_changes_nothing(tmp_path: Path, verb: str) -> None:
    driver, spec, other = Simulated(tmp_path), machine(), machine()
    driver.start(spec)
    if verb == "forget":
        driver.stop(spec.instance_id, 0)
    before = driver.machines()
    program = f"""
from pathlib import Path
from holdfast.base.errors import Conflict
from holdfast.host.hypervisor.simulated import queue_failure
queue_failure(Path({str(tmp_path)!r}), {verb!r}, Conflict("as asked"))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    calls = {
        "probe": driver.probe,
        "machines": driver.machines,
        "start": lambda: driver.start(other),
        "stop": lambda: driver.stop(spec.instance_id, 0),
        "pause": lambda: driver.pause(spec.instance_id, True),
        "forget": lambda: driver.forget(spec.instance_id),
    }
    with pytest.raises(Conflict, match="as asked"):
        calls[verb]()
    assert driver.machines() == before


def test_a_verb_takes_as_long_as_its_knob_says(tmp_path: Path) -> None:
    driver, spec = Simulated(tmp_path), machine()
    set_knobs(tmp_path, Knobs(start_s=0.2, stop_s=0.2))
    began_s = time.monotonic()
    driver.start(spec)
    assert time.monotonic() - began_s >= 0.2
    driver.stop(spec.instance_id, 30)
    assert time.monotonic() - began_s >= 0.4
    set_knobs(tmp_path, Knobs())
    began_s = time.monotonic()
    driver.start(spec)
    assert time.monotonic() - began_s < 0.2


def test_a_guest_may_end_or_halt_by_itself(tmp_path: Path) -> None:
    driver, spec = Simulated(tmp_path), machine()
    driver.start(spec)
    happen(tmp_path, spec.instance_id, Reason.NOSPACE)
    seen = driver.machines()[spec.instance_id]
    assert (seen.run, seen.reason) == (Run.PAUSED, Reason.NOSPACE)
    driver.pause(spec.instance_id, False)
    happen(tmp_path, spec.instance_id, Reason.KILLED)
    seen = driver.machines()[spec.instance_id]
    assert (seen.run, seen.reason) == (Run.STOPPED, Reason.KILLED)
    with pytest.raises(NotFound):
        happen(tmp_path, spec.instance_id, Reason.KILLED)


def test_a_stopped_machine_is_not_revived_by_a_pause_at_the_same_time(tmp_path: Path) -> None:
    specs, gate = [machine() for _ in range(400)], threading.Barrier(3)
    driver = Simulated(tmp_path)
    for spec in specs:
        driver.start(spec)

    def pause(paused: bool) -> None:
        for spec in specs:
            gate.wait()
            with suppress(Conflict):
                driver.pause(spec.instance_id, paused)

    threads = [threading.Thread(target=pause, args=(paused,)) for paused in (True, False)]
    for thread in threads:
        thread.start()
    for spec in specs:
        gate.wait()
        driver.stop(spec.instance_id, 0)
    for thread in threads:
        thread.join(60)
    assert {seen.run for seen in driver.machines().values()} == {Run.STOPPED}


def test_a_thousand_machines_are_cheap(tmp_path: Path) -> None:
    driver = Simulated(tmp_path)
    began_s = time.monotonic()
    for _ in range(1000):
        driver.start(machine())
    assert len(driver.machines()) == 1000
    assert time.monotonic() - began_s < 5  # 0.2 s on an idle machine
