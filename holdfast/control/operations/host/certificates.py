"""The authority of the hosts: one key of the cloud, which signs what control replicas and joined hosts show each other.

It signs nothing else, and clients of the API never see it. A certificate is either a host's or the control plane's,
and says so: a host cannot pass for the control plane. The key lies sealed in the store, so every replica has it.
"""

from __future__ import annotations

import datetime
import hashlib
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.base.certificates import CONTROL_NAME
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput, Bug, Unavailable
from holdfast.base.limits import (
    CERTIFICATE_REQUEST_CHARS,
    CERTIFICATE_SKEW_S,
    CONTROL_CERTIFICATE_S,
    HOST_CERTIFICATE_S,
    HOSTS_AUTHORITY_S,
)
from holdfast.control.operations.identity.keys import Keyring
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.identity.enrolment import authority_add, authority_fetch

Key = ec.EllipticCurvePrivateKey


class HostsAuthority:
    """Made when it is first asked for; every replica then finds the same one."""

    def __init__(self, store: Database, secrets: Keyring) -> None:
        self._store, self._secrets = store, secrets

    @property
    def certificate(self) -> str:
        """PEM. Public."""
        return self._own[0].public_bytes(Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """What a join token says of it: sha256 of the certificate."""
        return self._own[0].fingerprint(hashes.SHA256()).hex()

    def for_host(self, host_id: str, request: Request, now_us: int) -> str:
        """A certificate, PEM, for the key that a machine showed."""
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        draft = _draft(host_id, request.public_key, usage, now_us, HOST_CERTIFICATE_S)
        return self._signed(draft).public_bytes(Encoding.PEM).decode()

    def for_control(self, now_us: int) -> str:
        """A new key and its certificate, PEM, for one replica's door."""
        key = _new_key()
        draft = _draft(
            CONTROL_NAME, key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH, now_us, CONTROL_CERTIFICATE_S
        ).add_extension(x509.SubjectAlternativeName([x509.DNSName(CONTROL_NAME)]), critical=False)
        return _text_of(key) + self._signed(draft).public_bytes(Encoding.PEM).decode()

    @cached_property
    def _own(self) -> tuple[x509.Certificate, Key]:
        kept = self._store.read(authority_fetch)
        if kept is None:
            kept = self._store.write(self._begin)
        certificate, sealed = kept
        text = self._secrets.unseal(sealed)
        if text is None:
            raise Unavailable("the key of the hosts' authority cannot be opened by this replica's keys")
        key = load_pem_private_key(text, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Bug("the key of the hosts' authority is of another kind")
        return x509.load_pem_x509_certificate(certificate.encode()), key

    def _begin(self, tx: Tx) -> tuple[str, str]:
        """The first one; of two replicas the second finds the first one's."""
        kept = authority_fetch(tx)
        if kept is not None:
            return kept
        key = _new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast hosts")])
        draft = (
            _dated(x509.CertificateBuilder(), tx.now_us, HOSTS_AUTHORITY_S)
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        certificate = draft.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        sealed = self._secrets.seal(_text_of(key).encode())
        authority_add(tx, certificate, sealed)
        return certificate, sealed

    def _signed(self, draft: x509.CertificateBuilder) -> x509.Certificate:
        certificate, key = self._own
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        return draft.issuer_name(certificate.subject).add_extension(issuer, critical=False).sign(key, hashes.SHA256())


class Request:
    """A machine's request for a certificate, whose key it has: a P-256 one."""

    def __init__(self, text: str) -> None:
        """Raises BadInput. What the request says besides its key is not looked at."""
        try:
            if len(text) > CERTIFICATE_REQUEST_CHARS:
                raise ValueError("it is too long")
            asked = x509.load_pem_x509_csr(text.encode())
            key = asked.public_key()
            if not asked.is_signature_valid:
                raise InvalidSignature
        except (ValueError, TypeError, InvalidSignature) as err:
            raise BadInput("this is no request for a certificate that its key has signed") from err
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise BadInput("the key of a host must be of the curve P-256")
        self.public_key = key

    @property
    def key_digest(self) -> str:
        return _digest_of(self.public_key)


def key_digest(certificate: bytes) -> str:
    """Of the key that a certificate, DER, is for: sha256 of the key as DER."""
    return _digest_of(x509.load_der_x509_certificate(certificate).public_key())


def _digest_of(key: object) -> str:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return ""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _draft(
    name: str, key: ec.EllipticCurvePublicKey, purpose: x509.ObjectIdentifier, now_us: int, lasts_s: int
) -> x509.CertificateBuilder:
    return (
        _dated(x509.CertificateBuilder(), now_us, lasts_s)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    )


def _dated(draft: x509.CertificateBuilder, now_us: int, lasts_s: int) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(now_us // SECOND_US, datetime.UTC)
    begins = now - datetime.timedelta(seconds=CERTIFICATE_SKEW_S)
    ends = now + datetime.timedelta(seconds=lasts_s)
    return draft.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _text_of(key: Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
