"""Who the command line is, and the token that it keeps."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput, NotFound, Unauthenticated
from holdfast.client.connection import Unreachable
from holdfast.client.credentials import Credentials, credentials_find
from holdfast.client.login import SESSIONS_KEPT, Session, TokenCache

DOCUMENT = {
    "endpoint": "http://127.0.0.1:5000/",
    "region": "RegionOne",
    "users": {
        "admin": {"password": "pa", "project": "admin"},
        "demo": {"password": "pd", "project": "demo", "ec2": {"access": "AK", "secret": "SK"}},
    },
}
ENVIRONMENT = {
    "OS_AUTH_URL": "http://cloud.example:5000/identity",
    "OS_USERNAME": "eve",
    "OS_PASSWORD": "pe",
    "OS_PROJECT_NAME": "lab",
}


def state_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / "credentials.json").write_text(text)
    return tmp_path


def test_the_state_directory_comes_before_the_environment(tmp_path: Path) -> None:
    state = state_with(tmp_path, json.dumps(DOCUMENT))
    found = credentials_find(state, False, ENVIRONMENT)
    assert (found.user, found.password, found.ec2_access, found.local) == ("demo", "pd", "AK", True)
    assert (found.auth_url, found.base) == ("http://127.0.0.1:5000/identity/v3", "http://127.0.0.1:5000")
    assert credentials_find(state, True, {}).user == "admin"


def test_elsewhere_it_is_the_environment(tmp_path: Path) -> None:
    found = credentials_find(tmp_path, False, ENVIRONMENT)
    assert (found.user, found.project, found.local) == ("eve", "lab", False)
    assert found.auth_url == "http://cloud.example:5000/identity/v3"
    assert credentials_find(tmp_path, False, {**ENVIRONMENT, "OS_AUTH_URL": found.auth_url}).auth_url == found.auth_url


def test_without_either_it_says_how_to_get_a_cloud(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"credentials\.json is not there"):
        credentials_find(tmp_path, False, {})


@pytest.mark.parametrize("missing", ["OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME"])
def test_half_an_environment_is_refused_without_a_secret_in_the_words(tmp_path: Path, missing: str) -> None:
    half = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    with pytest.raises(Unauthenticated, match=missing) as caught:
        credentials_find(tmp_path, False, half)
    assert "'pe'" not in caught.value.message
    assert credentials_find(tmp_path, False, {**half, "OS_TOKEN": "t"}).token == "t"


def test_the_administrator_is_not_found_in_the_environment(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="--admin"):
        credentials_find(tmp_path, True, ENVIRONMENT)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"endpoint": 1, "users": 2}', "\x00\xff"])
def test_a_damaged_file_is_named_and_never_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises((BadInput, NotFound), match=r"credentials\.json"):
        credentials_find(state_with(tmp_path, text), False, ENVIRONMENT)


ME = Credentials("http://c/identity/v3", "demo", "secret-word", "demo")
SESSION = Session("the-token", 2_000_000_000, "p", "u", {"compute": "http://c/compute/v2.1"})


def test_a_kept_token_is_found_again_until_it_expires(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "deep" / "tokens.json")
    cache.keep(ME, SESSION)
    assert cache.find(ME, 1_900_000_000) == SESSION
    assert cache.find(ME, SESSION.expires_s - 59) is None
    assert cache.find(ME._replace(project="other"), 0) is None
    assert cache.find(ME._replace(user="other"), 0) is None
    assert cache.find(ME._replace(auth_url="http://d/identity/v3"), 0) is None


def test_the_file_is_its_owners_alone_and_has_no_password(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        TokenCache(tmp_path / "deep" / "tokens.json").keep(ME, SESSION)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "tokens.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700
    assert "secret-word" not in (tmp_path / "deep" / "tokens.json").read_text()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["tokens.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_or_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens.json"
    cache = TokenCache(path)
    cache.keep(ME, SESSION)
    path.chmod(mode)
    assert cache.find(ME, 0) is None
    cache.keep(ME, SESSION)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "victim"
    TokenCache(real).keep(ME, SESSION)
    (tmp_path / "tokens.json").symlink_to(real)
    cache = TokenCache(tmp_path / "tokens.json")
    assert cache.find(ME, 0) is None
    cache.keep(ME._replace(user="x"), SESSION)
    assert TokenCache(real).find(ME._replace(user="x"), 0) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"x": 1}', "\x00"])
def test_a_damaged_cache_is_no_cache_and_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    path.chmod(0o600)
    cache = TokenCache(path)
    assert cache.find(ME, 0) is None
    cache.keep(ME, SESSION)
    assert cache.find(ME, 0) == SESSION


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    TokenCache(tmp_path / "file" / "tokens.json").keep(ME, SESSION)


def test_the_cache_does_not_grow(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "tokens.json")
    for number in range(SESSIONS_KEPT + 5):
        cache.keep(ME._replace(user=f"u{number}"), SESSION)
    assert len(json.loads((tmp_path / "tokens.json").read_text())) == SESSIONS_KEPT
    assert cache.find(ME._replace(user="u0"), 0) is None
    assert cache.find(ME._replace(user=f"u{SESSIONS_KEPT + 4}"), 0) == SESSION
