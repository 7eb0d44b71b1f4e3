"""Tokens over HTTP: what a login gives, what it is worth, and when it is worth nothing any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holdfast.base.limits import TOKEN_CACHE_S, TOKEN_LIFETIME_S
from holdfast.base.log import sink
from holdfast.control.store.database import Database
from holdfast.daemon.composition import make_application, make_services
from tests.client import Answer, Client
from tests.conftest import PASSWORDS, Cloud

V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"


def by_password(user: str = "demo", password: str = "", scope: Any = None) -> dict[str, Any]:
    """A login body with name, default domain and password."""
    named = {"name": user, "domain": {"name": "Default"}, "password": password or PASSWORDS.get(user, "")}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": named}}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def by_token(token: str, scope: Any = None) -> dict[str, Any]:
    """A rescope body."""
    auth: dict[str, Any] = {"identity": {"methods": ["token"], "token": {"id": token}}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def show(client: Client, token: str) -> Answer:
    """Validate a token with itself."""
    return client.as_token(token).get(TOKENS, headers={"x-subject-token": token})


def break_users(cloud: Cloud) -> None:
    """The store fails every question about users."""
    with cloud.services.store.connect_for_migration() as connection:
        connection.exec_driver_sql("ALTER TABLE identity_user RENAME TO gone")
        connection.commit()


@pytest.fixture
def replica(cloud: Cloud) -> Iterator[Callable[[], Client]]:
    """Makes further replicas over the same store and keys, each with caches of its own."""
    opened: list[Database] = []

    def make() -> Client:
        opened.append(Database(cloud.services.settings.store_url, cloud.clock.now_us))
        return Client(make_application(make_services(cloud.services.settings, opened[-1], cloud.clock)))

    yield make
    for database in opened:
        database.close()


def test_a_password_gives_a_token_for_a_project_with_roles_and_catalog(cloud: Cloud) -> None:
    scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
    answer = cloud.client.post(TOKENS, by_password(scope=scope))
    assert answer.status == 201
    token = answer.json["token"]
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert token["project"]["id"] == cloud.known.demo_project_id
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    identity = next(entry for entry in token["catalog"] if entry["type"] == "identity")
    assert {end["interface"] for end in identity["endpoints"]} == {"public", "internal", "admin"}

    shown = show(cloud.client, answer.headers["x-subject-token"])
    assert shown.status == 200
    assert shown.json == answer.json


def test_without_a_scope_the_default_project_is_used_and_unscoped_can_be_asked_for(cloud: Cloud) -> None:
    assert cloud.client.post(TOKENS, by_password()).json["token"]["project"]["id"] == cloud.known.demo_project_id
    unscoped = cloud.client.post(TOKENS, by_password(scope="unscoped")).json["token"]
    assert not {"project", "roles", "catalog"} & unscoped.keys()


def test_a_user_may_only_enter_where_it_has_a_role(cloud: Cloud) -> None:
    for scope in (
        {"project": {"id": cloud.known.admin_project_id}},
        {"project": {"id": "00000000-0000-0000-0000-000000000000"}},
        {"domain": {"id": "default"}},
        {"project": {"id": "default"}},
        {"system": {"all": True}},
    ):
        refused = cloud.client.post(TOKENS, by_password(scope=scope))
        assert (refused.status, refused.json["error"]["title"]) == (401, "Unauthorized"), scope
    system = cloud.client.post(TOKENS, by_password("admin", scope={"system": {"all": True}}))
    assert system.json["token"]["system"] == {"all": True}


def test_the_catalog_can_be_left_out_and_asked_for(cloud: Cloud) -> None:
    answer = cloud.client.post(f"{TOKENS}?nocatalog", by_password())
    assert "catalog" not in answer.json["token"]
    catalog = cloud.client.as_token(answer.headers["x-subject-token"]).get(f"{V3}/auth/catalog")
    assert "identity" in [entry["type"] for entry in catalog.json["catalog"]]


def test_what_a_token_could_be_scoped_to_is_listed(cloud: Cloud) -> None:
    admin = cloud.as_user("admin", "admin")
    assert {p["name"] for p in admin.get(f"{V3}/auth/projects").json["projects"]} == {"admin", "demo"}
    assert admin.get(f"{V3}/auth/system").json["system"] == [{"all": True}]
    demo = cloud.as_user()
    assert [p["name"] for p in demo.get(f"{V3}/auth/projects").json["projects"]] == ["demo"]
    assert demo.get(f"{V3}/auth/domains").json["domains"] == []
    assert demo.get(f"{V3}/auth/system").json["system"] == []


def test_fifty_rescopes_move_no_expiry_and_the_first_one_ends_them_all(cloud: Cloud) -> None:
    first = cloud.client.post(TOKENS, by_password(scope="unscoped"))
    chain = [first.headers["x-subject-token"]]
    for step in range(50):
        cloud.clock.advance_s(60)
        scope = {"project": {"id": cloud.known.demo_project_id}} if step % 2 else "unscoped"
        answer = cloud.client.post(TOKENS, by_token(chain[-1], scope))
        assert answer.json["token"]["expires_at"] == first.json["token"]["expires_at"]
        assert answer.json["token"]["audit_ids"][-1] == first.json["token"]["audit_ids"][0]
        assert set(answer.json["token"]["methods"]) == {"password", "token"}
        chain.append(answer.headers["x-subject-token"])

    ended = cloud.client.as_token(chain[30]).delete(TOKENS, headers={"x-subject-token": chain[30]})
    assert ended.status == 204
    assert [show(cloud.client, token).status for token in chain] == [200] * 30 + [401] * 21
    cloud.client.as_token(chain[0]).delete(TOKENS, headers={"x-subject-token": chain[0]})
    assert {show(cloud.client, token).status for token in chain} == {401}


def test_a_chain_of_tokens_has_an_end(cloud: Cloud) -> None:
    token, status = cloud.token(), 201
    for _ in range(100):
        answer = cloud.client.post(TOKENS, by_token(token))
        status = answer.status
        if status != 201:
            break
        token = answer.headers["x-subject-token"]
        assert len(token) < 2_048
    assert status == 401


def test_a_token_ends_when_it_expires_also_while_it_is_remembered(cloud: Cloud) -> None:
    token = cloud.token()
    cloud.clock.advance_s(TOKEN_LIFETIME_S - 0.5)
    assert show(cloud.client, token).status == 200
    cloud.clock.advance_s(0.5)
    assert show(cloud.client, token).status == 401


def test_a_token_that_was_changed_is_none(cloud: Cloud) -> None:
    token = cloud.token()
    for bad in (token[:-2], token[:40] + ("A" if token[40] != "A" else "B") + token[41:], "x", "é", token * 20):
        assert cloud.client.as_token(bad.encode("utf-8").decode("latin-1")).get(f"{V3}/auth/projects").status == 401


def admin_call(method: str, path: str, body: Any = None) -> Callable[[Cloud, Client], None]:
    """An act of the administrator; `{user}` and the like in the path are the first user's ids."""

    def act(cloud: Cloud, admin: Client) -> None:
        words = {
            "user": cloud.known.demo_user_id,
            "project": cloud.known.demo_project_id,
            "member": cloud.known.role_ids["member"],
        }
        answer = admin.request(method, V3 + path.format(**words), body)
        assert answer.status in (200, 201, 204), answer.body

    return act


GRANT = "/projects/{project}/users/{user}/roles/{member}"
LOSSES: dict[str, tuple[Callable[[Cloud, Client], None], Callable[[Cloud, Client], None] | None]] = {
    "role taken": (admin_call("DELETE", GRANT), admin_call("PUT", GRANT)),
    "user disabled": (
        admin_call("PATCH", "/users/{user}", {"user": {"enabled": False}}),
        admin_call("PATCH", "/users/{user}", {"user": {"enabled": True}}),
    ),
    "project disabled": (
        admin_call("PATCH", "/projects/{project}", {"project": {"enabled": False}}),
        admin_call("PATCH", "/projects/{project}", {"project": {"enabled": True}}),
    ),
    "password set": (
        admin_call("PATCH", "/users/{user}", {"user": {"password": "another"}}),
        admin_call("PATCH", "/users/{user}", {"user": {"password": PASSWORDS["demo"]}}),
    ),
    "password changed by its owner": (
        admin_call(
            "POST",
            "/users/{user}/password",
            {"user": {"original_password": PASSWORDS["demo"], "password": "another"}},
        ),
        None,
    ),
    "project deleted": (admin_call("DELETE", "/projects/{project}"), None),
    "user deleted": (admin_call("DELETE", "/users/{user}"), None),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_who_loses_something_loses_every_token_on_every_replica_for_good(
    cloud: Cloud, replica: Callable[[], Client], loss: str
) -> None:
    lose, give_back = LOSSES[loss]
    other = replica()
    tokens = [cloud.token(), cloud.token()]
    tokens.append(cloud.client.post(TOKENS, by_token(tokens[0])).headers["x-subject-token"])
    for client in (cloud.client, other):
        assert {show(client, token).status for token in tokens} == {200}  # and remembered
    admin = cloud.as_user("admin", "admin")

    lose(cloud, admin)

    assert {show(cloud.client, token).status for token in tokens} == {401}
    assert {cloud.client.post(TOKENS, by_token(token)).status for token in tokens} == {404}
    cloud.clock.advance_s(TOKEN_CACHE_S)
    assert {show(other, token).status for token in tokens} == {401}
    assert {show(replica(), token).status for token in tokens} == {401}
    if give_back is not None:
        give_back(cloud, admin)
        assert {show(replica(), token).status for token in tokens} == {401}
        assert show(cloud.client, cloud.token()).status == 200


def test_a_domain_that_is_disabled_or_deleted_takes_its_tokens_along(cloud: Cloud) -> None:
    admin = cloud.as_user("admin", "admin")
    domain = admin.post(f"{V3}/domains", {"domain": {"name": "d"}}).json["domain"]["id"]
    project = admin.post(f"{V3}/projects", {"project": {"name": "p", "domain_id": domain}}).json["project"]["id"]
    body = {"user": {"name": "u", "domain_id": domain, "password": "secret"}}
    user = admin.post(f"{V3}/users", body).json["user"]["id"]
    role = cloud.known.role_ids["member"]
    assert admin.put(f"{V3}/projects/{project}/users/{user}/roles/{role}").status == 204
    login = by_password("u", "secret", {"project": {"id": project}})
    login["auth"]["identity"]["password"]["user"]["domain"] = {"id": domain}
    token = cloud.client.post(TOKENS, login).headers["x-subject-token"]
    assert show(cloud.client, token).status == 200

    assert admin.delete(f"{V3}/domains/{domain}").status == 403
    admin.patch(f"{V3}/domains/{domain}", {"domain": {"enabled": False}})
    assert show(cloud.client, token).status == 401
    assert cloud.client.post(TOKENS, login).status == 401
    admin.patch(f"{V3}/domains/{domain}", {"domain": {"enabled": True}})
    assert show(cloud.client, token).status == 401
    assert cloud.client.post(TOKENS, login).status == 201
    admin.patch(f"{V3}/domains/{domain}", {"domain": {"enabled": False}})
    assert admin.delete(f"{V3}/domains/{domain}").status == 204
    for path in (f"projects/{project}", f"users/{user}", f"domains/{domain}"):
        assert admin.get(f"{V3}/{path}").status == 404


def test_leaving_a_group_ends_what_the_group_gave(cloud: Cloud) -> None:
    admin = cloud.as_user("admin", "admin")
    user, project = cloud.known.demo_user_id, cloud.known.admin_project_id
    group = admin.post(f"{V3}/groups", {"group": {"name": "g"}}).json["group"]["id"]
    admin.put(f"{V3}/projects/{project}/groups/{group}/roles/{cloud.known.role_ids['reader']}")
    admin.put(f"{V3}/groups/{group}/users/{user}")
    scope, old = {"project": {"id": project}}, ""
    for end in (f"{V3}/groups/{group}/users/{user}", f"{V3}/groups/{group}"):
        admin.put(f"{V3}/groups/{group}/users/{user}")
        assert not old or show(cloud.client, old).status == 401
        answer = cloud.client.post(TOKENS, by_password(scope=scope))
        assert [role["name"] for role in answer.json["token"]["roles"]] == ["reader"]
        assert admin.delete(end).status == 204
        old = answer.headers["x-subject-token"]
        assert show(cloud.client, old).status == 401
        assert cloud.client.post(TOKENS, by_password(scope=scope)).status == 401


def test_an_inherited_role_holds_below_and_its_loss_ends_tokens_there(cloud: Cloud) -> None:
    admin = cloud.as_user("admin", "admin")
    user, role = cloud.known.demo_user_id, cloud.known.role_ids["manager"]
    upper = admin.post(f"{V3}/projects", {"project": {"name": "upper"}}).json["project"]["id"]
    body = {"project": {"name": "lower", "parent_id": upper}}
    lower = admin.post(f"{V3}/projects", body).json["project"]["id"]
    grant = f"{V3}/OS-INHERIT/domains/default/users/{user}/roles/{role}/inherited_to_projects"
    scope = {"project": {"id": lower}}
    assert cloud.client.post(TOKENS, by_password(scope=scope)).status == 401
    assert admin.put(grant).status == 204
    answer = cloud.client.post(TOKENS, by_password(scope=scope))
    assert {r["name"] for r in answer.json["token"]["roles"]} == {"manager", "member", "reader"}
    assert cloud.client.post(TOKENS, by_password(scope={"domain": {"id": "default"}})).status == 401
    token = answer.headers["x-subject-token"]
    names = {p["name"] for p in cloud.client.as_token(token).get(f"{V3}/auth/projects").json["projects"]}
    assert names == {"admin", "demo", "lower", "upper"}
    assert admin.delete(grant).status == 204
    assert show(cloud.client, token).status == 401


def test_another_users_token_is_shown_to_administrators_only(cloud: Cloud) -> None:
    admin, demo = cloud.as_user("admin", "admin"), cloud.as_user()
    theirs, mine = cloud.token("admin", "admin"), cloud.token()
    assert demo.get(TOKENS, headers={"x-subject-token": theirs}).status == 403
    assert demo.delete(TOKENS, headers={"x-subject-token": theirs}).status == 403
    assert admin.get(TOKENS, headers={"x-subject-token": mine}).status == 200
    assert admin.get(TOKENS, headers={"x-subject-token": "nonsense"}).status == 404
    assert admin.request("HEAD", TOKENS, headers={"x-subject-token": mine}).body == b""


FORGED = {
    "x-user-id": "{admin}",
    "x-user-name": "admin",
    "x-roles": "admin",
    "x-role": "admin",
    "x-is-admin-project": "true",
    "x-project-id": "{admin}",
    "x-tenant-id": "{admin}",
    "x-identity-status": "Confirmed",
    "x-service-token": "anything",
    "x-forwarded-for": "127.0.0.1",
    "x-system-scope": "all",
    "openstack-system-scope": "all",
}


def test_headers_that_claim_an_identity_are_not_looked_at(cloud: Cloud) -> None:
    forged = {name: value.format(admin=cloud.known.admin_user_id) for name, value in FORGED.items()}
    demo = cloud.as_user()
    for path, honest in (
        (f"{V3}/users", 403),
        (f"{V3}/domains", 403),
        (f"{V3}/users/{cloud.known.admin_user_id}", 403),
    ):
        assert demo.get(path, headers=forged).status == honest
        assert cloud.client.get(path, headers=forged).status == 401
    assert demo.get(f"{V3}/auth/projects", headers=forged).json == demo.get(f"{V3}/auth/projects").json


def test_discovery_needs_neither_token_nor_store(cloud: Cloud) -> None:
    break_users(cloud)
    assert cloud.client.get("/identity").status == 300
    assert [v["id"] for v in cloud.client.get("/identity/").json["versions"]["values"]] == ["v3.14"]
    for path in ("/identity/v3", "/identity/v3/"):
        assert cloud.client.get(path).json["version"]["status"] == "stable"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"auth": {}},
        {"auth": {"identity": {"methods": []}}},
        {"auth": {"identity": {"methods": ["password"]}}},
        {"auth": {"identity": {"methods": ["totp"], "totp": {}}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "demo", "password": "x"}}}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": 7, "password": "x"}}}}},
        [],
    ],
)
def test_what_is_no_login_is_refused_as_such(cloud: Cloud, body: Any) -> None:
    assert cloud.client.post(TOKENS, body).status in (400, 401)
    assert "x-subject-token" not in cloud.client.post(TOKENS, body).headers


def test_secrets_reach_neither_the_log_nor_a_refusal(cloud: Cloud, tmp_path: Any) -> None:
    canary = "canary-5d8f1c"
    path, before = tmp_path / "log", (sink._fd, sink._path)
    sink.open_file(path, "test")
    try:
        answers = [cloud.client.post(TOKENS, by_password(password=canary))]
        answers.append(cloud.client.post(TOKENS, by_token(canary)))
        answers.append(cloud.client.as_token(canary).get(f"{V3}/users"))
        admin = cloud.as_user("admin", "admin")
        bad = ({"name": "u", "password": canary, "enabled": "no"}, {"name": "\0", "password": canary})
        answers += [admin.post(f"{V3}/users", {"user": body}) for body in bad]
        made = admin.post(f"{V3}/users", {"user": {"name": "u", "password": canary}})
        answers += [made, admin.get(f"{V3}/users"), admin.get(f"{V3}/users/{made.json['user']['id']}")]
        break_users(cloud)
        answers.append(cloud.client.post(TOKENS, by_password(canary, password=canary)))
        assert answers[-1].status == 503
    finally:
        sink._fd, sink._path = before
    assert all(canary.encode() not in answer.body for answer in answers)
    assert all(b"scrypt" not in answer.body for answer in answers)
    assert canary not in path.read_text()
    assert PASSWORDS["admin"] not in path.read_text()
