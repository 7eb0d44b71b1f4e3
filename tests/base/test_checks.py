"""What `up` looks at before it makes anything."""

from __future__ import annotations

import pytest

from holdfast.base.config import Settings
from holdfast.base.errors import BadInput
from holdfast.daemon.checks import WORDS, machine_check


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_setting_that_is_none_of_its_words_is_named_with_them(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} is 'perhaps', and must be {WORDS[name][0]}"):
        machine_check(Settings(hypervisor="simulated", **{name: "perhaps"}))  # type: ignore[arg-type]
    for word in WORDS[name]:
        control = "https://lab1:5001" if word == "host" else ""
        found = Settings(hypervisor="simulated", store="postgresql://a/b", control=control, **{name: word})  # type: ignore[arg-type]
        machine_check(found)


def test_a_door_on_every_address_needs_one_for_tunnels() -> None:
    with pytest.raises(BadInput, match="in the setting tunnel"):
        machine_check(Settings(hosts_listen="0.0.0.0"))
    with pytest.raises(BadInput, match="IPv4"):
        machine_check(Settings(hosts_listen="2001:db8::1"))
    machine_check(Settings(hosts_listen="0.0.0.0", hypervisor="simulated"))


def test_a_control_replica_without_a_store_that_others_reach_is_refused() -> None:
    with pytest.raises(BadInput, match="HOLDFAST_STORE=postgresql://"):
        machine_check(Settings(role="control"))
