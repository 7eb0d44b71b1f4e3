"""The check language, as operators write it."""

from __future__ import annotations

import pytest

from holdfast.api.http.policy import MEMBER, Policy
from holdfast.base.errors import BadInput
from holdfast.domain.credentials import Credentials, imply


def who(*roles: str, project_id: str = "p") -> Credentials:
    return Credentials("u", "user", "default", project_id=project_id, roles=imply(frozenset(roles)))


def test_a_rule_may_compare_with_the_target() -> None:
    policy = Policy({"x": MEMBER})
    assert policy.allows("x", {"project_id": "p"}, who("member"))
    assert not policy.allows("x", {"project_id": "q"}, who("member"))
    assert not policy.allows("x", {"project_id": "p"}, who("reader"))
    assert policy.allows("x", {"project_id": "q"}, who("admin"))


def test_a_missing_attribute_of_the_target_matches_nobody() -> None:
    assert not Policy({"x": "project_id:%(project_id)s"}).allows("x", {}, who("member", project_id=""))


@pytest.mark.parametrize("text", ["role:admin role:member", "(role:admin", "rule:nothing", "admin", "or role:admin"])
def test_a_rule_that_cannot_be_read_stops_the_start(text: str) -> None:
    with pytest.raises(BadInput, match="policy rule"):
        Policy({"x": text})
