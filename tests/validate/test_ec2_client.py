"""The EC2 client: its signature is botocore's, its forms are what EC2 reads, its answers are read with care."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from holdfast.api.ec2.signature import SignedRequest, verify
from holdfast.base.errors import NotFound, Unauthenticated, Unavailable
from holdfast.client.connection import Answer
from holdfast.client.ec2 import Ec2, Ec2Error, items
from holdfast.client.signature import signed_headers

NOW_S = 1_795_231_200
URLS = [
    "http://127.0.0.1:5000/ec2",
    "http://cloud.example/services/Cloud/",
    "https://cloud.example:8773/",
    "http://cloud.example/a%20path/~x",
]
SECRETS = ["secret", "s/cr+t=", "schlüssel"]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_signature_is_the_one_that_botocore_makes(url: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"Action=DescribeInstances&Version=2016-11-15"
    ours = signed_headers("POST", url, body, "AK", secret, "RegionOne", NOW_S)
    request = AWSRequest("POST", url, data=body, headers={"X-Amz-Date": ours["X-Amz-Date"]})
    request.context["timestamp"] = ours["X-Amz-Date"]
    auth = SigV4Auth(Credentials("AK", secret), "ec2", "RegionOne")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert ours["Authorization"].endswith(auth.signature(text, request))


@pytest.mark.parametrize("url", URLS)
def test_our_own_cloud_believes_the_signature_and_nothing_that_was_changed_after(url: str) -> None:
    body = b"Action=DescribeInstances"
    headers = signed_headers("POST", url, body, "AK", "secret", "RegionOne", NOW_S)
    path = "/" + url.split("/", 3)[3]
    arrived = SignedRequest("POST", path, "", {name.lower(): value for name, value in headers.items()}, body)
    assert verify(arrived, {"AK": "secret"}.get, NOW_S * 1_000_000) == "AK"
    for changed in (
        SignedRequest("POST", path, "", arrived.headers, body + b"&x=1"),
        SignedRequest("GET", path, "", arrived.headers, body),
        SignedRequest("POST", path + "x", "", arrived.headers, body),
        SignedRequest("POST", path, "", {**arrived.headers, "host": "elsewhere"}, body),
    ):
        with pytest.raises(Unauthenticated):
            verify(changed, {"AK": "secret"}.get, NOW_S * 1_000_000)


class Wire:
    """Answers what a test says, and keeps what was sent."""

    def __init__(self, status: int, body: str) -> None:
        self.status, self.body, self.sent = status, body.encode(), b""

    def request(self, method: str, url: str, body: bytes, headers: Any) -> Answer:
        self.sent = body
        return Answer(self.status, {}, self.body)


def ec2(wire: Wire) -> Ec2:
    return Ec2(wire, "http://c/ec2", "AK", "secret", "R")  # type: ignore[arg-type]


def test_members_are_sent_as_ec2_reads_them() -> None:
    wire = Wire(200, "<R/>")
    rule = {"IpProtocol": "tcp", "FromPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2(wire).call("X", IpPermissions=[rule], KeyName=["a&b", "c"], Flag=True, Absent=None)
    assert dict(parse_qsl(wire.sent.decode())) == {
        "Action": "X",
        "Version": "2016-11-15",
        "IpPermissions.1.IpProtocol": "tcp",
        "IpPermissions.1.FromPort": "22",
        "IpPermissions.1.IpRanges.1.CidrIp": "0.0.0.0/0",
        "KeyName.1": "a&b",
        "KeyName.2": "c",
        "Flag": "true",
    }


def test_an_answer_is_dictionaries_and_lists() -> None:
    body = """<R xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
    <keySet><item><keyName>a</keyName></item></keySet><none/><one><item>1</item><item>2</item></one></R>"""
    found = ec2(Wire(200, body)).call("X")
    assert found["keySet"] == [{"keyName": "a"}]
    assert (items(found, "keySet"), items(found, "none"), items(found, "absent")) == ([{"keyName": "a"}], [], [])
    assert found["one"] == ["1", "2"]


def test_a_refusal_has_ec2s_code_and_words_without_control_characters() -> None:
    error = "<Error><Code>InvalidKeyPair.NotFound</Code><Message>no \u202e</Message></Error>"
    body = f"<Response><Errors>{error}</Errors></Response>"
    with pytest.raises(Ec2Error, match="X: no") as caught:
        ec2(Wire(400, body)).call("X")
    assert caught.value.code == "InvalidKeyPair.NotFound"
    assert "\u202e" not in caught.value.message


@pytest.mark.parametrize(
    "body",
    ["", "{}", "<R>", '<!DOCTYPE x [<!ENTITY a "b">]><R>&a;</R>', "<?xml version='1.0'?><!DOCTYPE R><R/>"],
)
def test_what_is_no_plain_xml_is_refused(body: str) -> None:
    with pytest.raises(Unavailable):
        ec2(Wire(200, body)).call("X")


def test_without_an_access_key_there_is_no_client() -> None:
    with pytest.raises(NotFound, match="access key"):
        Ec2(Wire(200, ""), "http://c/ec2", "", "", "R")  # type: ignore[arg-type]
