"""Signature version 2, which boto 2 and old euca2ools send: the parameters, the host and the path are signed.

Weaker than version 4 (the secret itself is the key, SHA-1 is allowed), so an operator turns it on. All
parameters are under the signature whether they travel in the URL or in the body; a caller must act on
nothing but these parameters.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping

from holdfast.api.ec2 import form
from holdfast.base.clock import SECOND_US, parse_iso
from holdfast.base.errors import BadInput, Unauthenticated
from holdfast.base.limits import PRESIGNED_LIFETIME_S, SIGNATURE_SKEW_S

_DIGESTS = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}


def verify_v2(
    method: str,
    host: str,
    path: str,
    params: Mapping[str, str],
    secret_of: Callable[[str], str | None],
    now_us: int,
) -> str:
    """Return the access key that signed the request; raises Unauthenticated or BadInput."""
    if "Signature" not in params or "AWSAccessKeyId" not in params:
        raise Unauthenticated("Request is missing Authentication Token", code="MissingAuthenticationToken")
    if "SecurityToken" in params:
        raise Unauthenticated("This cloud issues no session tokens.", code="InvalidClientTokenId")
    digest = _DIGESTS.get(params.get("SignatureMethod", ""))
    if params.get("SignatureVersion") != "2" or digest is None:
        raise BadInput(f"SignatureVersion must be 2 with one of {', '.join(_DIGESTS)}.", code="IncompleteSignature")
    _check_window(params, now_us)
    secret = secret_of(params["AWSAccessKeyId"])
    names = sorted(params.keys() - {"Signature"}, key=str.encode)
    query = "&".join(f"{form.encoded(name)}={form.encoded(params[name])}" for name in names)
    # The first boto 2s leave the port out of what they sign, though not out of the Host header.
    hosts = {host.lower(), host.lower().partition(":")[0]}
    texts = [f"{method}\n{name}\n{path or '/'}\n{query}" for name in hosts]
    if secret is None or not any(_matches(secret, text, digest, params["Signature"]) for text in texts):
        raise Unauthenticated("AWS was not able to validate the provided access credentials", code="AuthFailure")
    return params["AWSAccessKeyId"]


def _matches(secret: str, text: str, digest: str, signature: str) -> bool:
    expected = base64.b64encode(hmac.digest(secret.encode(), text.encode(), digest))
    return hmac.compare_digest(expected, signature.encode())


def _check_window(params: Mapping[str, str], now_us: int) -> None:
    """`Timestamp` says when it was signed, or `Expires` until when it is good."""
    try:
        if "Timestamp" in params:
            since_us = parse_iso(params["Timestamp"]) - SIGNATURE_SKEW_S * SECOND_US
            until_us = since_us + 2 * SIGNATURE_SKEW_S * SECOND_US
        else:
            until_us = parse_iso(params.get("Expires", ""))
            since_us = until_us - PRESIGNED_LIFETIME_S * SECOND_US
    except ValueError as err:
        raise BadInput("Timestamp or Expires must look like 2026-11-21T03:20:00Z.", code="IncompleteSignature") from err
    if not since_us <= now_us <= until_us:
        raise Unauthenticated("Request has expired.", code="RequestExpired")
