"""What real clients sent, recorded once, headers and signature included: it is verified and understood.

tests/golden/ec2_requests.json holds the smoke test's steps and the odd forms of old clients (boto 2 is what
euca2ools 1 and 2 speak through), sent by boto 2.49, boto3, awscli and libcloud with the key pair below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.ec2 import form
from holdfast.api.ec2.parse import api_version, parse
from holdfast.api.ec2.signature import SignedRequest, verify
from holdfast.base.clock import parse_iso
from holdfast.base.errors import HoldfastError

KEY, SECRET = "AKIAEXAMPLE", "secret"
RECORDED = json.loads((Path(__file__).parent.parent / "golden/ec2_requests.json").read_text())
SMOKE_STEPS = {
    "CreateKeyPair",
    "DescribeImages",
    "RunInstances",
    "DescribeInstances",
    "AuthorizeSecurityGroupIngress",
    "GetConsoleOutput",
    "TerminateInstances",
    "RevokeSecurityGroupIngress",
    "DeleteKeyPair",
}


def as_sent(record: dict[str, Any]) -> SignedRequest:
    body = record["body"].encode("latin-1")
    return SignedRequest(record["method"], record["path"], record["query"], record["headers"], body)


@pytest.mark.parametrize("record", RECORDED, ids=lambda r: f"{r['client']} {r['action']}".replace(" ", "-"))
def test_a_recorded_request_is_verified_and_understood(record: dict[str, Any]) -> None:
    request = as_sent(record)
    assert verify(request, {KEY: SECRET}.get, parse_iso(record["signed_at"]), old_clients=True) == KEY
    params = form.parameters(request.query, request.body)
    assert params["Action"] == record["action"]
    assert parse(record["action"], params) == record["members"]
    assert api_version(params) == params["Version"]


@pytest.mark.parametrize("record", RECORDED, ids=lambda r: f"{r['client']} {r['action']}".replace(" ", "-"))
def test_a_recorded_request_with_one_letter_changed_is_refused(record: dict[str, Any]) -> None:
    request = as_sent({**record, **{at: record[at].replace("Action=", "Action=X") for at in ("query", "body")}})
    with pytest.raises(HoldfastError, match=r"does not match|not able to validate"):
        verify(request, {KEY: SECRET}.get, parse_iso(record["signed_at"]), old_clients=True)


@pytest.mark.parametrize("client", ["boto 2.49.0 signature 4", "boto3 1.44.5", "awscli 1.46.2"])
def test_every_step_of_the_smoke_test_is_recorded(client: str) -> None:
    assert {r["action"] for r in RECORDED if r["client"] == client} >= SMOKE_STEPS
