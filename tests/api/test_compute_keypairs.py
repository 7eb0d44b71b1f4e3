"""Key pairs over HTTP: what is made, what is taken, and where a private key is found (nowhere)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from holdfast.control.store.keypair import keypairs_list
from holdfast.control.store.quota import quota_set
from tests.api.nova_cloud import at, nova, ok, refused
from tests.conftest import Cloud

__all__ = ["nova"]
KEYPAIRS = "/compute/v2.1/os-keypairs"


def public_line(private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, comment: str = "me@here") -> str:
    line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} {comment}"


ED25519 = public_line(ed25519.Ed25519PrivateKey.generate())


def certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "winrm")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_pair_is_made_and_its_private_half_is_in_that_reply_only(nova: Cloud, tmp_path: Path) -> None:
    demo = nova.as_user()
    made = ok(demo.request("POST", KEYPAIRS, {"keypair": {"name": "mine"}}, {"Idempotency-Key": "once"}))["keypair"]
    private = serialization.load_pem_private_key(made["private_key"].encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2_048
    assert made["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert made["public_key"].startswith(line.decode())
    assert made["user_id"] == nova.known.demo_user_id
    shown = ok(demo.get(f"{KEYPAIRS}/mine"))["keypair"]
    assert "private_key" not in shown
    secret = made["private_key"].splitlines()[5].encode()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path
    repeat = demo.request("POST", KEYPAIRS, {"keypair": {"name": "mine"}}, {"Idempotency-Key": "once"})
    assert refused(repeat, 409, "conflictingRequest") == "Key pair 'mine' already exists."


@pytest.mark.parametrize(
    "line", [ED25519, public_line(ec.generate_private_key(ec.SECP256R1())) + "\n"], ids=["ed25519", "ecdsa"]
)
def test_a_key_is_taken_as_it_is_with_its_fingerprint(nova: Cloud, line: str) -> None:
    import base64

    made = ok(nova.as_user().post(KEYPAIRS, {"keypair": {"name": "k", "public_key": line}}))["keypair"]
    digest = hashlib.md5(base64.b64decode(line.split()[1])).hexdigest()
    assert made["fingerprint"].replace(":", "") == digest
    assert len(made["fingerprint"]) == 47
    assert made["public_key"] == line
    assert "private_key" not in made


def test_a_certificate_is_a_key_of_type_x509(nova: Cloud) -> None:
    demo, pem = at(nova.as_user(), "2.2"), certificate()
    made = ok(demo.post(KEYPAIRS, {"keypair": {"name": "c", "type": "x509", "public_key": pem}}), 201)["keypair"]
    assert made["type"] == "x509"
    assert len(made["fingerprint"]) == 59
    wrong = demo.post(KEYPAIRS, {"keypair": {"name": "d", "type": "x509", "public_key": ED25519}})
    assert "not an X.509 certificate" in refused(wrong, 400, "badRequest")


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "hello",
        "ssh-rsa AAAA",
        "ssh-ed25519 !!!! me",
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        f"{ED25519}\n{ED25519}",
        f'command="/bin/sh" {ED25519}',
        f"{ED25519}\x00",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        "ssh-rsa " + "A" * 20_000,
    ],
    ids=range(10),  # keys are made anew in each process: they must not name a test
)
def test_what_is_no_public_key_is_refused_clearly(nova: Cloud, garbage: str) -> None:
    answer = nova.as_user().post(KEYPAIRS, {"keypair": {"name": "k", "public_key": garbage}})
    message = refused(answer, 400, "badRequest")
    assert "Keypair data is invalid" in message or "is too long" in message
    user_id = nova.known.demo_user_id
    assert nova.services.store.read(lambda tx: keypairs_list(tx, user_id)) == []


def test_each_version_has_its_own_shape(nova: Cloud) -> None:
    demo = nova.as_user()
    body = {"keypair": {"name": "old", "public_key": ED25519}}
    assert "type" not in ok(demo.post(KEYPAIRS, body), 200)["keypair"]
    assert at(demo, "2.1").post(KEYPAIRS, {"keypair": {"name": "x", "type": "ssh"}}).status == 400
    typed = {"keypair": {"name": "typed", "type": "ssh", "public_key": ED25519}}
    assert ok(at(demo, "2.2").post(KEYPAIRS, typed), 201)["keypair"]["type"] == "ssh"
    assert [set(e["keypair"]) for e in ok(demo.get(KEYPAIRS))["keypairs"]] == [
        {"name", "public_key", "fingerprint"},
        {"name", "public_key", "fingerprint"},
    ]
    assert "type" in ok(at(demo, "2.2").get(KEYPAIRS))["keypairs"][0]["keypair"]
    shown = ok(at(demo, "2.96").get(f"{KEYPAIRS}/old"))["keypair"]
    assert set(shown) == {
        *("name", "public_key", "fingerprint", "type", "user_id", "id"),
        *("created_at", "updated_at", "deleted", "deleted_at"),
    }
    assert (shown["deleted"], shown["deleted_at"], type(shown["id"])) == (False, None, int)
    assert demo.delete(f"{KEYPAIRS}/old").status == 202
    assert at(demo, "2.2").delete(f"{KEYPAIRS}/typed").status == 204
    assert "Keypair typed not found" in refused(demo.delete(f"{KEYPAIRS}/typed"), 404, "itemNotFound")


def test_since_2_92_a_key_is_brought_along_and_names_may_have_dots(nova: Cloud) -> None:
    demo = nova.as_user()
    new = at(demo, "2.92").post(KEYPAIRS, {"keypair": {"name": "a"}})
    assert "'public_key' is a required property" in refused(new, 400, "badRequest")
    body = {"keypair": {"name": "me@host.example", "public_key": ED25519}}
    assert at(demo, "2.91").post(KEYPAIRS, body).status == 400
    assert at(demo, "2.92").post(KEYPAIRS, body).status == 201
    for bad in ("a/b", " a", "a\n", "", "ü", "x" * 256):
        assert at(demo, "2.92").post(KEYPAIRS, {"keypair": {"name": bad, "public_key": ED25519}}).status == 400, bad


def test_names_are_a_users_own_and_an_administrator_may_name_the_user(nova: Cloud) -> None:
    demo, admin = at(nova.as_user(), "2.10"), at(nova.as_user("admin", "admin"), "2.10")
    ok(demo.post(KEYPAIRS, {"keypair": {"name": "same", "public_key": ED25519}}), 201)
    ok(admin.post(KEYPAIRS, {"keypair": {"name": "same", "public_key": ED25519}}), 201)
    whose = f"user_id={nova.known.demo_user_id}"
    assert ok(admin.get(f"{KEYPAIRS}/same?{whose}"))["keypair"]["user_id"] == nova.known.demo_user_id
    assert len(ok(admin.get(f"{KEYPAIRS}?{whose}"))["keypairs"]) == 1
    theirs = f"user_id={nova.known.admin_user_id}"
    assert demo.get(f"{KEYPAIRS}?{theirs}").status == 403
    assert demo.get(f"{KEYPAIRS}/same?{theirs}").status == 403
    assert demo.delete(f"{KEYPAIRS}/same?{theirs}").status == 403
    other = {"keypair": {"name": "n", "public_key": ED25519, "user_id": nova.known.admin_user_id}}
    assert demo.post(KEYPAIRS, other).status == 403
    assert ok(at(admin, "2.9").get(f"{KEYPAIRS}?{whose}"))["keypairs"][0]["keypair"]["name"] == "same"
    assert admin.delete(f"{KEYPAIRS}/same?{whose}").status == 204
    assert demo.get(f"{KEYPAIRS}/same").status == 404
    assert admin.get(f"{KEYPAIRS}/same").status == 200


def test_lists_are_paged_since_2_35(nova: Cloud) -> None:
    demo = at(nova.as_user(), "2.35")
    for name in ("c", "a", "b"):
        ok(demo.post(KEYPAIRS, {"keypair": {"name": name, "public_key": ED25519}}), 201)
    first = ok(demo.get(f"{KEYPAIRS}?limit=2"))
    assert [e["keypair"]["name"] for e in first["keypairs"]] == ["a", "b"]
    second = ok(demo.get(first["keypairs_links"][0]["href"].partition("5000")[2]))
    assert [e["keypair"]["name"] for e in second["keypairs"]] == ["c"]
    assert "keypairs_links" not in second
    assert "Marker x could not be found" in refused(demo.get(f"{KEYPAIRS}?marker=x"), 400, "badRequest")
    assert len(ok(at(demo, "2.34").get(f"{KEYPAIRS}?limit=1"))["keypairs"]) == 3


def test_no_pair_is_made_beyond_the_quota(nova: Cloud) -> None:
    project_id = nova.known.demo_project_id
    nova.services.store.write(lambda tx: quota_set(tx, project_id, {"key_pairs": 1}))
    demo = nova.as_user()
    ok(demo.post(KEYPAIRS, {"keypair": {"name": "one"}}))
    for body in ({"name": "two"}, {"name": "two", "public_key": ED25519}):
        assert "key_pairs" in refused(demo.post(KEYPAIRS, {"keypair": body}), 403, "forbidden")
