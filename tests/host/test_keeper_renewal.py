"""One renewal against servers that are good, bad and slow."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput, Unavailable
from holdfast.host.keeper import renewal
from holdfast.host.keeper.renewal import Endpoint, lease_request, parse_endpoint


def answer(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n{body}".encode()


@contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                behave(connection)
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Endpoint(False, "127.0.0.1", listener.getsockname()[1], "/cloud")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    return path


def test_a_renewal_says_who_asks_and_reads_the_grant(token: Path) -> None:
    heard: list[bytes] = []

    def grant(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(answer("200 OK", '{"valid_s": 30, "enforce": true}'))

    with server(grant) as endpoint:
        assert lease_request(endpoint, "host-1", token, {"boot_id": "b", "keeper_epoch": 7}) == (30.0, True)
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /cloud/hosts/v1/host-1/lease HTTP/1.0\r\n")
    assert b"\r\nX-Host-Token: s3cret\r\n" in head
    assert json.loads(body) == {"boot_id": "b", "keeper_epoch": 7}


@pytest.mark.parametrize(
    "words",
    [
        answer("409 Conflict", '{"valid_s": 30, "enforce": true}'),
        answer("302 Found", '{"valid_s": 30, "enforce": true}'),
        answer("200 OK", ""),
        answer("200 OK", "[1]"),
        answer("200 OK", '{"valid_s": 30}'),
        answer("200 OK", '{"valid_s": "30", "enforce": true}'),
        answer("200 OK", '{"valid_s": true, "enforce": true}'),
        answer("200 OK", '{"valid_s": 30, "enforce": "no"}'),
        answer("200 OK", '{"valid_s": -1, "enforce": true}'),
        answer("200 OK", '{"valid_s": NaN, "enforce": true}'),
        answer("200 OK", '{"valid_s": 1e12, "enforce": true}'),
        b"",
        b"HTTP",
        b"\xff" * 100_000,
    ],
)
def test_anything_but_a_well_formed_grant_is_no_grant(token: Path, words: bytes) -> None:
    def say(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(words)

    with server(say) as endpoint, pytest.raises(Unavailable) as caught:
        lease_request(endpoint, "host-1", token, {})
    assert "s3cret" not in f"{caught.value.message} {caught.value.detail}"


@pytest.mark.parametrize("trickle", [False, True])
def test_a_server_that_does_not_come_to_an_end_is_left(
    token: Path, trickle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "KEEPER_REQUEST_S", 0.5)
    done = threading.Event()

    def hold(connection: socket.socket) -> None:
        while not done.wait(0.05):
            if trickle:
                connection.sendall(b"H")

    with server(hold) as endpoint:
        began_s = time.monotonic()
        with pytest.raises(Unavailable):
            lease_request(endpoint, "host-1", token, {})
        assert time.monotonic() - began_s < 3
        done.set()


def test_nobody_there_and_no_token_are_the_same_kind_of_failure(token: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable):
        lease_request(Endpoint(False, "127.0.0.1", port, ""), "host-1", token, {})
    with pytest.raises(Unavailable):
        lease_request(Endpoint(False, "127.0.0.1", port, ""), "host-1", tmp_path / "none", {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://10.0.0.1:8774", Endpoint(False, "10.0.0.1", 8774, "")),
        ("http://cloud/", Endpoint(False, "cloud", 80, "")),
        ("https://cloud/prefix/", Endpoint(True, "cloud", 443, "/prefix")),
        ("http://[fd00::1]:80/a/b", Endpoint(False, "fd00::1", 80, "/a/b")),
        ("http://[fd00::1]", Endpoint(False, "fd00::1", 80, "")),
    ],
)
def test_an_endpoint_is_read(url: str, expected: Endpoint) -> None:
    assert parse_endpoint(url) == expected


@pytest.mark.parametrize("url", ["", "cloud:80", "ftp://cloud", "http://", "http://cloud:http"])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        parse_endpoint(url)
