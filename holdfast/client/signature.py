"""Signing a request for EC2, version 4: method, path, query, host and body are all under the signature.

The secret signs and is never sent, shown or kept.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


def signed_headers(
    method: str, url: str, body: bytes, access: str, secret: str, region: str, now_s: float
) -> dict[str, str]:
    """The headers that a request needs besides its own: Host, X-Amz-Date, Authorization."""
    parts = urlsplit(url)
    instant = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    scope = f"{instant[:8]}/{region}/ec2/aws4_request"
    path = quote(parts.path or "/", safe="/~")
    lines = (method, path, parts.query, f"host:{parts.netloc}", f"x-amz-date:{instant}", "", "host;x-amz-date")
    canonical = "\n".join((*lines, hashlib.sha256(body).hexdigest()))
    text = "\n".join((_ALGORITHM, instant, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    claim = f"Credential={access}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    return {"Host": parts.netloc, "X-Amz-Date": instant, "Authorization": f"{_ALGORITHM} {claim}"}
