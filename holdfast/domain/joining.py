"""How a machine joins: what it shows, and what it gets."""

from __future__ import annotations

import hashlib

import msgspec

from holdfast.base.errors import BadInput


class JoinToken(msgspec.Struct, frozen=True):
    """Lets any machine that shows its secret join, until an instant. The secret itself is nowhere but with people."""

    id: str
    digest: str  # sha256 of the secret
    until_us: int
    user_id: str  # who made it
    created_us: int


class Enrolment(msgspec.Struct, frozen=True):
    """A host of another machine: it comes through the door only, with a certificate for this key."""

    host_id: str
    key_digest: str
    until_us: int  # of the newest certificate
    joined_us: int


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine says that wants to join. It makes its id, its token and its key itself."""

    secret: str
    host_id: str
    name: str
    zone: str  # empty: the cloud's own
    token_digest: str  # sha256 of the token that it will show
    request: str  # for a certificate, PEM


class Joined(msgspec.Struct, frozen=True):
    """The answer: who it is from now on."""

    name: str
    zone: str
    certificate: str  # PEM


def join_token_text(fingerprint: str, secret: str) -> str:
    """What a person carries to the new machine: whom it may trust, and why it is trusted."""
    return f"{fingerprint}.{secret}"


def join_token_parts(text: str) -> tuple[str, str]:
    """Fingerprint of the hosts' authority and secret; BadInput for anything else. The text is in no message."""
    fingerprint, dot, secret = text.strip().partition(".")
    if not dot or len(fingerprint) != hashlib.sha256().digest_size * 2 or not secret:
        raise BadInput("this is no join token; one is made on the cloud's own machine with: holdfast token")
    return fingerprint, secret
