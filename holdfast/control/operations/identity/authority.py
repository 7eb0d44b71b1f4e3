"""What one replica knows to answer "who is this": keys, passwords found right, tokens checked a moment ago.

Nothing in here is truth. A token is checked against the store again after TOKEN_CACHE_S, and at once after
any identity write of this process: an answer that was read before such a write is not remembered after it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from holdfast.base.clock import SECOND_US, Clock
from holdfast.base.errors import Unauthenticated
from holdfast.base.limits import TOKEN_CACHE_ENTRIES, TOKEN_CACHE_S, TOKEN_CHARS, TOKEN_LIFETIME_S
from holdfast.control.operations.identity.claims import (
    WORDS,
    Claim,
    Verified,
    audit_id,
    claim_check,
    claim_decode,
    claim_encode,
    claim_new,
    claim_resolve,
)
from holdfast.control.operations.identity.keys import Keyring, keys_prepare
from holdfast.control.operations.identity.login import Login, Proof, login_attempt
from holdfast.control.operations.identity.passwords import Passwords
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.identity.credentials import ec2_credential_by_access
from holdfast.control.store.identity.identity import IDENTITY
from holdfast.domain.credentials import Credentials
from holdfast.domain.identity import Ec2Credential, Target

_ATTEMPTS = 4  # a login with every method needs two proofs; one more for a password that just changed


class Authority:
    """Tokens in and out. One per process."""

    def __init__(self, store: Database, clock: Clock, keys: Path) -> None:
        self._store, self._clock = store, clock
        cloud = keys_prepare(store, keys)
        self.tokens, self.secrets = (Keyring(store, clock, cloud, kind) for kind in ("tokens", "secrets"))
        self.passwords = Passwords(clock)
        self._checked: OrderedDict[str, tuple[float, Verified]] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()
        store.signals.listen(IDENTITY, self.forget)

    def login(self, login: Login) -> tuple[str, Verified]:
        """Return a new token and what it says; raises Unauthenticated, or BadInput for what is no login."""
        proved: list[Proof] = []

        def known(proof: Proof) -> bool:
            return proof in proved or self.passwords.known(proof.stored, proof.secret)

        for _ in range(_ATTEMPTS):
            generation = self._generation
            outcome = self._store.read(lambda tx: login_attempt(tx, login, known, self.token_check))
            if isinstance(outcome, Verified):
                return self._sign(outcome, generation), outcome
            if not self.passwords.verify(outcome.stored, outcome.secret):
                break
            proved.append(outcome)
        raise Unauthenticated(WORDS)

    def check(self, token: str) -> Verified:
        """Return what a token is worth; at most TOKEN_CACHE_S old. Raises Unauthenticated."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            until_s, verified = self._checked.get(token, (0.0, None))
        if verified is not None and until_s > now_s and verified.claim.expires_us > self._clock.now_us():
            return verified
        generation = self._generation
        verified = self._store.read(lambda tx: self.token_check(tx, token))
        self._remember(token, verified, generation, now_s)
        return verified

    def token_check(self, tx: Tx, token: str) -> Verified:
        """The same, on this very snapshot."""
        plain = self.tokens.unseal(token) if len(token) <= TOKEN_CHARS else None
        if plain is None:
            raise Unauthenticated(WORDS)
        return claim_check(tx, claim_decode(plain))

    def forget(self) -> None:
        """Check every token again."""
        with self._lock:
            self._generation += 1
            self._checked.clear()

    def ec2_issue(self, credential: Ec2Credential) -> tuple[str, Verified]:
        """Return a token for whoever signed with this access key."""
        generation = self._generation
        verified = self._store.read(lambda tx: _ec2_verified(tx, credential))
        return self._sign(verified, generation), verified

    def ec2_lookup(self, tx: Tx, access: str) -> tuple[str, Credentials] | None:
        """Return the secret of an access key and whom it speaks for now, or None when it speaks for nobody."""
        credential = ec2_credential_by_access(tx, access)
        secret = self.ec2_secret(credential) if credential else None
        if credential is None or secret is None:
            return None
        try:
            return secret, _ec2_verified(tx, credential).credentials
        except Unauthenticated:
            return None

    def ec2_secret(self, credential: Ec2Credential) -> str | None:
        """None when the key that sealed it is lost."""
        plain = self.secrets.unseal(credential.secret_sealed)
        return None if plain is None else plain.decode()

    def _sign(self, verified: Verified, generation: int) -> str:
        token = self.tokens.seal(claim_encode(verified.claim))
        self._remember(token, verified, generation, self._clock.monotonic_s())
        return token

    def _remember(self, token: str, verified: Verified, generation: int, checked_s: float) -> None:
        with self._lock:
            if generation == self._generation:
                self._checked[token] = (checked_s + TOKEN_CACHE_S, verified)
                while len(self._checked) > TOKEN_CACHE_ENTRIES:
                    self._checked.popitem(last=False)


def credentials_for(tx: Tx, user_id: str, project_id: str) -> Credentials:
    """Whom a user is in a project now, with the roles that hold; raises Unauthenticated when there is none."""
    return claim_resolve(tx, _claim(tx, user_id, project_id))[0].credentials


def _ec2_verified(tx: Tx, credential: Ec2Credential) -> Verified:
    return claim_new(tx, _claim(tx, credential.user_id, credential.project_id, credential))


def _claim(tx: Tx, user_id: str, project_id: str, key: Ec2Credential | None = None) -> Claim:
    return Claim(
        user_id=user_id,
        methods=("ec2credential",) if key else (),
        target=Target.PROJECT,
        target_id=project_id,
        issued_us=tx.now_us,
        expires_us=tx.now_us + TOKEN_LIFETIME_S * SECOND_US,
        lineage=(audit_id(),),
        application_credential_id=key.application_credential_id if key else "",
        ec2_credential_id=key.id if key else "",
    )
