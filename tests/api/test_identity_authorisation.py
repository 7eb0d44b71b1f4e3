"""Every route of the identity service: who may use it. Generated from the route table, so none is forgotten."""

from __future__ import annotations

import re
import time

import pytest

from holdfast.api.http.routes import ANY_TOKEN, PUBLIC, Route
from holdfast.api.identity.routes import FACADE, RULES
from holdfast.base.limits import PASSWORD_CACHE_S
from holdfast.control.operations.identity.passwords import Passwords, password_hash
from tests.api.rows import everything
from tests.api.test_identity_tokens import TOKENS, V3, by_password
from tests.conftest import Cloud, HeldClock

PUBLIC_ROUTES = {("GET", "/"), ("GET", "/v3"), ("POST", "/v3/auth/tokens")}
PROTECTED = [route for route in FACADE.routes if route.rule != PUBLIC]
READ_BY_ANYBODY = {  # any token reads these; they are the same for everybody, or are filtered by owner
    "/v3/auth/catalog",
    "/v3/auth/projects",
    "/v3/auth/domains",
    "/v3/auth/system",
    "/v3/roles",
    "/v3/roles/{role_id}",
    "/v3/credentials",
    *(f"/v3/{name}" for name in ("regions", "services", "endpoints")),
}


def url_of(cloud: Cloud, route: Route) -> str:
    """The route with another user's, another project's ids in its path."""
    known = {
        "target_id": "default" if "/domains/" in route.path else cloud.known.admin_project_id,
        "subject_id": cloud.known.admin_user_id,
        "on_project": cloud.known.admin_project_id,
        "on_domain": "default",
        "for_user": cloud.known.admin_user_id,
        "role_id": cloud.known.role_ids["admin"],
    }
    return "/identity" + re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], "unknown"), route.path)


def test_only_the_known_routes_need_no_token() -> None:
    assert {(r.method, r.path) for r in FACADE.routes if r.rule == PUBLIC} == PUBLIC_ROUTES


def test_every_rule_is_written() -> None:
    assert {r.rule for r in FACADE.routes} - {PUBLIC, ANY_TOKEN} <= RULES.keys()


def test_without_a_token_every_route_is_closed(cloud: Cloud) -> None:
    before = everything(cloud)
    for route in PROTECTED:
        for client in (cloud.client, cloud.client.as_token("nonsense")):
            answer = client.request(route.method, url_of(cloud, route), {})
            assert answer.status == 401, (route.method, route.path)
            assert answer.json["error"]["code"] == 401
    assert everything(cloud) == before


def test_what_is_anothers_is_closed_to_a_member_and_nothing_changes(cloud: Cloud) -> None:
    demo, before = cloud.as_user(), everything(cloud)
    for route in PROTECTED:
        if route.method == "GET" and route.path in READ_BY_ANYBODY:
            continue
        if route.path == "/v3/domains/{target_id}" and route.method == "GET":
            continue  # one's own domain
        answer = demo.request(route.method, url_of(cloud, route), {"credential": {}})
        allowed = (400, 501) if (route.method, route.path) == ("POST", "/v3/credentials") else (403, 404)
        assert answer.status in allowed, (route.method, route.path, answer.status)
    assert everything(cloud) == before


def test_an_unscoped_token_may_do_no_more_than_its_scoped_sister(cloud: Cloud) -> None:
    unscoped = cloud.client.post(TOKENS, by_password("admin", scope="unscoped")).headers["x-subject-token"]
    client, before = cloud.client.as_token(unscoped), everything(cloud)
    for route in PROTECTED:
        if route.rule == ANY_TOKEN or "%(subject_id)" in RULES[route.rule]:
            continue
        assert client.request(route.method, url_of(cloud, route), {}).status in (403, 404), route.path
    assert everything(cloud) == before


def test_a_system_reader_reads_and_changes_nothing(cloud: Cloud) -> None:
    admin = cloud.as_user("admin", "admin")
    role = cloud.known.role_ids["reader"]
    admin.put(f"{V3}/system/users/{cloud.known.demo_user_id}/roles/{role}")
    answer = cloud.client.post(TOKENS, by_password(scope={"system": {"all": True}}))
    reader, before = cloud.client.as_token(answer.headers["x-subject-token"]), everything(cloud)
    for name in ("users", "projects", "domains", "groups", "role_assignments", "roles"):
        assert reader.get(f"{V3}/{name}").status == 200
    for route in PROTECTED:
        if route.method != "GET" and route.rule != ANY_TOKEN:
            assert reader.request(route.method, url_of(cloud, route), {}).status == 403, route.path
    assert everything(cloud) == before


# passwords: nobody learns who exists


def test_a_refused_login_says_the_same_whoever_is_meant(cloud: Cloud) -> None:
    admin = cloud.as_user("admin", "admin")
    admin.post(f"{V3}/users", {"user": {"name": "locked", "password": "secret", "enabled": False}})
    admin.post(f"{V3}/users", {"user": {"name": "without"}})
    answers = [
        cloud.client.post(TOKENS, by_password(user, "wrong")) for user in ("demo", "nobody", "locked", "without")
    ]
    answers.append(cloud.client.post(TOKENS, by_password("locked", "secret")))
    answers.append(cloud.client.post(TOKENS, by_password("demo", scope={"project": {"id": "unknown"}})))
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers)) for answer in answers}) == 1


def test_a_refused_login_takes_as_long_whoever_is_meant(product_cost: object, cloud: Cloud) -> None:
    """Two-sample Kolmogorov-Smirnov over interleaved logins; the processor's time, so that neighbours do not count."""
    admin = cloud.as_user("admin", "admin")
    admin.post(f"{V3}/users", {"user": {"name": "locked", "password": "secret", "enabled": False}})
    admin.post(f"{V3}/users", {"user": {"name": "without"}})
    admin.post(f"{V3}/users", {"user": {"name": "right", "password": "secret"}})
    users, rounds = ("right", "nobody", "locked", "without"), 14
    taken: dict[str, list[float]] = {user: [] for user in users}
    for turn in range(rounds * len(users)):
        user = users[(turn + turn // len(users)) % len(users)]
        start = time.process_time()
        assert cloud.client.post(TOKENS, by_password(user, "wrong")).status == 401
        taken[user].append(time.process_time() - start)
    median = {user: sorted(times)[rounds // 2] for user, times in taken.items()}
    for user in users[1:]:
        assert ks_distance(taken["right"], taken[user]) < 0.9, median  # chance gives 0.74 once in a thousand
        assert abs(median[user] / median["right"] - 1) < 0.25, median


def ks_distance(left: list[float], right: list[float]) -> float:
    """The greatest distance between two empirical distributions."""
    points = sorted(left + right)
    return max(abs(sum(x <= p for x in left) / len(left) - sum(x <= p for x in right) / len(right)) for p in points)


def test_a_remembered_password_is_bound_to_what_is_stored(clock: HeldClock) -> None:
    passwords, stored = Passwords(clock), password_hash("secret")
    assert not passwords.known(stored, "secret")
    assert passwords.verify(stored, "secret")
    assert passwords.known(stored, "secret")
    assert not passwords.known(stored, "other")
    assert not passwords.known(password_hash("secret"), "secret")
    assert not Passwords(clock).known(stored, "secret")
    clock.advance_s(PASSWORD_CACHE_S)
    assert not passwords.known(stored, "secret")


@pytest.mark.parametrize("password", ["", "x" * 5_000, "é" * 4_000, "\0", "\ud800"])
def test_odd_passwords_fit_nothing(clock: HeldClock, password: str) -> None:
    passwords = Passwords(clock)
    assert not passwords.verify(password_hash("secret"), password)
    assert not passwords.verify("", password)
    assert not passwords.known("", password)


def test_what_is_stored_costs_what_owasp_asks(product_cost: tuple[int, int, int]) -> None:
    n, r, p = map(int, password_hash("secret").split("$")[1:4])
    assert (n, r, p) == product_cost
    assert 128 * n * r >= 16 << 20 and p >= 5


def test_a_remembered_login_costs_no_hash(product_cost: object, cloud: Cloud) -> None:
    cloud.as_user("admin", "admin").post(f"{V3}/users", {"user": {"name": "right", "password": "secret"}})
    login = by_password("right", "secret", scope="unscoped")
    assert cloud.client.post(TOKENS, login).status == 201
    start = time.process_time()
    for _ in range(20):
        assert cloud.client.post(TOKENS, login).status == 201
    assert time.process_time() - start < 20 * 0.02  # one hash is 0.1 s
