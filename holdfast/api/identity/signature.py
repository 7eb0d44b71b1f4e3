"""The EC2 signature that /v3/ec2tokens is asked about: what a service saw of a request it did not verify.

Version 4 only, in a header or in the URL, over the host, and for the service ec2: a URL that was signed for
an object store is no key to the cloud. Everything is compared in constant time; what is missing is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Unauthenticated
from holdfast.base.limits import SIGNATURE_SKEW_S

_ALGORITHM = "AWS4-HMAC-SHA256"
_SCOPE = re.compile(r"(?P<access>[^/]{1,128})/(?P<date>\d{8})/(?P<region>[\w-]{1,64})/ec2/aws4_request", re.A)
_HEADER = re.compile(r"AWS4-HMAC-SHA256 +Credential=(\S+?), *SignedHeaders=(\S+?), *Signature=([0-9a-f]{64})")
_INSTANT = "%Y%m%dT%H%M%SZ"
WORDS = "The request you have made requires authentication."


class SignedCall(msgspec.Struct, frozen=True):
    """A request as a service describes it, and the signature it came with."""

    access: str
    signature: str
    host: str = ""
    verb: str = "GET"
    path: str = "/"
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body_hash: str = ""


class _Claim(msgspec.Struct, frozen=True):
    credential: str
    signed_headers: str
    signature: str
    instant: str
    params: Mapping[str, str]


def require_signed(request: SignedCall, secret: str, now_us: int) -> None:
    """Raise Unauthenticated unless the secret of `request.access` signed this very request just now."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    claim = _claim(request, headers)
    scope = _SCOPE.fullmatch(claim.credential)
    names = claim.signed_headers.split(";")
    if scope is None or scope["access"] != request.access or "host" not in names:
        raise Unauthenticated(WORDS)
    _require_fresh(claim.instant, scope["date"], now_us)
    headers["host"] = request.host or headers.get("host", "")
    if any(name not in headers for name in names):
        raise Unauthenticated(WORDS)
    canonical = "\n".join(
        [
            request.verb.upper(),
            request.path or "/",
            _canonical_query(claim.params),
            "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names),
            claim.signed_headers,
            request.body_hash or hashlib.sha256(b"").hexdigest(),
        ]
    )
    rest = claim.credential.partition("/")[2]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    expected = _sign(secret, rest, "\n".join([_ALGORITHM, claim.instant, rest, hashed]))
    matches = hmac.compare_digest(expected.encode(), claim.signature.encode())
    if not (hmac.compare_digest(expected.encode(), request.signature.encode()) and matches):
        raise Unauthenticated(WORDS)


def _claim(request: SignedCall, headers: Mapping[str, str]) -> _Claim:
    params = request.params
    if found := _HEADER.fullmatch(headers.get("authorization", "").strip()):
        return _Claim(found[1], found[2], found[3], headers.get("x-amz-date", ""), params)
    if params.get("X-Amz-Algorithm") == _ALGORITHM:
        left = {name: value for name, value in params.items() if name != "X-Amz-Signature"}
        return _Claim(
            params.get("X-Amz-Credential", ""),
            params.get("X-Amz-SignedHeaders", ""),
            params.get("X-Amz-Signature", ""),
            params.get("X-Amz-Date", ""),
            left,
        )
    raise Unauthenticated(WORDS)


def _require_fresh(instant: str, date: str, now_us: int) -> None:
    try:
        signed = datetime.strptime(instant, _INSTANT).replace(tzinfo=UTC)
    except ValueError as err:
        raise Unauthenticated(WORDS) from err
    age_s = now_us / SECOND_US - signed.timestamp()
    if not instant.startswith(date) or abs(age_s) > SIGNATURE_SKEW_S:
        raise Unauthenticated(WORDS)


def _canonical_query(params: Mapping[str, str]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in params.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _sign(secret: str, scope: str, text: str) -> str:
    key = b"AWS4" + secret.encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()
