"""What a token says, and whether the store still agrees.

A `Claim` travels inside the token: ids, instants and the newest revocation number its issuer saw, never
names or roles. Its lineage names every token that it was made from: the end of one is the end of all that
came out of it, and of nothing else. `claim_check` reads everything else from one snapshot, so a token is
worth at every moment what its user is worth, and never more than the credential that it came from.
"""

from __future__ import annotations

import base64
import os
import uuid

import msgspec

from holdfast.base import ids
from holdfast.base.errors import Unauthenticated
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.credentials import application_credential_fetch
from holdfast.control.store.identity.identity import account_fetch, place_fetch
from holdfast.control.store.identity.roles import revocation_mark, roles_held
from holdfast.domain.credentials import Credentials, imply
from holdfast.domain.identity import SYSTEM, Account, ApplicationCredential, Place, Target

METHODS = ("password", "token", "application_credential", "ec2credential")  # their order is in every token
WORDS = "The request you have made requires authentication."
_VERSION = 1
_TARGETS = {"": None, "p": Target.PROJECT, "d": Target.DOMAIN, "s": Target.SYSTEM}
_LETTERS = {target: letter for letter, target in _TARGETS.items()}


class Claim(msgspec.Struct, frozen=True):
    """What a token says."""

    user_id: str
    methods: tuple[str, ...]
    target: Target | None  # None: unscoped
    target_id: str
    issued_us: int
    expires_us: int
    lineage: tuple[str, ...]  # audit ids from the first token of its chain to its own
    application_credential_id: str = ""
    ec2_credential_id: str = ""
    mark: int = 0  # the newest revocation that its issuer saw

    @property
    def audit_ids(self) -> tuple[str, ...]:
        """As Keystone shows them: its own, and the first of its chain when that is another."""
        return (self.lineage[-1], self.lineage[0]) if len(self.lineage) > 1 else self.lineage


class Verified(msgspec.Struct, frozen=True):
    """A claim that the store agrees with, and what the store says about it."""

    claim: Claim
    credentials: Credentials
    user: Account
    place: Place | None
    roles: tuple[tuple[str, str], ...]  # (id, name), implied ones included
    application_credential: ApplicationCredential | None


def claim_encode(claim: Claim) -> bytes:
    """Return the claim, small: ids are 16 bytes each."""
    methods = sum(1 << METHODS.index(method) for method in claim.methods)
    names = (claim.user_id, claim.target_id, claim.application_credential_id, claim.ec2_credential_id)
    instants = (claim.issued_us, claim.expires_us, claim.mark)
    letter = _LETTERS[claim.target]
    lineage = [base64.urlsafe_b64decode(audit + "==") for audit in claim.lineage]
    return msgspec.msgpack.encode((_VERSION, methods, letter, *map(_pack, names), *instants, lineage))


def claim_decode(data: bytes) -> Claim:
    """Raises Unauthenticated for what another release may have written."""
    fields = msgspec.msgpack.decode(data)
    if fields[0] != _VERSION:
        raise Unauthenticated(WORDS)
    _, methods, letter, user_id, target_id, credential_id, ec2_id, issued_us, expires_us, mark, lineage = fields
    return Claim(
        _unpack(user_id),
        tuple(method for bit, method in enumerate(METHODS) if methods >> bit & 1),
        _TARGETS[letter],
        _unpack(target_id),
        issued_us,
        expires_us,
        tuple(map(_audit_text, lineage)),
        _unpack(credential_id),
        _unpack(ec2_id),
        mark,
    )


def audit_id() -> str:
    """Return a new audit id: 22 characters, as Keystone's."""
    return _audit_text(os.urandom(16))


def claim_check(tx: Tx, claim: Claim) -> Verified:
    """Return what the claim is worth now; raises Unauthenticated when that is nothing."""
    verified, mark = claim_resolve(tx, claim)
    if claim.expires_us <= tx.now_us or mark > claim.mark:
        raise Unauthenticated(WORDS)
    return verified


def claim_new(tx: Tx, claim: Claim) -> Verified:
    """Return the claim as a new token has it: with the newest revocation of this snapshot as its mark."""
    verified, mark = claim_resolve(tx, claim)
    return msgspec.structs.replace(verified, claim=msgspec.structs.replace(claim, mark=mark))


def claim_resolve(tx: Tx, claim: Claim) -> tuple[Verified, int]:
    """Return what the store says about the claim, and its newest revocation; the caller compares the marks."""
    user = account_fetch(tx, claim.user_id)
    if user is None or not user.enabled:
        raise Unauthenticated(WORDS)
    place = _place(tx, claim)
    source = _source(tx, claim)
    held = _roles(tx, claim, source)
    mark = revocation_mark(tx, _subjects(claim, user, place))
    return Verified(claim, _credentials(claim, user, place, source, held), user, place, held, source), mark


def _place(tx: Tx, claim: Claim) -> Place | None:
    if claim.target not in (Target.PROJECT, Target.DOMAIN):
        return None
    place = place_fetch(tx, claim.target_id)
    if place is None or not place.enabled or place.is_domain != (claim.target is Target.DOMAIN):
        raise Unauthenticated(WORDS)
    return place


def _source(tx: Tx, claim: Claim) -> ApplicationCredential | None:
    """The application credential behind the claim: of the same user, for the same project, not expired."""
    if not claim.application_credential_id:
        return None
    source = application_credential_fetch(tx, claim.application_credential_id)
    if source is None or source.user_id != claim.user_id:
        raise Unauthenticated(WORDS)
    if claim.target is not Target.PROJECT or source.project_id != claim.target_id:
        raise Unauthenticated(WORDS)
    if source.expires_us is not None and source.expires_us <= tx.now_us:
        raise Unauthenticated(WORDS)
    return source


def _roles(tx: Tx, claim: Claim, source: ApplicationCredential | None) -> tuple[tuple[str, str], ...]:
    """The roles that hold, as (id, name); a scope without any is no scope."""
    if claim.target is None:
        return ()
    rows = roles_held(tx, claim.user_id, claim.target, claim.target_id or SYSTEM)
    names = imply(frozenset(name for _, name, held in rows if held))
    if source is not None:
        names &= imply(frozenset(name for role_id, name, _ in rows if role_id in source.role_ids))
    if not names:
        raise Unauthenticated(WORDS)
    return tuple((role_id, name) for role_id, name, _ in rows if name in names)


def _subjects(claim: Claim, user: Account, place: Place | None) -> list[str]:
    """Everything whose revocation ends this claim."""
    subjects = [f"user:{user.id}", f"domain:{user.domain_id}", *(f"audit:{audit}" for audit in claim.lineage)]
    if claim.target is not None:
        subjects.append(f"grant:{user.id}:{claim.target_id}")
    if place is not None:
        subjects += [f"project:{place.id}", f"domain:{place.domain_id or place.id}"]
    if claim.application_credential_id:
        subjects.append(f"credential:{claim.application_credential_id}")
    if claim.ec2_credential_id:
        subjects.append(f"credential:{claim.ec2_credential_id}")
    return subjects


def _credentials(
    claim: Claim,
    user: Account,
    place: Place | None,
    source: ApplicationCredential | None,
    roles: tuple[tuple[str, str], ...],
) -> Credentials:
    project = place if claim.target is Target.PROJECT else None
    return Credentials(
        user_id=user.id,
        user_name=user.name,
        user_domain_id=user.domain_id,
        project_id=project.id if project else "",
        project_name=project.name if project else "",
        project_domain_id=project.domain_id if project else "",
        domain_id=claim.target_id if claim.target is Target.DOMAIN else "",
        system=claim.target is Target.SYSTEM,
        roles=frozenset(name for _, name in roles),
        methods=claim.methods,
        application_credential_id=claim.application_credential_id,
        restricted=bool(claim.ec2_credential_id) or (source is not None and not source.unrestricted),
        issued_us=claim.issued_us,
        expires_us=claim.expires_us,
        audit_ids=claim.audit_ids,
        ec2_credential_id=claim.ec2_credential_id,
    )


def _audit_text(audit: bytes) -> str:
    return base64.urlsafe_b64encode(audit).rstrip(b"=").decode()


def _pack(text: str) -> bytes | str:
    return uuid.UUID(text).bytes if ids.is_id(text) else text


def _unpack(packed: bytes | str) -> str:
    return str(uuid.UUID(bytes=packed)) if isinstance(packed, bytes) else packed
