"""Signatures that botocore makes are accepted; the same with anything changed are refused."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

import botocore.auth
import pytest
from botocore.auth import SigV2Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from holdfast.api.ec2 import form
from holdfast.api.ec2.signature import SignedRequest, verify
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput, HoldfastError, Unauthenticated
from holdfast.base.limits import PRESIGNED_LIFETIME_S, SIGNATURE_SKEW_S

KEY, SECRET = "AKIAEXAMPLE", "s3cr3t/+with=signs"
MOMENT = datetime(2026, 11, 21, 3, 20, 0, tzinfo=UTC)
NOW_US = int(MOMENT.timestamp()) * SECOND_US
BODY = "Action=RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&Name=a%20b%2Bc"
URL = "http://127.0.0.1:5000/services/Cloud"


@pytest.fixture(autouse=True)
def signing_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore signs at our moment."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: MOMENT.replace(tzinfo=None))
    monkeypatch.setattr(botocore.auth.time, "gmtime", lambda: MOMENT.utctimetuple())


def secret_of(access_key: str) -> str | None:
    return SECRET if access_key == KEY else None


def arrived(request: AWSRequest) -> SignedRequest:
    """The request as the server sees it: split from the URL, header names in lower case, host added."""
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    body = prepared.body or b""
    body = body.encode() if isinstance(body, str) else body
    return SignedRequest(prepared.method, url.path or "/", url.query, {"host": url.netloc, **headers}, body)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def posted(
    url: str = URL,
    *,
    key: str = KEY,
    secret: str = SECRET,
    service: str = "ec2",
    token: str | None = None,
    **headers: str,
) -> SignedRequest:
    request = AWSRequest("POST", url, {"Content-Type": "application/x-www-form-urlencoded", **headers}, BODY)
    SigV4Auth(Credentials(key, secret, token), service, "anywhere-1").add_auth(request)
    return arrived(request)


def presigned(expires_s: int = 300, url: str = f"{URL}?{BODY}") -> SignedRequest:
    request = AWSRequest("GET", url)
    SigV4QueryAuth(Credentials(KEY, SECRET), "ec2", "here", expires=expires_s).add_auth(request)
    return arrived(request)


def old_client(method: str = "POST", url: str = URL) -> SignedRequest:
    """A request signed with version 2 by botocore."""
    params = dict(form.decode_pairs(BODY))
    request = AWSRequest(method, url, data=params if method == "POST" else {}, params=params if method == "GET" else {})
    SigV2Auth(Credentials(KEY, SECRET)).add_auth(request)
    return arrived(request)


def refusal(request: SignedRequest, now_us: int = NOW_US, old_clients: bool = False) -> str:
    with pytest.raises(HoldfastError) as caught:
        verify(request, secret_of, now_us, old_clients=old_clients)
    assert isinstance(caught.value, Unauthenticated | BadInput)
    return caught.value.code


def with_header(request: SignedRequest, name: str, change: Callable[[str], str]) -> SignedRequest:
    return replace(request, headers={**request.headers, name: change(request.headers.get(name, ""))})


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "http://cloud.example/",
        "http://cloud.example",
        f"{URL}/",
        "http://cloud.example/a/../b//c/./d",
        "http://cloud.example/a%20b/~c/x%2Fy",
        f"{URL}?b=2&a=1&a=0&B=3&empty=&bare&sp=a%20b&plus=%2B&eq=%3D&u=%E2%98%83&tilde=~",
        "http://cloud.example:80/",
    ],
)
def test_what_botocore_signs_is_accepted(url: str) -> None:
    request = posted(url)
    host = "cloud.example" if url.endswith(":80/") else request.headers["host"]  # as an HTTP client sends it
    if "&bare" in url:
        request = posted(url.replace("&bare", "&bare="))
    assert verify(replace(request, headers={**request.headers, "host": host}), secret_of, NOW_US) == KEY


def test_a_date_header_serves_as_well_as_x_amz_date() -> None:
    request = posted(Date="Sat, 21 Nov 2026 03:20:00 GMT")
    assert "x-amz-date" not in request.headers
    assert verify(request, secret_of, NOW_US) == KEY


def test_spaces_in_a_signed_header_fold() -> None:
    request = posted(**{"X-Amz-Note": "a   b  "})
    assert verify(with_header(request, "x-amz-note", lambda _: " a b"), secret_of, NOW_US) == KEY


CHANGES: dict[str, tuple[Callable[[SignedRequest], SignedRequest], str]] = {
    "body": (lambda r: replace(r, body=r.body.replace(b"ami-1", b"ami-2")), "SignatureDoesNotMatch"),
    "body added": (lambda r: replace(r, body=r.body + b"&DryRun=false"), "SignatureDoesNotMatch"),
    "no body": (lambda r: replace(r, body=b""), "SignatureDoesNotMatch"),
    "query": (lambda r: replace(r, query="Action=TerminateInstances"), "SignatureDoesNotMatch"),
    "method": (lambda r: replace(r, method="GET"), "SignatureDoesNotMatch"),
    "path": (lambda r: replace(r, path="/services/Admin"), "SignatureDoesNotMatch"),
    "host": (lambda r: with_header(r, "host", lambda _: "other:5000"), "SignatureDoesNotMatch"),
    "content type": (lambda r: with_header(r, "content-type", lambda _: "text/plain"), "SignatureDoesNotMatch"),
    "payload hash": (
        lambda r: with_header(r, "x-amz-content-sha256", lambda _: "UNSIGNED-PAYLOAD"),
        "SignatureDoesNotMatch",
    ),
    "moment": (lambda r: with_header(r, "x-amz-date", lambda t: t.replace("0320", "0321")), "SignatureDoesNotMatch"),
    "session token": (lambda r: with_header(r, "x-amz-security-token", lambda _: "x"), "InvalidClientTokenId"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_request_is_refused(what: str) -> None:
    change, code = CHANGES[what]
    assert refusal(change(posted())) == code


AUTHORIZATIONS: dict[str, tuple[Callable[[str], str], str]] = {
    "one digit": (lambda t: t[:-1] + ("0" if t[-1] != "0" else "1"), "SignatureDoesNotMatch"),
    "empty signature": (lambda t: re.sub("Signature=[0-9a-f]+", "Signature=", t), "SignatureDoesNotMatch"),
    "no ascii": (lambda t: re.sub("Signature=[0-9a-f]+", "Signature=\u00e9", t), "SignatureDoesNotMatch"),
    "no signature": (lambda t: t.rpartition(",")[0], "IncompleteSignature"),
    "another field": (lambda t: t + ", Extra=1", "IncompleteSignature"),
    "a field twice": (lambda t: t + ", Signature=1", "IncompleteSignature"),
    "host not signed": (lambda t: t.replace(";host", ""), "IncompleteSignature"),
    "date not signed": (lambda t: t.replace(";x-amz-date", ""), "SignatureDoesNotMatch"),
    "absent header signed": (lambda t: t.replace(";x-amz-date", ";x-amz-date;x-none"), "SignatureDoesNotMatch"),
    "headers unsorted": (lambda t: t.replace("content-type;host", "host;content-type"), "IncompleteSignature"),
    "unknown key": (lambda t: t.replace(KEY, "AKIAOTHER"), "AuthFailure"),
    "hostile key": (lambda t: t.replace(KEY, "' or 1=1 --"), "IncompleteSignature"),
    "another region": (lambda t: t.replace("anywhere-1", "elsewhere"), "SignatureDoesNotMatch"),
    "another day": (lambda t: t.replace("20261121", "20261120"), "IncompleteSignature"),
    "no such day": (lambda t: t.replace("20261121", "20261199"), "IncompleteSignature"),
    "another scheme": (lambda _: "Basic YTpi", "IncompleteSignature"),
    "nothing": (lambda _: "", "IncompleteSignature"),
}


@pytest.mark.parametrize("what", AUTHORIZATIONS)
def test_a_changed_authorization_is_refused(what: str) -> None:
    change, code = AUTHORIZATIONS[what]
    assert refusal(with_header(posted(), "authorization", change)) == code


def test_another_secret_or_another_service_is_refused() -> None:
    assert refusal(posted(secret="guess")) == "SignatureDoesNotMatch"
    assert refusal(posted(service="s3")) == "IncompleteSignature"  # OSSA-2025-002
    assert refusal(posted(token="session")) == "InvalidClientTokenId"


def test_the_service_that_boto_2_makes_of_a_host_is_accepted_only_where_old_clients_are() -> None:
    request = posted(service="127")
    assert verify(request, secret_of, NOW_US, old_clients=True) == KEY
    assert refusal(request) == "IncompleteSignature"
    assert refusal(posted(service="128"), old_clients=True) == "IncompleteSignature"
    assert refusal(posted("http://s3.cloud.example/", service="s3"), old_clients=True) == "IncompleteSignature"


def test_a_request_without_a_signature_is_refused() -> None:
    request = replace(posted(), headers={"host": "127.0.0.1:5000"})
    assert refusal(request) == "MissingAuthenticationToken"
    assert refusal(request, old_clients=True) == "MissingAuthenticationToken"


def test_a_request_may_be_repeated_inside_its_window_and_not_outside() -> None:
    request, skew_us = posted(), SIGNATURE_SKEW_S * SECOND_US
    for now_us in (NOW_US, NOW_US, NOW_US - skew_us, NOW_US + skew_us):
        assert verify(request, secret_of, now_us) == KEY
    for now_us in (NOW_US - skew_us - 1, NOW_US + skew_us + 1):
        assert refusal(request, now_us) == "RequestExpired"


def test_a_signed_url_is_good_until_it_expires() -> None:
    request = presigned(300)
    assert verify(request, secret_of, NOW_US + 300 * SECOND_US) == KEY
    assert refusal(request, NOW_US + 300 * SECOND_US + 1) == "RequestExpired"
    assert refusal(request, NOW_US - (SIGNATURE_SKEW_S + 1) * SECOND_US) == "RequestExpired"
    assert form.parameters(request.query, request.body)["Name"] == "a b+c"


def test_a_changed_signed_url_is_refused() -> None:
    request = presigned()
    for old, new, code in (
        ("ami-1", "ami-2", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=300", "X-Amz-Expires=301", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=300", "X-Amz-Expires=0", "IncompleteSignature"),
        ("X-Amz-Expires=300", "X-Amz-Expires=1e3", "IncompleteSignature"),
        ("X-Amz-Expires=300", f"X-Amz-Expires={PRESIGNED_LIFETIME_S + 1}", "IncompleteSignature"),
        ("X-Amz-Expires=300", "X-Amz-Expires=" + "9" * 5000, "IncompleteSignature"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=", "IncompleteSignature"),
        ("%2Fec2%2F", "%2Fs3%2F", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "IncompleteSignature"),
        ("MinCount=1", "MinCount=1&MinCount=1", "SignatureDoesNotMatch"),
        ("Name=a%20b", "Name=a%FFb", "MalformedQueryString"),
        ("Name=a%20b", "Name=a\u00e9b", "MalformedQueryString"),
    ):
        assert old in request.query
        assert refusal(replace(request, query=request.query.replace(old, new))) == code, new
    assert refusal(replace(request, body=b"Action=TerminateInstances")) == "SignatureDoesNotMatch"
    assert refusal(replace(request, query=request.query + "&X-Amz-Security-Token=x")) == "InvalidClientTokenId"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_version_2_is_accepted_only_where_it_is_turned_on(method: str) -> None:
    request = old_client(method)
    assert verify(request, secret_of, NOW_US, old_clients=True) == KEY
    assert refusal(request) == "MissingAuthenticationToken"
    assert refusal(request, NOW_US + (SIGNATURE_SKEW_S + 1) * SECOND_US, old_clients=True) == "RequestExpired"
    assert refusal(request, NOW_US - (SIGNATURE_SKEW_S + 1) * SECOND_US, old_clients=True) == "RequestExpired"


def test_version_2_may_leave_the_port_out_and_may_use_sha_1() -> None:
    portless = old_client(url=URL.replace(":5000", ""))
    request = with_header(portless, "host", lambda name: f"{name}:5000")
    assert verify(request, secret_of, NOW_US, old_clients=True) == KEY
    pairs = [("AWSAccessKeyId", KEY), ("Action", "DescribeRegions"), ("SignatureMethod", "HmacSHA1")]
    pairs += [("SignatureVersion", "2"), ("Timestamp", "2026-11-21T03:20:00Z")]
    text = f"GET\nh\n/\n{urlencode(pairs)}"
    signature = base64.b64encode(hmac.digest(SECRET.encode(), text.encode(), "sha1")).decode()
    url_signed = SignedRequest("GET", "/", urlencode([*pairs, ("Signature", signature)]), {"host": "h"}, b"")
    assert verify(url_signed, secret_of, NOW_US, old_clients=True) == KEY
    assert refusal(replace(url_signed, path="/x"), old_clients=True) == "AuthFailure"


def test_a_signed_link_of_version_2_is_good_until_it_expires() -> None:
    pairs = [("AWSAccessKeyId", KEY), ("Action", "DescribeRegions"), ("Expires", "2026-11-21T04:20:00Z")]
    pairs += [("SignatureMethod", "HmacSHA256"), ("SignatureVersion", "2")]
    text = f"GET\nh\n/\n{urlencode(pairs)}"
    signature = base64.b64encode(hmac.digest(SECRET.encode(), text.encode(), "sha256")).decode()
    request = SignedRequest("GET", "/", urlencode([*pairs, ("Signature", signature)]), {"host": "h"}, b"")
    assert verify(request, secret_of, NOW_US + 3600 * SECOND_US, old_clients=True) == KEY
    assert refusal(request, NOW_US + 3601 * SECOND_US, old_clients=True) == "RequestExpired"
    assert refusal(request, NOW_US - PRESIGNED_LIFETIME_S * SECOND_US, old_clients=True) == "RequestExpired"


def test_a_changed_request_of_version_2_is_refused() -> None:
    request = old_client()
    for old, new, code in (
        (b"ami-1", b"ami-2", "AuthFailure"),
        (b"Signature=", b"Signature=A", "AuthFailure"),
        (KEY.encode(), b"AKIAOTHER", "AuthFailure"),
        (b"HmacSHA256", b"HmacSHA1", "AuthFailure"),
        (b"HmacSHA256", b"None", "IncompleteSignature"),
        (b"SignatureVersion=2", b"SignatureVersion=1", "IncompleteSignature"),
        (b"Timestamp=2026", b"Timestamp=x", "IncompleteSignature"),
        (b"MinCount=1", b"MinCount=1&MinCount=1", "InvalidQueryParameter"),
        (b"MinCount=1", b"MinCount=1&SecurityToken=x", "InvalidClientTokenId"),
    ):
        assert old in request.body
        assert refusal(replace(request, body=request.body.replace(old, new)), old_clients=True) == code, new
    assert refusal(replace(request, query="DryRun=true"), old_clients=True) == "AuthFailure"
    assert refusal(with_header(request, "host", lambda _: "other:5000"), old_clients=True) == "AuthFailure"
    assert refusal(replace(request, path="/services/Admin"), old_clients=True) == "AuthFailure"
    assert refusal(replace(request, body=b"\xff"), old_clients=True) == "MalformedQueryString"


def test_a_parameter_that_is_sent_twice_is_refused() -> None:
    for query, body in (("a=1&a=1", b""), ("a=1", b"a=2"), ("", b"%61=1&a=2")):
        with pytest.raises(BadInput, match="twice"):
            form.parameters(query, body)
