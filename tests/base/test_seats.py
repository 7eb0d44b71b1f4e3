"""Which hosts a machine gets, and where each has its network: decided before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.base.config import Settings
from holdfast.base.errors import BadInput
from holdfast.daemon.places import Places
from holdfast.daemon.seats import (
    endpoint_for,
    hosts_here,
    listening_on,
    names_wanted,
    prefixes,
    seat_of,
    seats_of,
    seats_wanted,
    seats_write,
)
from holdfast.host.network.plan.fabric import Seat, ranges_of, reach_of

SETTINGS = Settings(prefix="hf")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def make(places: Places, count: int | None, settings: Settings = SETTINGS) -> dict[str, Seat]:
    """What `up` does, without a machine."""
    names = names_wanted(places, count)
    seats = seats_wanted(places, settings, names)
    seats_write(places, seats)
    for name in names:
        places.host(name).mkdir(parents=True, exist_ok=True)
        (places.host(name) / "id").write_text(f"id-of-{name}\n")
    return seats


def test_one_host_has_the_machine_to_itself(places: Places) -> None:
    assert make(places, None) == {} == make(places, 1)
    (name,) = hosts_here(places)
    assert seat_of(places, name) is None
    assert prefixes(SETTINGS, seats_of(places)) == ["hf"]
    assert listening_on(SETTINGS, []) == [("127.0.0.1", 5000)]
    assert endpoint_for(SETTINGS, None) == "http://127.0.0.1:5000"


def test_three_hosts_have_a_number_and_a_prefix_each_and_the_machine_is_number_zero(places: Places) -> None:
    assert make(places, 3) == {f"h{n}": Seat(n, f"hf{n}") for n in (1, 2, 3)}
    assert make(places, None) == {f"h{n}": Seat(n, f"hf{n}") for n in (1, 2, 3)}, "they stay what they are"
    assert prefixes(SETTINGS, seats_of(places)) == ["hf0", "hf1", "hf2", "hf3"]
    assert listening_on(SETTINGS, seats_of(places)) == [("127.0.0.1", 5000), ("198.19.0.1", 5000)]
    assert endpoint_for(SETTINGS, seat_of(places, "h2")) == "http://198.19.0.1:5000"


def test_who_was_alone_keeps_its_name_and_its_prefix_when_others_join(places: Places) -> None:
    make(places, 1)
    (alone,) = hosts_here(places)
    assert make(places, 3) == {alone: Seat(1, "hf"), "h2": Seat(2, "hf2"), "h3": Seat(3, "hf3")}


def test_the_number_of_a_host_that_was_removed_is_given_again(places: Places) -> None:
    make(places, 3)
    for name in ("seat", "id"):
        (places.host("h2") / name).unlink()
    assert names_wanted(places, 4) == ["h1", "h3", "h2", "h4"]
    assert make(places, 4)["h2"] == Seat(2, "hf2")


def test_one_that_is_left_of_several_stays_where_it_is(places: Places) -> None:
    make(places, 2)
    for name in ("seat", "id"):
        (places.host("h1") / name).unlink()
    assert make(places, None) == {"h2": Seat(2, "hf2")}


def test_fewer_than_there_are_is_refused_and_named(places: Places) -> None:
    make(places, 3)
    with pytest.raises(BadInput, match=r"3 hosts \(h1, h2, h3\).*removes none"):
        names_wanted(places, 2)
    with pytest.raises(BadInput):
        names_wanted(Places(places.state / "new"), 0)


def test_a_prefix_without_room_for_the_number_is_refused(places: Places) -> None:
    with pytest.raises(BadInput, match="too long for that many hosts"):
        seats_wanted(places, Settings(prefix="abcde"), ["h1", "h2"])


def test_simulated_hosts_need_no_seat(places: Places) -> None:
    assert make(places, 3, Settings(hypervisor="simulated")) == {}
    assert list(hosts_here(places)) == ["h1", "h2", "h3"]
    make(places, 4, Settings(hypervisor="simulated"))
    assert list(hosts_here(places)) == ["h1", "h2", "h3", "h4"]


def test_no_two_hosts_have_an_address_in_common() -> None:
    ranges = ranges_of("198.19.0.0/16")
    reaches = [reach_of(Seat(n, f"hf{n}"), ranges) for n in range(1, 64)]
    assert len({reach.tunnel for reach in reaches} | {str(ranges.address(0))}) == 64
    blocks = [ranges.block(0), *(reach.routers for reach in reaches)]
    assert all(block is not None and block.subnet_of(ranges.whole) for block in blocks)
    assert sum(block.num_addresses for block in blocks if block) == ranges.whole.num_addresses
    assert not any(block.overlaps(ranges.block(0)) for block in ranges.routers())
    with pytest.raises(BadInput):
        ranges_of("198.19.0.0/24")
