"""Fetches from servers that break, lie and stall."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.errors import NotFound, Unavailable
from holdfast.base.limits import IMAGE_FETCH_S, IMAGE_FETCH_TRIES, IMAGE_STALL_S
from holdfast.domain.desired import ImageSource
from holdfast.host.dial import ControlPlane
from holdfast.host.imagecache.fetch import HttpFetch, NearFetch, find_in
from tests.host.imagecache_world import ImageCacheWorld

DATA = os.urandom(9_000_000)
IMAGE = ImageSource("11111111-2222-4333-8444-555555555555", hashlib.sha512(DATA).hexdigest(), len(DATA), "raw")
Answer = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[tuple[str, int, str]]]]:
    """An image service whose every answer is `answer(handler, first byte asked for)`; yields its URL and log."""
    log: list[tuple[str, int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            log.append((self.path, start, self.headers.get("X-Host-Token", "")))
            answer(self, start)

        def log_message(self, *args: object) -> None:
            return

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_port}", log
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def give(handler: BaseHTTPRequestHandler, start: int, data: bytes = DATA, upto: int | None = None) -> None:
    """The rest of the data, honestly announced, of which only `upto` is sent before the connection breaks."""
    rest = data[start:]
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.send_header("Content-Length", str(len(rest)))
    handler.end_headers()
    handler.wfile.write(rest[:upto])
    handler.close_connection = True


class MovedClock(SystemClock):
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def monotonic_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def fetch(tmp_path: Path, clock: MovedClock) -> Callable[[str], HttpFetch]:
    token = tmp_path / "token"
    token.write_text("secret\n")

    def make(url: str) -> HttpFetch:
        def pause(seconds: float) -> None:
            clock.at_s += seconds

        return HttpFetch(ControlPlane(url, "h1", tmp_path), clock, pause)

    return make


Make = Callable[[str], HttpFetch]


def test_a_fetch_makes_the_file_and_says_its_digest(fetch: Make, tmp_path: Path) -> None:
    with server(give) as (url, log):
        assert fetch(url)(IMAGE, tmp_path / "x") == IMAGE.sha512
    assert (tmp_path / "x").read_bytes() == DATA
    assert log == [(f"/hosts/v1/h1/images/{IMAGE.id}/file", 0, "secret")]


def test_a_broken_connection_is_resumed_where_it_stopped(fetch: Make, tmp_path: Path) -> None:
    with server(lambda handler, start: give(handler, start, upto=4_000_000)) as (url, log):
        assert fetch(url)(IMAGE, tmp_path / "x") == IMAGE.sha512
    assert [start for _, start, _ in log] == [0, 4_000_000, 8_000_000]
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_server_without_ranges_is_started_over(fetch: Make, tmp_path: Path) -> None:
    count = iter(range(9))
    with server(lambda h, _: give(h, 0, upto=5_000_000 if next(count) == 0 else None)) as (url, log):
        assert fetch(url)(IMAGE, tmp_path / "x") == IMAGE.sha512
    assert len(log) == 2 and (tmp_path / "x").read_bytes() == DATA


def test_another_range_than_asked_is_refused(fetch: Make, tmp_path: Path) -> None:
    def shifted(handler: BaseHTTPRequestHandler, start: int) -> None:
        if start == 0:
            return give(handler, 0, upto=5_000_000)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()

    with server(shifted) as (url, _), pytest.raises(Unavailable, match="answers 206"):
        fetch(url)(IMAGE, tmp_path / "x")


def test_errors_of_a_moment_are_survived_and_lasting_ones_bounded(fetch: Make, tmp_path: Path) -> None:
    count = iter(range(99))

    def moody(handler: BaseHTTPRequestHandler, start: int) -> None:
        if next(count) < 3:
            return handler.send_error(500)
        give(handler, start)

    with server(moody) as (url, log):
        assert fetch(url)(IMAGE, tmp_path / "x") == IMAGE.sha512
        assert len(log) == 4
    with server(lambda handler, _: handler.send_error(503)) as (url, log):
        with pytest.raises(Unavailable) as caught:
            fetch(url)(IMAGE, tmp_path / "y")
        assert caught.value.retryable and len(log) == IMAGE_FETCH_TRIES


def test_nobody_there_ends_too(fetch: Make, tmp_path: Path) -> None:
    with server(give) as (url, _):
        gone = url
    with pytest.raises(Unavailable, match="cannot be fetched now"):
        fetch(gone)(IMAGE, tmp_path / "x")


def test_a_deleted_image_is_not_found_and_not_asked_for_again(fetch: Make, tmp_path: Path) -> None:
    with server(lambda handler, _: handler.send_error(404)) as (url, log):
        with pytest.raises(NotFound):
            fetch(url)(IMAGE, tmp_path / "x")
        assert len(log) == 1


def test_the_token_does_not_follow_a_redirection(fetch: Make, tmp_path: Path) -> None:
    with server(give) as (other, seen):

        def away(handler: BaseHTTPRequestHandler, _: int) -> None:
            handler.send_response(302)
            handler.send_header("Location", other + "/x")
            handler.end_headers()

        with server(away) as (url, _), pytest.raises(Unavailable, match="answers 302"):
            fetch(url)(IMAGE, tmp_path / "x")
        assert seen == []


def test_more_bytes_than_the_image_has_are_not_taken(fetch: Make, tmp_path: Path) -> None:
    larger = DATA + b"more" * 4_000_000
    with server(lambda handler, at: give(handler, at, larger)) as (url, _), pytest.raises(Unavailable, match="more by"):
        fetch(url)(IMAGE, tmp_path / "x")
    assert (tmp_path / "x").stat().st_size <= len(DATA)


class SteppingClock(MovedClock):
    """Time that passes when it is looked at, and lets the server send its next byte."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = threading.Semaphore(0)

    def monotonic_s(self) -> float:
        self.at_s += IMAGE_STALL_S / 4
        self.looked.release()
        return self.at_s


def test_a_trickle_is_given_up_long_before_the_whole_time(tmp_path: Path) -> None:
    """IMG-10: a byte now and then is as good as none, though the connection never falls silent."""
    clock, token = SteppingClock(), tmp_path / "token"
    token.write_text("secret")

    def trickle(handler: BaseHTTPRequestHandler, start: int) -> None:
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        handler.send_header("Content-Length", str(len(DATA) - start))
        handler.end_headers()
        try:
            for at in range(start, start + 5000):
                clock.looked.acquire(timeout=0.05)  # or goes on: two bytes that came as one were one look
                handler.wfile.write(DATA[at : at + 1])
                handler.wfile.flush()
        except OSError:
            return

    with server(trickle) as (url, _), pytest.raises(Unavailable, match="too slowly"):
        HttpFetch(ControlPlane(url, "h1", tmp_path), clock, lambda seconds: None)(IMAGE, tmp_path / "x")
    assert clock.at_s < IMAGE_FETCH_S / 4


def test_wrong_bytes_reach_nobody(fetch: Make, tmp_path: Path) -> None:
    world = ImageCacheWorld(tmp_path)
    wrong = bytes([DATA[0] ^ 1]) + DATA[1:]
    with server(lambda handler, start: give(handler, start, wrong)) as (url, _), pytest.raises(Unavailable) as caught:
        world.cache(fetch(url)).base(IMAGE)
    assert caught.value.code == "image_digest_mismatch"
    assert world.published() == [] and world.leftovers() == []
    with server(give) as (url, _):
        assert world.cache(fetch(url)).base(IMAGE).read_bytes() == DATA


def test_a_file_that_is_near_is_linked_and_still_checked(tmp_path: Path) -> None:
    world = ImageCacheWorld(tmp_path)
    store = tmp_path / "images"
    store.mkdir()
    near = store / f"{IMAGE.id}.22222222-2222-4333-8444-555555555555"
    near.write_bytes(DATA)
    (store / f"{IMAGE.id}.x.part").write_bytes(DATA)
    base = world.cache(NearFetch(find_in(store), world.fetch)).base(IMAGE)
    assert base.samefile(near) and world.fetched == []
    near.unlink()  # the image is deleted in the image service: the cache keeps what it has
    assert base.read_bytes() == DATA

    other = world.image("raw")
    (store / f"{other.id}.u").write_bytes(bytes(other.size_bytes))
    with pytest.raises(Unavailable) as caught:
        world.cache(NearFetch(find_in(store), world.fetch)).base(other)
    assert caught.value.code == "image_digest_mismatch"


def test_a_file_that_is_not_near_comes_the_other_way(tmp_path: Path) -> None:
    world = ImageCacheWorld(tmp_path)
    image = world.image()
    cache = world.cache(NearFetch(find_in(tmp_path / "nowhere"), world.fetch))
    assert cache.base(image).read_bytes() == world.sources[image.id].read_bytes()
    assert world.fetched == [image.id]
