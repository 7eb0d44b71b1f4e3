"""Key pairs, by the rules that Nova's and EC2's APIs share.

A pair is drawn before the transaction (it takes 30 ms of a core, and a transaction may run twice), and only
its public half ever reaches the store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from holdfast.base.errors import BadInput, Conflict
from holdfast.base.limits import KEYPAIR_BITS, KEYPAIR_PUBLIC_BYTES
from holdfast.control.store.database import Tx
from holdfast.control.store.keypair import keypair_count, keypair_fetch, keypair_insert
from holdfast.control.store.quota import quota_require
from holdfast.domain.instance import Keypair

SSH, X509 = "ssh", "x509"


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """A fresh pair. The private half is for its owner's one reply."""

    public_key: str  # OpenSSH's line
    private_key: str  # PEM, as EC2 clients read it

    def __repr__(self) -> str:
        return "KeyMaterial(...)"  # never in a log or a traceback


def key_material_new() -> KeyMaterial:
    """Draw an RSA pair: the one kind that every SSH and EC2 client of the last twenty years reads."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=KEYPAIR_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyMaterial(f"{line.decode()} Generated-by-Holdfast", pem.decode())


def keypair_admit(tx: Tx, user_id: str, project_id: str, name: str) -> None:
    """Raise Conflict when the user has a key of this name, QuotaExceeded when there is room for no more."""
    if keypair_fetch(tx, user_id, name) is not None:
        raise Conflict(f"Key pair '{name}' already exists.", code="keypair_exists")
    quota_require(tx, project_id, "key_pairs", keypair_count(tx, user_id))


def keypair_generate(tx: Tx, user_id: str, project_id: str, name: str, material: KeyMaterial) -> tuple[Keypair, str]:
    """Keep the public half of a fresh pair; returns it with the private key, which is kept nowhere."""
    return keypair_import(tx, user_id, project_id, name, material.public_key), material.private_key


def keypair_import(tx: Tx, user_id: str, project_id: str, name: str, public_key: str, kind: str = SSH) -> Keypair:
    """Keep a user's public key (or certificate) as it was given; BadInput unless it is one."""
    fingerprint = public_key_fingerprint(public_key, kind)
    keypair_admit(tx, user_id, project_id, name)
    row = Keypair(user_id, name, kind, public_key, fingerprint, tx.now_us)
    keypair_insert(tx, row)
    return row


def public_key_fingerprint(public_key: str, kind: str = SSH) -> str:
    """MD5 of an SSH key, SHA-1 of a certificate, in pairs with colons; BadInput for anything that is neither."""
    if len(public_key) > KEYPAIR_PUBLIC_BYTES:
        raise BadInput(f"Keypair data is invalid: a public key has at most {KEYPAIR_PUBLIC_BYTES} bytes")
    digest = _ssh_digest(public_key) if kind == SSH else _certificate_digest(public_key)
    return ":".join(f"{byte:02x}" for byte in digest)


def _ssh_digest(public_key: str) -> bytes:
    line = public_key.strip()
    words = line.split(" ")
    if not line.isprintable() or len(words) < 2:  # a second line would be a second key, in somebody's file
        raise BadInput("Keypair data is invalid: it must be one line, as in an id_ed25519.pub or id_rsa.pub")
    try:
        serialization.load_ssh_public_key(line.encode())
        blob = base64.b64decode(words[1], validate=True)
    except (ValueError, UnsupportedAlgorithm, binascii.Error) as err:
        raise BadInput("Keypair data is invalid: it is not the public key of an SSH key pair") from err
    return hashlib.md5(blob, usedforsecurity=False).digest()


def _certificate_digest(certificate: str) -> bytes:
    try:
        return x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA1())  # noqa: S303
    except (ValueError, UnsupportedAlgorithm) as err:
        raise BadInput("Keypair data is invalid: it is not an X.509 certificate in PEM") from err
