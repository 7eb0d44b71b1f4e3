"""Volumes of running machines: every sentence of the driver's contract about them, against every driver.

QEMU idles in its BIOS here, which takes a disk at once and never lets go of one; with a real guest, see
tests/stories/test_volume_guest.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput, Conflict, HoldfastError
from holdfast.base.ids import new_id
from holdfast.host.hypervisor.driver import MachineSpec, Volume
from holdfast.host.hypervisor.qemu import volumes as hotplug
from holdfast.host.hypervisor.qmp import Qmp
from holdfast.host.hypervisor.simulated import queue_failure
from tests.contract.test_hypervisor_contract import Site, machine, site

__all__ = ["site"]
MIB = 1 << 20


def volume(site: Site, slot: int = 0, size_mib: int = 8) -> Volume:
    """A blank file of its own."""
    volume_id = new_id()
    path = site.state / f"{volume_id}.raw"
    with open(path, "wb") as file:
        file.truncate(size_mib * MIB)
    return Volume(volume_id, path, slot)


def started(site: Site, *volumes: Volume) -> str:
    plain = machine()
    site.driver().start(MachineSpec(plain.instance_id, 1, 64, (), (), volumes=volumes))
    return plain.instance_id


def test_a_running_machine_is_given_a_volume_and_says_so(site: Site) -> None:
    instance_id, one = started(site), volume(site)
    assert site.driver().volumes(instance_id) == {}
    site.driver().plug(instance_id, one)
    assert site.driver().volumes(instance_id) == {one.id: 8 * MIB}


def test_plugging_twice_is_plugging_once(site: Site) -> None:
    instance_id, one = started(site), volume(site)
    driver = site.driver()
    driver.plug(instance_id, one)
    driver.plug(instance_id, one)
    site.driver().plug(instance_id, one)
    assert driver.volumes(instance_id) == {one.id: 8 * MIB}


def test_a_machine_starts_with_its_volumes_and_takes_more(site: Site) -> None:
    first, second = volume(site, 0, 4), volume(site, 15, 5)
    instance_id = started(site, first)
    site.driver().plug(instance_id, second)
    assert site.driver().volumes(instance_id) == {first.id: 4 * MIB, second.id: 5 * MIB}
    site.driver().plug(instance_id, first)
    assert site.driver().volumes(instance_id) == {first.id: 4 * MIB, second.id: 5 * MIB}


def test_every_port_takes_a_volume(site: Site) -> None:
    many = [volume(site, slot, 1) for slot in range(16)]
    instance_id = started(site, *many[:3])
    for one in many:
        site.driver().plug(instance_id, one)
    assert set(site.driver().volumes(instance_id)) == {one.id for one in many}


def test_a_volume_grows_in_the_guest_and_is_never_cut(site: Site) -> None:
    one = volume(site)
    instance_id, driver = started(site, one), site.driver()
    driver.grow(instance_id, one.id, 16 * MIB)
    assert driver.volumes(instance_id) == {one.id: 16 * MIB}
    driver.grow(instance_id, one.id, 12 * MIB)
    driver.grow(instance_id, new_id(), 12 * MIB)
    assert driver.volumes(instance_id) == {one.id: 16 * MIB}
    if site.kind == "qemu":
        assert one.path.stat().st_size == 16 * MIB


def test_a_machine_that_does_not_run_has_no_volumes_and_takes_none(site: Site) -> None:
    one, stranger = volume(site), new_id()
    instance_id, driver = started(site, one), site.driver()
    driver.stop(instance_id, 0)
    for absent in (instance_id, stranger):
        assert driver.volumes(absent) == {}
        assert driver.unplug(absent, one.id, 1)
        driver.grow(absent, one.id, 1 << 30)
        with pytest.raises(Conflict):
            driver.plug(absent, one)


def test_what_is_not_plugged_in_is_taken_out_already(site: Site) -> None:
    assert site.driver().unplug(started(site), new_id(), 0)


def test_a_guest_that_does_not_let_go_keeps_the_volume(site: Site) -> None:
    one = volume(site)
    instance_id, driver = started(site), site.driver()
    driver.plug(instance_id, one)
    if site.kind == "simulated":
        queue_failure(site.state, "unplug", Conflict("busy"))
        queue_failure(site.state, "unplug", Conflict("busy"))
    assert not driver.unplug(instance_id, one.id, 0.2)
    assert not site.driver().unplug(instance_id, one.id, 0)
    assert one.id in driver.volumes(instance_id)


def test_a_volume_that_cannot_be_opened_leaves_nothing_behind(site: Site) -> None:
    one = volume(site)
    one.path.unlink()
    instance_id, driver = started(site), site.driver()
    with pytest.raises(HoldfastError):
        driver.plug(instance_id, one)
    assert driver.volumes(instance_id) == {}
    two = volume(site)
    driver.plug(instance_id, two)
    assert set(driver.volumes(instance_id)) == {two.id}


@pytest.mark.parametrize("bad", [Volume("../x", Path("/dev/null"), 0), Volume(new_id(), Path("/dev/null"), 16)])
def test_a_volume_without_an_id_or_a_port_is_refused(site: Site, bad: Volume) -> None:
    instance_id = started(site)
    with pytest.raises(BadInput):
        site.driver().plug(instance_id, bad)
    with pytest.raises(BadInput):
        site.driver().start(MachineSpec(new_id(), 1, 32, (), (), volumes=(bad,)))


@pytest.mark.qemu
@pytest.mark.parametrize("done", [0, 1, 2])
def test_an_act_that_was_killed_between_any_two_steps_is_finished_by_the_next(site: Site, done: int) -> None:
    if site.kind != "qemu":
        pytest.skip("the steps are QEMU's")
    one = volume(site)
    instance_id = started(site)
    with Qmp(site.state / "machines" / instance_id / "agent.qmp") as monitor:
        for node in hotplug.nodes_of(one)[:done]:
            monitor.execute("blockdev-add", node)
    site.driver().plug(instance_id, one)
    site.driver().plug(instance_id, one)
    assert site.driver().volumes(instance_id) == {one.id: 8 * MIB}


@pytest.mark.qemu
@pytest.mark.parametrize("left", [1, 2])
def test_nodes_that_a_killed_act_left_are_seen_and_closed(site: Site, left: int) -> None:
    if site.kind != "qemu":
        pytest.skip("the steps are QEMU's")
    one, instance_id = volume(site), started(site)
    with Qmp(site.state / "machines" / instance_id / "agent.qmp") as monitor:
        for node in hotplug.nodes_of(one)[:left]:
            monitor.execute("blockdev-add", node)
    assert list(site.driver().volumes(instance_id)) == [one.id]
    assert site.driver().unplug(instance_id, one.id, 0)
    assert site.driver().volumes(instance_id) == {}
    pid = site.driver().machines()[instance_id].pid
    held = [os.readlink(f"/proc/{pid}/fd/{handle}") for handle in os.listdir(f"/proc/{pid}/fd")]
    assert str(one.path) not in held


def test_two_machines_never_have_one_volume(site: Site) -> None:
    if site.kind != "qemu":
        pytest.skip("no lock is simulated")
    one = volume(site)
    first, second = started(site), started(site)
    site.driver().plug(first, one)
    with pytest.raises(Conflict, match="lock"):
        site.driver().plug(second, one)
    assert site.driver().volumes(second) == {}
    assert list(site.driver().volumes(first)) == [one.id]
