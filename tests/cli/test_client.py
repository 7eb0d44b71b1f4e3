"""The HTTP client: bounds, failures by kind, one login, nothing sent twice."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.base import errors
from holdfast.base.limits import LIST_PAGES
from holdfast.client import cloud as clouds
from holdfast.client import connection
from holdfast.client.cloud import Cloud
from holdfast.client.connection import Http, Unreachable
from holdfast.client.credentials import Credentials
from tests.cli.loopback import Asked, Loopback, serving

TOKEN = {
    "token": {
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "user": {"id": "u1"},
        "project": {"id": "p1"},
        "catalog": [],
    }
}


class Service:
    """An identity service that gives t1, t2, ..., and a compute service that says what a test wants."""

    def __init__(self) -> None:
        self.logins = 0
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.accepted = {"t1", "t2"}
        self.loopback: Loopback | None = None

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], Any] | None:
        assert self.loopback is not None
        if asked.path.endswith("/auth/tokens"):
            self.logins += 1
            endpoint = {"interface": "public", "region_id": "RegionOne", "url": f"{self.loopback.url}/compute/v2.1"}
            token = {**TOKEN["token"], "catalog": [{"type": "compute", "endpoints": [endpoint]}]}
            return 201, {"X-Subject-Token": f"t{self.logins}"}, {"token": token}
        if asked.headers.get("x-auth-token") not in self.accepted:
            return 401, {}, {"error": {"code": 401, "message": "no"}}
        return self.answers.pop(0)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with serving(made) as loopback:
        made.loopback = loopback
        yield made


@pytest.fixture
def cloud(service: Service) -> Cloud:
    assert service.loopback is not None
    return Cloud(Http(), Credentials(f"{service.loopback.url}/identity/v3", "demo", "secret", "demo"))


def test_nothing_listening_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="does not answer"):
            Http().request("GET", f"http://127.0.0.1:{held.getsockname()[1]}/")


def test_an_answer_that_breaks_off_is_not_asked_for_again() -> None:
    with serving(lambda asked: None) as loopback:
        with pytest.raises(errors.Unavailable, match="broke off POST /x") as caught:
            Http().request("POST", f"{loopback.url}/x", b"1")
        assert not isinstance(caught.value, Unreachable)
        assert len(loopback.asked) == 1


def test_after_a_broken_answer_the_next_call_has_a_new_connection() -> None:
    answers = iter([None, (200, {}, {"ok": True})])
    with serving(lambda asked: next(answers)) as loopback:
        http = Http()
        with pytest.raises(errors.Unavailable):
            http.request("GET", loopback.url)
        assert http.request("GET", loopback.url).json() == {"ok": True}


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_BYTES", 100)
    with serving(lambda asked: (200, {}, b"x" * 101)) as loopback, pytest.raises(errors.Unavailable, match="larger"):
        Http().request("GET", loopback.url)


def test_a_silent_server_is_given_up() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(errors.Unavailable, match="timed out"):
            Http(timeout_s=0.1).request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/passwd", "http:///x", "nonsense", "http://x:y/"])
def test_what_is_no_address_is_bad_input(url: str) -> None:
    with pytest.raises((errors.BadInput, ValueError)):
        Http().request("GET", url)


def test_an_html_page_is_not_taken_for_a_cloud() -> None:
    with serving(lambda asked: (200, {}, b"<html>")) as loopback, pytest.raises(errors.Unavailable, match="not JSON"):
        Http().request("GET", loopback.url).json()


FAULTS: list[tuple[int, Any, type[errors.HoldfastError], str]] = [
    (404, {"itemNotFound": {"code": 404, "message": "Instance x could not be found."}}, errors.NotFound, "Instance x"),
    (409, {"conflictingRequest": {"code": 409, "message": "busy"}}, errors.Conflict, "busy"),
    (409, {"NeutronError": {"type": "T", "message": "in use", "detail": ""}}, errors.Conflict, "in use"),
    (400, {"message": "bad", "code": "400 Bad Request", "title": "Bad Request"}, errors.BadInput, "bad"),
    (404, {"errors": [{"status": 404, "detail": "none known"}]}, errors.NotFound, "none known"),
    (403, {"error": {"code": 403, "title": "Forbidden", "message": "policy"}}, errors.Forbidden, "policy"),
    (413, b"", errors.TooLarge, "413"),
    (503, b"<html>", errors.Unavailable, "503"),
    (500, {"computeFault": {"code": 500, "message": "oops"}}, errors.HoldfastError, "oops"),
    (300, [], errors.HoldfastError, "300"),
    (418, {"x": []}, errors.HoldfastError, "418"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), FAULTS)
def test_a_fault_of_any_service_is_the_error_of_ours_with_its_words(
    service: Service, cloud: Cloud, status: int, body: Any, kind: type[errors.HoldfastError], words: str
) -> None:
    service.answers = [(status, {}, body)]
    with pytest.raises(kind, match=words):
        cloud.get("compute", "/servers/x")


def test_a_token_that_is_no_longer_accepted_is_replaced_once(service: Service, cloud: Cloud) -> None:
    service.accepted = {"t2"}
    service.answers = [(200, {}, {"servers": []})]
    assert list(cloud.pages("compute", "/servers/detail", "servers")) == []
    assert service.logins == 2


def test_a_second_refusal_is_told(service: Service, cloud: Cloud) -> None:
    service.accepted = set()
    with pytest.raises(errors.Unauthenticated):
        cloud.get("compute", "/servers")
    assert service.logins == 2


def test_a_wrong_password_names_the_user_and_not_the_password() -> None:
    with serving(lambda asked: (401, {}, {"error": {"message": "no"}})) as loopback:
        cloud = Cloud(Http(), Credentials(loopback.url, "demo", "hunter2", "demo"))
        with pytest.raises(errors.Unauthenticated, match="user 'demo'") as caught:
            cloud.get("compute", "/servers")
        assert "hunter2" not in caught.value.message + caught.value.detail


def test_a_service_that_the_catalogue_does_not_have_is_named(cloud: Cloud) -> None:
    with pytest.raises(errors.NotSupported, match="'image'"):
        cloud.get("image", "/images")


def test_pages_are_followed_to_the_last(service: Service, cloud: Cloud) -> None:
    assert service.loopback is not None
    link = [{"rel": "next", "href": f"{service.loopback.url}/compute/v2.1/servers/detail?marker=1"}]
    service.answers = [(200, {}, {"servers": [1], "servers_links": link}), (200, {}, {"servers": [2]})]
    assert list(cloud.pages("compute", "/servers/detail", "servers")) == [1, 2]


def test_pages_that_go_round_in_a_ring_end(service: Service, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.loopback is not None
    assert LIST_PAGES > 3
    monkeypatch.setattr(clouds, "LIST_PAGES", 3)
    link = [{"rel": "next", "href": f"{service.loopback.url}/compute/v2.1/servers"}]
    service.answers = [(200, {}, {"servers": [1], "servers_links": link})] * 9
    assert list(cloud.pages("compute", "/servers", "servers")) == [1, 1, 1]


def test_a_post_carries_what_it_is_given_once(service: Service, cloud: Cloud) -> None:
    assert service.loopback is not None
    service.answers = [(202, {}, {"server": {"id": "1"}})]
    cloud.post("compute", "/servers", {"server": {}}, {"Idempotency-Key": "k"})
    sent = [asked for asked in service.loopback.asked if asked.path == "/compute/v2.1/servers"]
    assert [asked.headers["idempotency-key"] for asked in sent] == ["k"]
    assert json.loads(sent[0].body) == {"server": {}}
