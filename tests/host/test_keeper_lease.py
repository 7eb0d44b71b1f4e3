"""The countdown: pure, so every moment of a lease is a case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.host.keeper.lease import (
    Grant,
    boot_id,
    boot_time_s,
    decide,
    read_grant,
    read_lease,
    standing,
    write_grant,
)

ENFORCED = Grant("this-boot", asked_s=100.0, valid_s=30.0, enforce=True)
LOOSE = Grant("this-boot", asked_s=100.0, valid_s=30.0, enforce=False)
instants = st.floats(0, 1e9)


@pytest.mark.parametrize(
    ("grant", "now_s", "boot", "ends"),
    [
        (None, 1e6, "this-boot", False),
        (ENFORCED, 100.0, "this-boot", False),
        (ENFORCED, 129.9, "this-boot", False),
        (ENFORCED, 130.0, "this-boot", True),
        (ENFORCED, 1e6, "this-boot", True),
        (ENFORCED, 110.0, "next-boot", True),
        (ENFORCED, 99.0, "this-boot", True),
        (LOOSE, 129.9, "this-boot", False),
        (LOOSE, 1e6, "this-boot", False),
        (LOOSE, 110.0, "next-boot", False),
    ],
)
def test_guests_end_only_when_an_enforced_lease_has_lapsed(
    grant: Grant | None, now_s: float, boot: str, ends: bool
) -> None:
    assert decide(grant, now_s, now_s, boot).end_guests is ends


@given(asked_s=instants, valid_s=st.floats(0.1, 3600), now_s=instants, boot=st.sampled_from(["this-boot", "other"]))
def test_a_lease_that_does_not_enforce_never_ends_a_guest(
    asked_s: float, valid_s: float, now_s: float, boot: str
) -> None:
    assert not decide(Grant("this-boot", asked_s, valid_s, False), now_s, now_s, boot).end_guests


@given(asked_s=instants, valid_s=st.floats(0.1, 3600), now_s=instants)
def test_what_the_agent_may_start_the_keeper_does_not_end(asked_s: float, valid_s: float, now_s: float) -> None:
    grant = Grant("this-boot", asked_s, valid_s, True)
    assert standing(grant, now_s, "this-boot").may_run != decide(grant, now_s, now_s, "this-boot").end_guests


def test_nothing_may_be_started_before_the_first_grant() -> None:
    assert not standing(None, 10.0, "this-boot").may_run


def test_it_is_renewed_every_third_and_tried_more_often_when_that_fails() -> None:
    assert decide(ENFORCED, tried_s=100.0, now_s=100.0, this_boot="this-boot").renew_in_s == 10
    assert decide(ENFORCED, tried_s=100.0, now_s=112.0, this_boot="this-boot").renew_in_s == 0
    assert decide(ENFORCED, tried_s=110.0, now_s=110.0, this_boot="this-boot").renew_in_s == 5
    assert decide(None, tried_s=5.0, now_s=5.0, this_boot="this-boot").renew_in_s == 1


def test_a_grant_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_grant(tmp_path / "lease.json", ENFORCED)
    assert read_grant(tmp_path / "lease.json") == ENFORCED


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"boot_id": "x"}', '{"asked_s": "soon"}', "\x00" * 50])
def test_a_file_that_cannot_be_read_is_no_grant_and_lets_nothing_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "lease.json").write_text(text)
    assert read_grant(tmp_path / "lease.json") is None
    assert not read_lease(tmp_path / "lease.json").may_run


def test_the_agent_reads_the_time_that_is_left(tmp_path: Path) -> None:
    now_s = boot_time_s()
    write_grant(tmp_path / "lease.json", Grant(boot_id(), now_s, 30.0, True))
    lease = read_lease(tmp_path / "lease.json", now_s + 10)
    assert (lease.known, lease.enforce, lease.may_run) == (True, True, True)
    assert lease.left_s == pytest.approx(20)
    assert not read_lease(tmp_path / "lease.json", now_s + 30).may_run
    kept = json.loads((tmp_path / "lease.json").read_text())
    (tmp_path / "lease.json").write_text(json.dumps({**kept, "boot_id": "an earlier one"}))
    assert not read_lease(tmp_path / "lease.json", now_s + 10).may_run
