"""Who is let in as a host, again and again, and who is not; what the authority of the hosts signs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from holdfast.base.certificates import CONTROL_NAME
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput, Conflict, Unauthenticated
from holdfast.base.limits import HOST_CERTIFICATE_S, JOIN_TOKEN_S
from holdfast.control.operations.host.certificates import HostsAuthority, Request
from holdfast.control.operations.host.join import host_certify, host_join, join_request_check, join_token_make
from holdfast.control.operations.host.lease import host_forget, host_register
from holdfast.control.operations.identity.keys import Keyring, keys_prepare
from holdfast.control.store.database import Database
from holdfast.control.store.host import host_fetch, host_names
from holdfast.control.store.identity.enrolment import (
    authority_fetch,
    enrolment_fetch,
    host_admission,
    join_token_drop,
    join_tokens,
)
from holdfast.daemon.joining.membership import identity_make, request_of
from holdfast.domain.joining import JoinRequest, join_token_parts
from tests.conftest import START_US, HeldClock

HOST = "55555555-5555-4555-8555-555555555555"
OTHER = "55555555-6666-4666-8666-666666666666"


@pytest.fixture
def secret(store: Database) -> str:
    return store.write(lambda tx: join_token_make(tx, "admin", JOIN_TOKEN_S))[1]


@pytest.fixture
def request_text(tmp_path: Path) -> str:
    """Of a machine with a key of its own."""
    identity_make(tmp_path / "machine")
    return request_of(tmp_path / "machine")


@pytest.fixture
def authority(store: Database, clock: HeldClock, tmp_path: Path) -> HostsAuthority:
    return authority_of(store, clock, tmp_path / "keys")


def authority_of(store: Database, clock: HeldClock, keys: Path) -> HostsAuthority:
    keys.mkdir(exist_ok=True)
    return HostsAuthority(store, Keyring(store, clock, keys_prepare(store, keys), "secrets"))


def wish(secret: str, request_text: str = "", **changes: str) -> JoinRequest:
    said = {"secret": secret, "host_id": HOST, "name": "far1", "zone": "", "token_digest": "d" * 64}
    return JoinRequest(**{**said, "request": request_text, **changes})


def rows(store: Database) -> Iterator[object]:
    yield from store.read(lambda tx: (sorted(host_names(tx).items()), enrolment_fetch(tx, HOST), join_tokens(tx)))


def test_a_machine_with_a_token_is_a_host_and_again_the_same_one(store: Database, secret: str) -> None:
    assert store.write(lambda tx: host_join(tx, wish(secret), "k1", "nova")) == ("far1", "nova")
    assert store.read(lambda tx: host_admission(tx, HOST)) == ("d" * 64, "k1")
    renamed = wish(secret, name="other", zone="west", token_digest="e" * 64)
    assert store.write(lambda tx: host_join(tx, renamed, "k1", "nova")) == ("far1", "nova"), "its name is known already"
    assert store.read(lambda tx: host_admission(tx, HOST)) == ("e" * 64, "k1")
    host = store.read(lambda tx: host_fetch(tx, HOST))
    assert host is not None and host.name == "far1"


def test_a_secret_lets_in_until_its_time_is_over_or_it_is_revoked(
    store: Database, secret: str, clock: HeldClock
) -> None:
    before = list(rows(store))
    with pytest.raises(Unauthenticated, match="holdfast token"):
        store.write(lambda tx: host_join(tx, wish(secret + "x"), "k1", "nova"))
    clock.advance_s(JOIN_TOKEN_S)
    with pytest.raises(Unauthenticated):
        store.write(lambda tx: host_join(tx, wish(secret), "k1", "nova"))
    clock.advance_s(-JOIN_TOKEN_S)
    assert list(rows(store)) == before
    row = store.read(join_tokens)[0]
    assert secret not in str(msgspec.to_builtins(row)), "the store has no secret"
    assert store.write(lambda tx: join_token_drop(tx, row.id)) is True
    with pytest.raises(Unauthenticated):
        store.write(lambda tx: host_join(tx, wish(secret), "k1", "nova"))
    assert store.write(lambda tx: join_token_drop(tx, row.id)) is False


def test_tokens_that_are_over_are_forgotten_with_the_next(store: Database, secret: str, clock: HeldClock) -> None:
    clock.advance_s(JOIN_TOKEN_S)
    store.write(lambda tx: join_token_make(tx, "admin", 60))
    assert [row.until_us for row in store.read(join_tokens)] == [clock.now_us() + 60 * SECOND_US]


def test_anothers_id_or_name_is_refused_and_nothing_changes(store: Database, secret: str) -> None:
    store.write(lambda tx: host_join(tx, wish(secret), "k1", "nova"))
    before = list(rows(store))
    with pytest.raises(Conflict, match="another key"):
        store.write(lambda tx: host_join(tx, wish(secret, token_digest="f" * 64), "k2", "nova"))
    other = "66666666-6666-4666-8666-666666666666"
    with pytest.raises(Conflict, match="--name NAME"):
        store.write(lambda tx: host_join(tx, wish(secret, host_id=other), "k2", "nova"))
    with pytest.raises(Conflict, match="keeps the key"):
        store.write(lambda tx: host_certify(tx, HOST, "k2"))
    assert list(rows(store)) == before
    assert store.read(lambda tx: host_admission(tx, HOST)) == ("d" * 64, "k1")


@pytest.mark.parametrize(("other", "told"), [(HOST, "let in"), (OTHER, "name_taken")], ids=["itself", "another"])
def test_two_that_join_at_once_with_one_token_and_name_are_one_host(
    store: Database, secret: str, other: str, told: str
) -> None:
    """A machine that asks twice is let in twice; of two machines one is told that the name is taken."""
    for number in range(6):
        name, start = f"twin{number}", threading.Barrier(2)

        def join(host_id: str, name: str = name, number: int = number, start: threading.Barrier = start) -> str:
            asked = wish(secret, host_id=f"{number:08d}{host_id[8:]}", name=name)
            start.wait(10)
            try:
                store.write(lambda tx: host_join(tx, asked, f"key of {asked.host_id}", "nova"))
            except Conflict as err:
                return err.code
            return "let in"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(join, (HOST, other))) == sorted(["let in", told])
    assert sorted(store.read(host_names).values()) == [f"twin{number}" for number in range(6)]


def test_a_host_of_the_cloud_itself_is_not_taken_over_by_whoever_knows_its_id(store: Database, secret: str) -> None:
    from holdfast.control.store.host import host_insert

    store.write(lambda tx: host_insert(tx, HOST, "own", "nova", "digest"))
    with pytest.raises(Conflict, match="another key"):
        store.write(lambda tx: host_join(tx, wish(secret), "k1", "nova"))
    assert store.read(lambda tx: host_admission(tx, HOST)) == ("digest", None)


def test_a_host_that_was_forgotten_is_let_in_by_nothing_but_a_new_token(store: Database, secret: str) -> None:
    store.write(lambda tx: host_join(tx, wish(secret), "k1", "nova"))
    store.write(lambda tx: host_register(tx, HOST, "boot", "machine"))
    store.write(lambda tx: host_forget(tx, host_fetch(tx, HOST)))  # type: ignore[arg-type]
    assert store.read(lambda tx: host_admission(tx, HOST)) is None
    assert store.read(lambda tx: enrolment_fetch(tx, HOST)) is None
    with pytest.raises(Conflict):
        store.write(lambda tx: host_certify(tx, HOST, "k1"))
    store.write(lambda tx: host_join(tx, wish(secret), "k2", "nova"))
    assert store.read(lambda tx: host_admission(tx, HOST)) == ("d" * 64, "k2")


@pytest.mark.parametrize(
    "changes",
    [
        {"host_id": "../../etc"}, {"name": ""}, {"name": "a/b"}, {"name": "-a"}, {"name": "a" * 64}, {"name": ".."},
        {"zone": "a b"}, {"token_digest": "x"}, {"name": "a\nb"},
    ],
)  # fmt: skip
def test_words_that_are_no_names_are_refused(changes: dict[str, str]) -> None:
    join_request_check(wish("s"))
    with pytest.raises(BadInput):
        join_request_check(wish("s", **changes))


def test_only_a_request_that_its_own_small_key_signed_is_one(request_text: str) -> None:
    assert len(Request(request_text).key_digest) == 64
    body = request_text.splitlines()
    flipped = "\n".join([body[0], body[1], body[2][::-1], *body[3:]])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    large = builder.sign(rsa.generate_private_key(65537, 2048), SHA256()).public_bytes(Encoding.PEM).decode()
    for text in ("", "x", flipped, large, request_text + " " * 5000):
        with pytest.raises(BadInput):
            Request(text)


def test_two_replicas_have_one_authority_and_a_copy_of_the_store_alone_has_no_key(
    store: Database, authority: HostsAuthority, clock: HeldClock, tmp_path: Path
) -> None:
    again = authority_of(store, clock, tmp_path / "keys")
    assert again.certificate == authority.certificate and again.fingerprint == authority.fingerprint
    kept = store.read(authority_fetch)
    assert kept is not None and "PRIVATE KEY" not in kept[1]


def test_a_certificate_says_whose_it_is_for_how_long_and_that_a_host_is_no_control_plane(
    authority: HostsAuthority, request_text: str
) -> None:
    asked = Request(request_text)
    host = x509.load_pem_x509_certificate(authority.for_host(HOST, asked, START_US).encode())
    control = x509.load_pem_x509_certificate(authority.for_control(START_US).encode())
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    for each in (host, control):
        each.verify_directly_issued_by(issuer)
        assert not each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert host.subject.rfc4514_string() == f"CN={HOST}"
    assert host.not_valid_after_utc.timestamp() == START_US / 1e6 + HOST_CERTIFICATE_S
    uses = [each.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value for each in (host, control)]
    assert [list(use) for use in uses] == [[ExtendedKeyUsageOID.CLIENT_AUTH], [ExtendedKeyUsageOID.SERVER_AUTH]]
    names = control.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [CONTROL_NAME]


@pytest.mark.parametrize("text", ["", "x", "a" * 64, "a" * 63 + ".s", "." * 70])
def test_what_is_no_join_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        join_token_parts(text)
    assert not text or text not in caught.value.message
