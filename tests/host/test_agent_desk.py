"""The desired state as an agent puts it together: any order, any repetition, the same result."""

from __future__ import annotations

import random

import msgspec

from holdfast.domain.desired import HostUpdate, ImageSource, Machine, Metadata, NetworkState, Power
from holdfast.host.agent.desk import Desk

IMAGE = ImageSource("i", "0" * 128, 1, "raw")
METADATA = Metadata("", "", "", "", "", "", "", "", "", (), (), (), 0)


def machine(instance_id: str, generation: int) -> Machine:
    return Machine(
        instance_id=instance_id,
        name=instance_id,
        generation=generation,
        present=True,
        power=Power.RUNNING,
        boot=1,
        soft=False,
        disk=1,
        vcpus=1,
        memory_mib=128,
        disk_gib=1,
        capture_image_id="",
        image=IMAGE,
        kernel=None,
        ramdisk=None,
        kernel_arguments="",
        interfaces=(),
        config_drive=False,
        metadata=METADATA,
    )


def update(version: int, *machines: Machine, full: bool = False) -> HostUpdate:
    return HostUpdate(version, full, machines, NetworkState((), (), (), ()) if full else None)


def test_an_older_word_never_wins_and_a_repeated_one_changes_nothing() -> None:
    updates = [update(1, machine("a", 1), machine("b", 1), full=True)]
    updates += [update(n, machine("a", n)) for n in range(2, 9)]
    for seed in range(50):
        desk, order = Desk("h"), updates[1:] * 2
        random.Random(seed).shuffle(order)
        desk.apply(updates[0])
        for one in order:
            desk.apply(one)
        found = {m.instance_id: m.generation for m in desk.whole().machines}
        assert (found, desk.version) == ({"a": 8, "b": 1}, 8)


def test_a_full_update_drops_what_it_does_not_name() -> None:
    desk = Desk("h")
    desk.apply(update(1, machine("a", 1), machine("b", 1), full=True))
    desk.apply(update(2, machine("a", 2), full=True))
    assert desk.instance_ids() == ["a"]


def test_a_machine_is_forgotten_only_if_nothing_newer_came() -> None:
    desk, old = Desk("h"), machine("a", 1)
    desk.apply(update(1, old, full=True))
    desk.apply(update(2, machine("a", 2)))
    desk.forget(old)
    assert desk.instance_ids() == ["a"]
    desk.forget(machine("a", 2))
    assert desk.instance_ids() == []


def test_a_machine_survives_the_wire() -> None:
    whole = update(3, machine("a", 1), full=True)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=HostUpdate) == whole
