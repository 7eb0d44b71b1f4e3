"""Joining: a machine that shows a token becomes a host with a key of its own, for which it gets certificates.

The same machine may ask again, with the id and the key that it began with: an answer that was lost, or a host that was
off for longer than its certificate lasts.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput, Conflict, Unauthenticated
from holdfast.base.limits import HOST_CERTIFICATE_S
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_fetch, host_insert, host_names
from holdfast.control.store.identity.enrolment import (
    enrolment_extend,
    enrolment_fetch,
    enrolment_write,
    join_token_add,
    join_token_by_digest,
)
from holdfast.domain.joining import Enrolment, JoinRequest, JoinToken

log = logs.get(__name__)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")  # a host name: it is a directory, too
_ZONE = re.compile(r"[A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def join_token_make(tx: Tx, user_id: str, lasts_s: int) -> tuple[JoinToken, str]:
    """A new one and its secret, which is kept nowhere."""
    secret = secrets.token_urlsafe(32)
    row = JoinToken(ids.new_id(), _digest(secret), tx.now_us + lasts_s * SECOND_US, user_id, tx.now_us)
    join_token_add(tx, row)
    return row, secret


def join_request_check(wish: JoinRequest) -> None:
    """BadInput for what is no name, id or digest."""
    if not ids.is_id(wish.host_id) or not _DIGEST.fullmatch(wish.token_digest):
        raise BadInput("host_id must be an id, and token_digest the sha256 of the host's token")
    if not _NAME.fullmatch(wish.name):
        raise BadInput("the name of a host has 1 to 63 letters, digits, dots and hyphens")
    if not _ZONE.fullmatch(wish.zone):
        raise BadInput("the name of a zone has at most 63 letters, digits, dots, hyphens and underscores")


def host_join(tx: Tx, wish: JoinRequest, key_digest: str, zone: str) -> tuple[str, str]:
    """Let a machine in, or in again, and return its name and zone; `zone` is where hosts are that name none.

    Raises Unauthenticated for a token that lets nobody in, and Conflict for a name or an id that is another machine's.
    """
    if join_token_by_digest(tx, _digest(wish.secret)) is None:
        raise Unauthenticated("this join token lets nobody in (any more); a new one is made with: holdfast token")
    before, known = enrolment_fetch(tx, wish.host_id), host_fetch(tx, wish.host_id)
    if known is not None and (before is None or before.key_digest != key_digest):
        raise Conflict(f"host {known.name} is another machine's: it has another key", code="identity")
    if known is None and wish.name in host_names(tx).values():
        raise Conflict(
            f"a host {wish.name} is in this cloud already. Join under another name: --name NAME; or, if that one is "
            f"gone for good, first on the cloud's machine: holdfast host forget {wish.name}",
            code="name_taken",
        )
    name, zone = (known.name, known.zone) if known is not None else (wish.name, wish.zone or zone)
    host_insert(tx, wish.host_id, name, zone, wish.token_digest)
    joined_us = before.joined_us if before is not None else tx.now_us
    enrolment_write(tx, Enrolment(wish.host_id, key_digest, _until_us(tx), joined_us))
    log.info("host_joined", host=name, again=known is not None)
    return name, zone


def host_certify(tx: Tx, host_id: str, key_digest: str) -> None:
    """Its certificate is renewed; Conflict for another key than it joined with."""
    enrolled = enrolment_fetch(tx, host_id)
    if enrolled is None or enrolled.key_digest != key_digest:
        raise Conflict("a host keeps the key that it joined with", code="identity")
    enrolment_extend(tx, host_id, _until_us(tx))


def _until_us(tx: Tx) -> int:
    return tx.now_us + HOST_CERTIFICATE_S * SECOND_US


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
