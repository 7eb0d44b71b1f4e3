"""POST /v3/ec2tokens: a service asks whose signature it was given, and gets a token for that user.

Only services and administrators may ask (CVE-2025-65073): whoever finds a signed URL finds no token. What
comes out is bound to the access key's project, makes no credentials, and dies with the key.
"""

from __future__ import annotations

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity.catalog import catalog_json
from holdfast.api.identity.signature import WORDS, SignedCall, require_signed
from holdfast.api.identity.tokens import token_body
from holdfast.base.errors import BadInput, Unauthenticated
from holdfast.control.store.identity.credentials import ec2_credential_by_access


def ec2_token_create(call: Call) -> Reply:
    """POST /v3/ec2tokens: 200 with a token; 401 for every reason in the same words."""
    document = call.json()
    described = document.get("credentials", document.get("ec2Credentials"))
    try:
        request = msgspec.convert(described, SignedCall)
    except msgspec.ValidationError as err:
        raise BadInput(f"Invalid input for 'credentials': {err}") from err
    authority = call.services.authority
    key = call.services.store.read(lambda tx: ec2_credential_by_access(tx, request.access))
    secret = authority.ec2_secret(key) if key else None
    require_signed(request, secret or "", call.services.clock.now_us())
    if key is None or secret is None:
        raise Unauthenticated(WORDS)
    token, verified = authority.ec2_issue(key)
    body = token_body(verified) | {"catalog": catalog_json(call.services)}
    return Reply(200, {"token": body}, {"X-Subject-Token": token, "Vary": "X-Auth-Token"})
