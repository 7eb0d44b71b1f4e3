"""Who signed this EC2 request: signature version 4 in a header or in the URL; version 2 where it is allowed.

Nothing of a request is believed before `verify` returned: every parameter, the host and the body are under
the signature, and the action runs on the very text that was hashed. The service in the credential's scope
must be EC2: a URL that was signed for an object store, and then leaked, is no key to the cloud
(OSSA-2025-002). The region may be any, clients make one up. A request may be repeated inside its window, as
with EC2; what must happen once carries a client token.

`old_clients` lets in boto 2 and euca2ools: signature version 2, and version 4 for the service that boto 2
makes of the host's first word when it does not know the host (`127` of 127.0.0.1).

Errors carry EC2's own codes; which access keys exist is not a secret, their secrets never leave this room.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from holdfast.api.ec2 import form
from holdfast.api.ec2.signature_v2 import verify_v2
from holdfast.base.clock import SECOND_US, parse_iso
from holdfast.base.errors import BadInput, Unauthenticated
from holdfast.base.limits import PRESIGNED_LIFETIME_S, SIGNATURE_SKEW_S

_ALGORITHM = "AWS4-HMAC-SHA256"
_CREDENTIAL = re.compile(
    r"(?P<key>[\w-]{1,128})/(?P<date>[0-9]{8})/(?P<region>[\w-]{1,64})/(?P<service>[\w-]{1,64})/aws4_request", re.A
)
_SECONDS = re.compile(r"[0-9]{1,9}")
_INSTANT = re.compile(r"[0-9]{8}T[0-9]{6}Z")

SecretOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived, nothing decoded: `path` and `query` as sent, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a signature of version 4 says about itself."""

    credential: str
    signed_headers: str
    signature: str
    instant: str  # 20261121T032000Z
    lifetime_s: int
    query: form.Pairs  # what of the query string is signed


def verify(request: SignedRequest, secret_of: SecretOf, now_us: int, *, old_clients: bool = False) -> str:
    """Return the access key that signed the request; raises Unauthenticated or BadInput."""
    pairs = form.decode_pairs(request.query)
    names = {name for name, _ in pairs}
    if "x-amz-security-token" in request.headers or "X-Amz-Security-Token" in names:
        raise Unauthenticated("This cloud issues no session tokens.", code="InvalidClientTokenId")
    if "authorization" in request.headers:
        return _verify_claim(request, _header_claim(request, pairs), secret_of, now_us, old_clients)
    if "X-Amz-Algorithm" in names:
        return _verify_claim(request, _query_claim(pairs), secret_of, now_us, old_clients)
    if old_clients:
        params = form.parameters(request.query, request.body)
        host = request.headers.get("host", "")
        return verify_v2(request.method, host, request.path, params, secret_of, now_us)
    raise Unauthenticated("Request is missing Authentication Token", code="MissingAuthenticationToken")


def _header_claim(request: SignedRequest, pairs: form.Pairs) -> _Claim:
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    fields = [field.strip().partition("=") for field in rest.split(",")]
    said = {name: value for name, _, value in fields}
    if algorithm != _ALGORITHM or len(fields) != 3 or said.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise _incomplete(f"Authorization must be {_ALGORITHM} with Credential, SignedHeaders and Signature.")
    instant = request.headers.get("x-amz-date") or _instant_of_date(request.headers.get("date", ""))
    return _Claim(said["Credential"], said["SignedHeaders"], said["Signature"], instant, SIGNATURE_SKEW_S, pairs)


def _query_claim(pairs: form.Pairs) -> _Claim:
    said = dict(pairs)
    if said["X-Amz-Algorithm"] != _ALGORITHM:
        raise _incomplete(f"X-Amz-Algorithm must be {_ALGORITHM}.")
    lifetime = said.get("X-Amz-Expires", "")
    if _SECONDS.fullmatch(lifetime) is None or not 0 < int(lifetime) <= PRESIGNED_LIFETIME_S:
        raise _incomplete(f"X-Amz-Expires must be from 1 to {PRESIGNED_LIFETIME_S} seconds.")
    return _Claim(
        credential=said.get("X-Amz-Credential", ""),
        signed_headers=said.get("X-Amz-SignedHeaders", ""),
        signature=said.get("X-Amz-Signature", ""),
        instant=said.get("X-Amz-Date", ""),
        lifetime_s=int(lifetime),
        query=[pair for pair in pairs if pair[0] != "X-Amz-Signature"],
    )


def _verify_claim(request: SignedRequest, claim: _Claim, secret_of: SecretOf, now_us: int, old_clients: bool) -> str:
    credential = _CREDENTIAL.fullmatch(claim.credential)
    if credential is None or credential["service"] not in _services(request, old_clients):
        raise _incomplete("Credential must be ACCESS_KEY/YYYYMMDD/REGION/ec2/aws4_request.")
    if _INSTANT.fullmatch(claim.instant) is None or credential["date"] != claim.instant[:8]:
        raise _incomplete("The date must look like 20261121T032000Z and be the one of the Credential.")
    _check_window(claim, now_us)
    body_hash = hashlib.sha256(request.body).hexdigest()
    if request.headers.get("x-amz-content-sha256", body_hash) != body_hash:
        raise _mismatch()
    secret = secret_of(credential["key"])
    if secret is None:
        raise Unauthenticated(
            "AWS was not able to validate the provided access credentials: unknown access key", code="AuthFailure"
        )
    canonical = _canonical_request(request, claim, body_hash)
    scope = claim.credential.partition("/")[2]
    text = f"{_ALGORITHM}\n{claim.instant}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = _hmac(_signing_key(secret, scope), text).hex()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise _mismatch()
    return credential["key"]


def _services(request: SignedRequest, old_clients: bool) -> set[str]:
    """The services that a signature may be for; an object store's is never one of them."""
    first_word = re.split("[.:]", request.headers.get("host", ""))[0]
    return {"ec2", first_word} - {"s3"} if old_clients else {"ec2"}


def _check_window(claim: _Claim, now_us: int) -> None:
    try:
        signed_us = parse_iso(claim.instant)
    except ValueError as err:
        raise _incomplete("The date of the signature does not exist.") from err
    if not signed_us - SIGNATURE_SKEW_S * SECOND_US <= now_us <= signed_us + claim.lifetime_s * SECOND_US:
        raise Unauthenticated(
            f"Request has expired: it was signed at {claim.instant} for {claim.lifetime_s} seconds.",
            code="RequestExpired",
        )


def _canonical_request(request: SignedRequest, claim: _Claim, body_hash: str) -> str:
    names = claim.signed_headers.split(";")
    if "host" not in names or names != sorted(set(names)):
        raise _incomplete("SignedHeaders must be sorted and name the host.")
    if not all(name in request.headers for name in names):
        raise _mismatch()
    lines = [f"{name}:{' '.join(request.headers[name].split())}" for name in names]
    pairs = sorted((form.encoded(name), form.encoded(value)) for name, value in claim.query)
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return "\n".join(
        [request.method, _canonical_path(request.path), query, *lines, "", claim.signed_headers, body_hash]
    )


def _canonical_path(path: str) -> str:
    """The path without `.`, `..` and doubled slashes, encoded once more than it was sent."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    closing = "/" if kept and path.endswith("/") else ""
    return quote(f"/{'/'.join(kept)}{closing}", safe="/~")


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = _hmac(key, word)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _instant_of_date(text: str) -> str:
    """A `Date` header, which some signers use instead of X-Amz-Date, in the form that is signed."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError) as err:
        raise _incomplete("The request needs an X-Amz-Date or a Date header.") from err


def _incomplete(message: str) -> BadInput:
    return BadInput(message, code="IncompleteSignature")


def _mismatch() -> Unauthenticated:
    return Unauthenticated(
        "The request signature we calculated does not match the signature you provided."
        " Check your AWS Secret Access Key and signing method.",
        code="SignatureDoesNotMatch",
    )
