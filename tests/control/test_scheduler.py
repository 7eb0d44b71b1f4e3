"""The scheduler: a request and a snapshot in, one host or every host's reason out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.errors import NoCapacity
from holdfast.control.scheduler.place import Request, Room, place, places_count
from holdfast.domain.host import Host

SMALL = Request("i", vcpus=1, memory_mib=1_000, disk_gib=1, image_id="image")


def room(name: str, used: tuple[int, int, int] = (0, 0, 0), up: bool = True, **words: Any) -> Room:
    host = Host(name, name, "nova", True, "", None, [], [], [], 0, 0, "", 0, 0)
    return Room(msgspec.structs.replace(host, **words), up, 16, 16_000, 100, *used)


REFUSED: dict[str, tuple[Request, Room]] = {
    "has not reported": (SMALL, room("h", up=False)),
    "is disabled (new disk)": (SMALL, room("h", enabled=False, disabled_reason="new disk")),
    "host other was asked for": (replace(SMALL, host="other"), room("h")),
    "it is in zone nova": (replace(SMALL, zone="east"), room("h")),
    "it failed to build it: no memory": (replace(SMALL, avoid={"h": "it failed to build it: no memory"}), room("h")),
    "17 vcpus wanted, 16 free": (replace(SMALL, vcpus=17), room("h")),
    "1000 MiB of memory wanted, 999 free": (SMALL, room("h", (0, 15_001, 0))),
    "1 GiB of disk wanted, 0 free": (SMALL, room("h", (0, 0, 120))),
    "anti-affinity": (replace(SMALL, policy="anti-affinity", apart_from={"h": 1}), room("h")),
    "its affinity group is on another": (replace(SMALL, policy="affinity", apart_from={"g": 1}), room("h")),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_each_filter_says_which_host_and_why(reason: str) -> None:
    request, full = REFUSED[reason]
    with pytest.raises(NoCapacity) as caught:
        place(request, [full])
    assert caught.value.message.startswith("No valid host was found. h: ") and reason in caught.value.message


def test_exactly_what_is_left_fits() -> None:
    assert place(SMALL, [room("h", (15, 15_000, 99))]).host_id == "h"


def test_no_hosts_at_all_is_said() -> None:
    with pytest.raises(NoCapacity, match="there are no hosts"):
        place(SMALL, [])


def test_a_host_that_holds_the_image_is_preferred_among_equals_but_does_not_get_them_all() -> None:
    warm, cold = room("a", images=["image"]), room("b")
    assert place(SMALL, [warm, cold]).host_id == "a"
    assert place(SMALL, [replace(warm, used_memory_mib=3_000, used_vcpus=1), cold]).host_id == "b"


def test_soft_policies_weigh_and_never_refuse() -> None:
    apart, beside = room("a"), room("b", (1, 1_000, 1))
    assert place(replace(SMALL, policy="soft-affinity", apart_from={"b": 1}), [apart, beside]).host_id == "b"
    assert place(replace(SMALL, policy="soft-anti-affinity", apart_from={"a": 1}), [apart, beside]).host_id == "b"
    assert place(replace(SMALL, policy="soft-anti-affinity", apart_from={"a": 1}), [apart]).host_id == "a"


used = st.tuples(st.integers(0, 18), st.integers(0, 17_000), st.integers(0, 110))


@given(st.lists(used, max_size=6), st.integers(1, 20), st.integers(1, 4), st.integers(1, 8_000))
def test_no_host_is_ever_promised_more_than_it_has(
    promised: list[tuple[int, int, int]], count: int, vcpus: int, memory_mib: int
) -> None:
    rooms = {f"h{n}": room(f"h{n}", each) for n, each in enumerate(promised)}
    request = replace(SMALL, vcpus=vcpus, memory_mib=memory_mib)
    placed = 0
    try:
        for _ in range(count):
            chosen = rooms[place(request, list(rooms.values())).host_id]
            assert chosen.used_vcpus + vcpus <= chosen.vcpus
            assert chosen.used_memory_mib + memory_mib <= chosen.memory_mib
            assert chosen.used_disk_gib + 1 <= chosen.disk_gib
            rooms[chosen.host.id] = replace(
                chosen,
                used_vcpus=chosen.used_vcpus + vcpus,
                used_memory_mib=chosen.used_memory_mib + memory_mib,
                used_disk_gib=chosen.used_disk_gib + 1,
            )
            placed += 1
    except NoCapacity as full:
        assert all(name in full.message for name in rooms)
    first = [room(f"h{n}", each) for n, each in enumerate(promised)]
    if placed:
        assert places_count(request, first, count) == placed
