"""What speaks for a user never gets beyond what the user gave it, by any road, and ends with its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Key

from holdfast.base.clock import iso_micros
from tests.api.test_identity_tokens import TOKENS, V3, by_password, by_token, show
from tests.client import Answer, Client
from tests.conftest import PASSWORDS, Cloud


def made(cloud: Cloud, token: str, user: str = "demo", **body: Any) -> Answer:
    """Ask for an application credential of a first user."""
    user_id = cloud.known.demo_user_id if user == "demo" else cloud.known.admin_user_id
    path = f"{V3}/users/{user_id}/application_credentials"
    return cloud.client.as_token(token).post(path, {"application_credential": {"name": "a", **body}})


def by_credential(credential: dict[str, Any], scope: Any = None, secret: str = "") -> dict[str, Any]:
    """A login with an application credential."""
    proof = {"id": credential["id"], "secret": secret or credential["secret"]}
    auth: dict[str, Any] = {"identity": {"methods": ["application_credential"], "application_credential": proof}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def token_of(cloud: Cloud, credential: dict[str, Any]) -> str:
    answer = cloud.client.post(TOKENS, by_credential(credential))
    assert answer.status == 201, answer.body
    return answer.headers["x-subject-token"]


def key_of(cloud: Cloud, token: str, user_id: str, project_id: str) -> Answer:
    """Ask for an access key."""
    path = f"{V3}/users/{user_id}/credentials/OS-EC2"
    return cloud.client.as_token(token).post(path, {"tenant_id": project_id})


def signed(key: dict[str, Any], cloud: Cloud, monkeypatch: pytest.MonkeyPatch, **change: Any) -> dict[str, Any]:
    """An EC2 request as a service describes it, signed by botocore."""
    now = datetime.fromtimestamp(cloud.clock.now_us() / 1e6 + change.pop("late_s", 0), UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now.replace(tzinfo=None))
    service, presign = change.pop("service", "ec2"), change.pop("presign", False)
    body = b"" if presign else b"Action=DescribeInstances"
    verb, url = ("GET", "http://cloud/ec2/?Action=DescribeInstances") if presign else ("POST", "http://cloud/ec2/")
    request = AWSRequest(verb, url, data=body)
    request.headers["host"] = "cloud"
    auth = (SigV4QueryAuth if presign else SigV4Auth)(Key(key["access"], key["secret"]), service, "RegionOne")
    auth.add_auth(request)
    params, headers = dict(parse_qsl(urlsplit(request.url).query)), dict(request.headers.items())
    described = {
        "access": key["access"],
        "signature": params.get("X-Amz-Signature") or headers["Authorization"].rpartition("Signature=")[2],
        "host": "cloud",
        "verb": verb,
        "path": "/ec2/",
        "params": params,
        "headers": headers,
        "body_hash": hashlib.sha256(body).hexdigest(),
    }
    return {"credentials": {**described, **change}}


@pytest.fixture
def service(cloud: Cloud) -> Client:
    """A client of a user with the role service, which may ask whose signature it was given."""
    admin = cloud.as_user("admin", "admin")
    user = admin.post(f"{V3}/users", {"user": {"name": "nova", "password": "nova-secret"}}).json["user"]["id"]
    role, project = cloud.known.role_ids["service"], cloud.known.admin_project_id
    admin.put(f"{V3}/projects/{project}/users/{user}/roles/{role}")
    answer = cloud.client.post(TOKENS, by_password("nova", "nova-secret", {"project": {"id": project}}))
    return cloud.client.as_token(answer.headers["x-subject-token"])


def demo_key(cloud: Cloud) -> dict[str, Any]:
    answer = key_of(cloud, cloud.token(), cloud.known.demo_user_id, cloud.known.demo_project_id)
    assert answer.status == 201, answer.body
    return answer.json["credential"]


def test_an_application_credential_gives_its_roles_for_its_project_until_it_expires(cloud: Cloud) -> None:
    end = iso_micros(cloud.clock.now_us() + 3_600_000_000)
    answer = made(cloud, cloud.token(), roles=[{"name": "reader"}], expires_at=end)
    assert answer.status == 201
    credential = answer.json["application_credential"]
    login = cloud.client.post(TOKENS, by_credential(credential))
    assert [role["name"] for role in login.json["token"]["roles"]] == ["reader"]
    assert login.json["token"]["expires_at"] == end
    assert login.json["token"]["application_credential"]["restricted"] is True
    cloud.clock.advance_s(3_601)
    assert show(cloud.client, login.headers["x-subject-token"]).status == 401
    assert cloud.client.post(TOKENS, by_credential(credential)).status == 401


def test_an_application_credential_can_be_named_by_its_user(cloud: Cloud) -> None:
    credential = made(cloud, cloud.token(), secret="my own").json["application_credential"]
    proof = {"name": "a", "secret": "my own", "user": {"name": "demo", "domain": {"id": "default"}}}
    identity = {"methods": ["application_credential"], "application_credential": proof}
    assert cloud.client.post(TOKENS, {"auth": {"identity": identity}}).status == 201
    assert cloud.client.post(TOKENS, by_credential(credential, secret="another")).status == 401
    assert made(cloud, cloud.token()).status == 409


def test_the_secret_is_in_one_answer_only(cloud: Cloud) -> None:
    credential = made(cloud, cloud.token()).json["application_credential"]
    path = f"{V3}/users/{cloud.known.demo_user_id}/application_credentials"
    for url in (path, f"{path}/{credential['id']}"):
        answer = cloud.as_user().get(url)
        assert answer.status == 200
        assert credential["secret"].encode() not in answer.body
        assert b"scrypt" not in answer.body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"roles": [{"name": "admin"}]}, 400),
        ({"roles": [{"name": "manager"}]}, 400),
        ({"roles": [{"id": "unknown"}]}, 400),
        ({"roles": "admin"}, 400),
        ({"expires_at": "2001-01-01T00:00:00"}, 400),
        ({"expires_at": "soon"}, 400),
        ({"access_rules": [{"path": "/", "method": "GET", "service": "compute"}]}, 501),
        ({"name": ""}, 400),
        ({"unrestricted": "yes"}, 400),
    ],
)
def test_an_application_credential_beyond_its_owner_is_refused(cloud: Cloud, body: Any, status: int) -> None:
    assert made(cloud, cloud.token(), **body).status == status


def test_user_and_project_in_the_body_are_not_looked_at(cloud: Cloud) -> None:
    foreign = {"user_id": cloud.known.admin_user_id, "project_id": cloud.known.admin_project_id}
    credential = made(cloud, cloud.token(), **foreign).json["application_credential"]
    assert credential["user_id"] == cloud.known.demo_user_id
    assert credential["project_id"] == cloud.known.demo_project_id
    body = {"tenant_id": cloud.known.demo_project_id, "user_id": cloud.known.admin_user_id}
    path = f"{V3}/users/{cloud.known.demo_user_id}/credentials/OS-EC2"
    assert cloud.as_user().post(path, body).json["credential"]["user_id"] == cloud.known.demo_user_id
    blob = {"type": "ec2", "blob": '{"access": "x", "secret": "y"}', **foreign}
    created = cloud.as_user().post(
        f"{V3}/credentials", {"credential": {**blob, "project_id": cloud.known.demo_project_id}}
    )
    assert created.json["credential"]["user_id"] == cloud.known.demo_user_id


def test_nobody_makes_an_application_credential_for_another(cloud: Cloud) -> None:
    assert made(cloud, cloud.token(), user="admin").status == 403
    assert made(cloud, cloud.token("admin", "admin"), user="demo").status == 403


Kind = Callable[[Cloud, Client, pytest.MonkeyPatch], str]


def restricted(cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """Token of a restricted application credential of the administrator, for one of its two projects."""
    return token_of(cloud, made(cloud, cloud.token("admin", "demo"), "admin").json["application_credential"])


def unrestricted(cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, unrestricted, with one role."""
    answer = made(cloud, cloud.token("admin", "demo"), "admin", unrestricted=True, roles=[{"name": "member"}])
    return token_of(cloud, answer.json["application_credential"])


def access_key(cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """Token of an access key of the administrator."""
    key = key_of(cloud, cloud.token("admin", "demo"), cloud.known.admin_user_id, cloud.known.demo_project_id)
    answer = service.post(f"{V3}/ec2tokens", signed(key.json["credential"], cloud, monkeypatch))
    assert answer.status == 200, answer.body
    return answer.headers["x-subject-token"]


def rescoped(kind: Kind) -> Kind:
    """The same after one more rescope, which must wash nothing off."""

    def make(cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch) -> str:
        return cloud.client.post(TOKENS, by_token(kind(cloud, service, monkeypatch))).headers["x-subject-token"]

    return make


KINDS: dict[str, Kind] = {
    "restricted": restricted,
    "restricted, rescoped": rescoped(restricted),
    "unrestricted": unrestricted,
    "unrestricted, rescoped": rescoped(unrestricted),
    "access key": access_key,
    "access key, rescoped": rescoped(access_key),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_delegated_token_leads_nowhere_else(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    token = KINDS[kind](cloud, service, monkeypatch)
    before = show(cloud.client, token).json["token"]
    for scope in (
        {"project": {"id": cloud.known.admin_project_id}},
        {"system": {"all": True}},
        {"domain": {"id": "default"}},
        "unscoped",
        {"unscoped": {}},
    ):
        assert cloud.client.post(TOKENS, by_token(token, scope)).status in (401, 403), scope
    for scope in (None, {"project": {"id": cloud.known.demo_project_id}}):
        after = cloud.client.post(TOKENS, by_token(token, scope)).json["token"]
        assert after["roles"] == before["roles"]
        assert after["project"] == before["project"]
        assert after["expires_at"] == before["expires_at"]
        assert after.get("application_credential") == before.get("application_credential")
    listed = cloud.client.as_token(token).get(f"{V3}/auth/projects").json["projects"]
    assert [project["name"] for project in listed] == ["demo"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_delegated_token_makes_nothing_stronger_than_itself(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    token = KINDS[kind](cloud, service, monkeypatch)
    admin, demo_project = cloud.known.admin_user_id, cloud.known.demo_project_id
    may = kind.startswith("unrestricted")
    child = made(cloud, token, "admin", name="child", unrestricted=True)
    key = key_of(cloud, token, admin, demo_project)
    assert (child.status, key.status) == ((201, 201) if may else (403, 403))
    assert made(cloud, token, "admin", name="more", roles=[{"name": "admin"}]).status in (400, 403)
    assert key_of(cloud, token, admin, cloud.known.admin_project_id).status == 403
    assert key_of(cloud, token, cloud.known.demo_user_id, demo_project).status == 403
    body = {"type": "ec2", "blob": '{"access": "x", "secret": "y"}', "project_id": cloud.known.admin_project_id}
    assert cloud.client.as_token(token).post(f"{V3}/credentials", {"credential": body}).status == 403
    if may:
        inner = cloud.client.post(TOKENS, by_credential(child.json["application_credential"])).json["token"]
        assert {role["name"] for role in inner["roles"]} == {"member", "reader"}
        answer = service.post(f"{V3}/ec2tokens", signed(key.json["credential"], cloud, monkeypatch))
        assert {role["name"] for role in answer.json["token"]["roles"]} == {"member", "reader"}


def test_what_was_made_through_a_credential_ends_with_it(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = made(cloud, cloud.token("admin", "demo"), "admin", unrestricted=True).json["application_credential"]
    outer = token_of(cloud, parent)
    child = made(cloud, outer, "admin", name="child").json["application_credential"]
    inner = token_of(cloud, child)
    key = key_of(cloud, outer, cloud.known.admin_user_id, cloud.known.demo_project_id).json["credential"]
    path = f"{V3}/users/{cloud.known.admin_user_id}/application_credentials/{parent['id']}"
    assert cloud.as_user("admin", "admin").delete(path).status == 204
    assert {show(cloud.client, token).status for token in (outer, inner)} == {401}
    assert {cloud.client.post(TOKENS, by_credential(c)).status for c in (parent, child)} == {401}
    assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 401


def test_a_child_does_not_outlive_its_parent(cloud: Cloud) -> None:
    end = iso_micros(cloud.clock.now_us() + 3_600_000_000)
    parent = made(cloud, cloud.token(), unrestricted=True, expires_at=end).json["application_credential"]
    child = made(cloud, token_of(cloud, parent), name="child").json["application_credential"]
    assert child["expires_at"] == parent["expires_at"]


def test_a_credential_shrinks_with_its_owner(cloud: Cloud) -> None:
    credential = made(cloud, cloud.token("admin", "demo"), "admin").json["application_credential"]
    admin = cloud.as_user("admin", "admin")
    grants = f"{V3}/projects/{cloud.known.demo_project_id}/users/{cloud.known.admin_user_id}/roles"
    admin.put(f"{grants}/{cloud.known.role_ids['reader']}")
    token = token_of(cloud, credential)
    admin.delete(f"{grants}/{cloud.known.role_ids['admin']}")
    assert show(cloud.client, token).status == 401
    roles = cloud.client.post(TOKENS, by_credential(credential)).json["token"]["roles"]
    assert [role["name"] for role in roles] == ["reader"]
    admin.delete(f"{grants}/{cloud.known.role_ids['reader']}")
    assert cloud.client.post(TOKENS, by_credential(credential)).status == 401


def test_credentials_of_a_disabled_user_or_project_are_refused(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = cloud.as_user("admin", "admin")
    credential = made(cloud, cloud.token()).json["application_credential"]
    key = demo_key(cloud)
    for path, kind in (
        (f"users/{cloud.known.demo_user_id}", "user"),
        (f"projects/{cloud.known.demo_project_id}", "project"),
    ):
        admin.patch(f"{V3}/{path}", {kind: {"enabled": False}})
        assert cloud.client.post(TOKENS, by_credential(credential)).status == 401
        assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 401
        read = cloud.services.store.read(lambda tx: cloud.services.authority.ec2_lookup(tx, key["access"]))
        assert read is None
        admin.patch(f"{V3}/{path}", {kind: {"enabled": True}})
        assert cloud.client.post(TOKENS, by_credential(credential)).status == 201
        assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 200


def test_a_key_is_seen_and_changed_by_its_owner_only_and_never_changes_hands(cloud: Cloud) -> None:
    admin, demo = cloud.as_user("admin", "admin"), cloud.as_user()
    theirs = key_of(cloud, cloud.token("admin", "admin"), cloud.known.admin_user_id, cloud.known.admin_project_id)
    access = theirs.json["credential"]["access"]
    identifier = hashlib.sha256(access.encode()).hexdigest()
    mine = demo_key(cloud)
    assert [c["id"] for c in demo.get(f"{V3}/credentials").json["credentials"]] == [
        hashlib.sha256(mine["access"].encode()).hexdigest()
    ]
    blob = {"credential": {"blob": '{"access": "x", "secret": "y"}'}}
    for method, body in (("GET", None), ("PATCH", blob), ("DELETE", None)):
        assert demo.request(method, f"{V3}/credentials/{identifier}", body).status == 404
        own = f"{V3}/users/{cloud.known.demo_user_id}/credentials/OS-EC2/{access}"
        assert demo.request(method, own).status in (404, 405)
        foreign = f"{V3}/users/{cloud.known.admin_user_id}/credentials/OS-EC2/{access}"
        assert demo.request(method, foreign).status in (403, 405)
    for change in ({"user_id": cloud.known.demo_user_id}, {"project_id": cloud.known.demo_project_id}):
        assert admin.patch(f"{V3}/credentials/{identifier}", {"credential": change}).status == 403
    shown = admin.get(f"{V3}/credentials/{identifier}").json["credential"]
    assert (shown["user_id"], shown["project_id"]) == (cloud.known.admin_user_id, cloud.known.admin_project_id)
    same = {"type": "ec2", "project_id": cloud.known.demo_project_id}
    taken = {**same, "blob": f'{{"access": "{access}", "secret": "mine"}}'}
    assert demo.post(f"{V3}/credentials", {"credential": taken}).status == 409


def test_a_secret_in_the_store_is_sealed(cloud: Cloud) -> None:
    key = demo_key(cloud)
    with cloud.services.store.connect_for_migration() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM ec2_credential").all()
    assert key["access"] in str(rows)
    assert key["secret"] not in str(rows)


def test_a_deleted_key_ends_the_tokens_it_gave(cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key = demo_key(cloud)
    answer = service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch))
    token = answer.headers["x-subject-token"]
    assert show(cloud.client, token).status == 200
    path = f"{V3}/users/{cloud.known.demo_user_id}/credentials/OS-EC2/{key['access']}"
    assert cloud.as_user().delete(path).status == 204
    assert show(cloud.client, token).status == 401
    assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 401


@pytest.mark.parametrize("presign", [False, True])
def test_a_signature_gives_a_token_for_the_keys_project(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch, presign: bool
) -> None:
    answer = service.post(f"{V3}/ec2tokens", signed(demo_key(cloud), cloud, monkeypatch, presign=presign))
    assert answer.status == 200
    assert answer.json["token"]["project"]["id"] == cloud.known.demo_project_id
    assert answer.json["token"]["methods"] == ["ec2credential"]


TAMPERED: dict[str, dict[str, Any]] = {
    "another body": {"body_hash": hashlib.sha256(b"Action=TerminateInstances").hexdigest()},
    "another path": {"path": "/"},
    "another verb": {"verb": "GET"},
    "another host": {"host": "elsewhere"},
    "another parameter": {"params": {"Action": "TerminateInstances"}},
    "another signature": {"signature": "0" * 64},
    "no headers": {"headers": {}},
    "an unknown key": {"access": "0" * 32},
    "stale": {"late_s": -15 * 60 - 1},
    "from the future": {"late_s": 15 * 60 + 1},
    "signed for an object store": {"service": "s3"},
    "presigned and stale": {"presign": True, "late_s": -15 * 60 - 1},
    "presigned for an object store": {"presign": True, "service": "s3"},
}


@pytest.mark.parametrize("vector", TAMPERED)
def test_a_signature_that_is_not_for_this_request_is_refused(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch, vector: str
) -> None:
    answer = service.post(f"{V3}/ec2tokens", signed(demo_key(cloud), cloud, monkeypatch, **TAMPERED[vector]))
    assert answer.status == 401
    assert answer.json["error"]["message"] == "The request you have made requires authentication."


@pytest.mark.parametrize("header", ["X-Amz-Date", "host", "Authorization"])
def test_a_signed_header_that_is_missing_or_changed_is_refused(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    key = demo_key(cloud)
    for change in (lambda h: h.pop(header), lambda h: h.update({header: "20270115T080001Z"})):
        body = signed(key, cloud, monkeypatch)
        change(body["credentials"]["headers"])
        if header == "host":
            body["credentials"]["host"] = body["credentials"]["headers"].get("host", "")
        assert service.post(f"{V3}/ec2tokens", body).status == 401


def test_a_host_that_is_not_signed_is_refused(cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key, signs = demo_key(cloud), SigV4Auth.headers_to_sign

    def without_host(self: SigV4Auth, request: AWSRequest) -> Any:
        chosen = signs(self, request)
        del chosen["host"]
        return chosen

    assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 200
    monkeypatch.setattr(SigV4Auth, "headers_to_sign", without_host)
    assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 401


def test_only_services_may_turn_a_signature_into_a_token(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for presign in (False, True):
        body = signed(demo_key(cloud), cloud, monkeypatch, presign=presign)
        assert cloud.client.post(f"{V3}/ec2tokens", body).status == 401
        assert cloud.as_user().post(f"{V3}/ec2tokens", body).status == 403


def test_a_changed_password_leaves_the_access_key_and_ends_its_tokens(
    cloud: Cloud, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = demo_key(cloud)
    token = service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).headers["x-subject-token"]
    path = f"{V3}/users/{cloud.known.demo_user_id}/password"
    body = {"user": {"original_password": PASSWORDS["demo"], "password": "new"}}
    assert cloud.as_user().post(path, body).status == 204
    assert show(cloud.client, token).status == 401
    assert service.post(f"{V3}/ec2tokens", signed(key, cloud, monkeypatch)).status == 200
