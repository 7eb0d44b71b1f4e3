"""EC2's filters and pages."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.ec2.filters import filter_of, page_of
from holdfast.base.errors import BadInput
from holdfast.base.limits import EC2_FILTER_VALUES


def passes(pattern: str, text: str) -> bool:
    return filter_of([{"Name": "n", "Values": [pattern]}], ["n"])({"n": [text]})


@given(st.text("ab*?", max_size=8), st.text("ab*?", max_size=8))
def test_patterns_match_as_file_names_do(pattern: str, text: str) -> None:
    assert passes(pattern, text) == fnmatchcase(text, pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [(r"a\*", "a*", True), (r"a\*", "ab", False), (r"\?", "?", True), ("[ab]", "a", False), ("\\", "\\", True)],
)
def test_a_backslash_takes_a_sign_for_itself(pattern: str, text: str, expected: bool) -> None:
    assert passes(pattern, text) is expected


def test_a_hostile_pattern_costs_little() -> None:
    begin = time.process_time()
    assert not passes("*a" * 120 + "b", "a" * 255)
    assert time.process_time() - begin < 0.5


def test_filters_are_all_needed_and_one_value_of_each() -> None:
    keep = filter_of(
        [{"Name": "state", "Values": ["running", "pending"]}, {"Name": "tag:role", "Values": ["w*"]}],
        ["state"],
        tags=True,
    )
    assert keep({"state": ["pending"], "tag:role": ["web"]})
    assert not keep({"state": ["stopped"], "tag:role": ["web"]})
    assert not keep({"state": ["running"], "tag:role": ["db"]})
    assert not keep({"state": ["running"]})
    assert filter_of([], [])({})
    assert not filter_of([{"Name": "state", "Values": []}], ["state"])({"state": ["running"]})


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ([{"Name": "nonsense", "Values": ["x"]}], "InvalidParameterValue"),
        ([{"Values": ["x"]}], "InvalidParameterValue"),
        ([{"Name": "tag:a", "Values": ["x"]}], "InvalidParameterValue"),
        ([{"Name": "n", "Values": ["x"] * EC2_FILTER_VALUES}, {"Name": "n", "Values": ["y"]}], "FilterLimitExceeded"),
    ],
)
def test_a_filter_that_is_not_known_is_refused(filters: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        filter_of(filters, ["n"])
    assert caught.value.code == code


@given(st.sets(st.text(min_size=1, max_size=5), max_size=30), st.integers(1, 7))
def test_pages_hold_every_row_once_in_order(names: set[str], size: int) -> None:
    rows = sorted(names)
    seen: list[str] = []
    asked: dict[str, Any] = {"MaxResults": size}
    while True:
        page, token = page_of(rows, asked, str)
        assert len(page) <= size
        seen += page
        if token is None:
            break
        asked = {"MaxResults": size, "NextToken": token}
    assert seen == rows


@pytest.mark.parametrize(
    "members", [{"NextToken": "!"}, {"NextToken": "_w=="}, {"MaxResults": 0}, {"MaxResults": 1001}]
)
def test_a_page_that_cannot_be_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        page_of(["a"], members, str)
