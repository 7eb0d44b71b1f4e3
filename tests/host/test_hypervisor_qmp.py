"""The monitor client against monitors that are odd, slow, silent and hostile."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.errors import Conflict, Unavailable
from holdfast.host.hypervisor import qmp
from holdfast.host.hypervisor.qmp import EVENTS_KEPT, Qmp, statuses

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'


@contextmanager
def monitor(path: Path, behave: Callable[[socket.socket], None]) -> Iterator[Path]:
    """Serve one conversation after another at `path` with `behave`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(4)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with connection:
                    behave(connection)
            except ConnectionError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def questions(connection: socket.socket) -> Iterator[dict[str, Any]]:
    for line in connection.makefile("rb"):
        yield json.loads(line)


def say(connection: socket.socket, **message: object) -> None:
    connection.sendall(json.dumps(message).encode() + b"\r\n")


def test_answers_are_told_apart_by_their_number_and_events_are_kept(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for question in questions(connection):
            say(connection, event="RESUME")
            connection.sendall(b'{"return": "of somebody else", "id": 9999}\n{"return": "of nobody"}\n[]\n')
            answer = {"return": question["execute"], "id": question["id"]}
            text = json.dumps(answer).encode() + b"\n"
            connection.sendall(text[:5])
            connection.sendall(text[5:])

    with monitor(tmp_path / "m", behave) as path, Qmp(path) as talk:
        assert talk.execute("query-status") == "query-status"
        assert talk.execute("query-block", {"a": 1}) == "query-block"
        assert [event["event"] for event in talk.events] == ["RESUME"] * 3


def test_a_refusal_is_a_conflict_and_the_conversation_goes_on(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for question in questions(connection):
            if question["execute"] == "cont":
                say(connection, id=question["id"], error={"class": "GenericError", "desc": "not now"})
            else:
                say(connection, id=question["id"], **{"return": {}})

    with monitor(tmp_path / "m", behave) as path, Qmp(path) as talk:
        with pytest.raises(Conflict, match="not now"):
            talk.execute("cont")
        assert talk.execute("stop") == {}


def test_a_monitor_that_pours_out_events_is_not_remembered_whole(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for question in questions(connection):
            connection.sendall(b'{"event": "NOISE"}\n' * 500)
            say(connection, id=question["id"], **{"return": {}})

    with monitor(tmp_path / "m", behave) as path, Qmp(path) as talk:
        assert talk.execute("query-status") == {}
        assert len(talk.events) == EVENTS_KEPT


def silent(connection: socket.socket) -> None:
    connection.recv(1)
    connection.recv(100_000)


def trickle(connection: socket.socket) -> None:
    for _ in range(200):
        connection.sendall(b" ")
        time.sleep(0.02)


def flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 100_000)


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"\xff\x00 no json\n")
    connection.recv(100_000)


def other_protocol(connection: socket.socket) -> None:
    connection.sendall(b'{"hello": 1}\n')
    connection.recv(100_000)


def hang_up(connection: socket.socket) -> None:
    connection.sendall(GREETING)


@pytest.mark.parametrize("behave", [silent, trickle, flood, garbage, other_protocol, hang_up])
def test_a_monitor_that_is_none_is_unavailable_within_the_bound(
    tmp_path: Path, behave: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "MONITOR_REPLY_BYTES", 1 << 20)
    with monitor(tmp_path / "m", behave) as path:
        began_s = time.monotonic()
        with pytest.raises(Unavailable):
            Qmp(path, timeout_s=0.5)
        assert time.monotonic() - began_s < 2
        assert statuses({"m": path}, 0.3) == {}
        assert time.monotonic() - began_s < 4


def test_no_monitor_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Qmp(tmp_path / "none")
    assert statuses({"m": tmp_path / "none", "n": tmp_path / "no" / "directory"}, 0.3) == {}


def test_one_silent_monitor_costs_the_bound_once_and_hides_no_other(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for question in questions(connection):
            say(connection, id=question.get("id"), **{"return": {"status": "paused"}})

    silent_monitors = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(5)]
    try:
        for number, listener in enumerate(silent_monitors):
            listener.bind(str(tmp_path / f"s{number}"))
            listener.listen(1)
        with monitor(tmp_path / "m", behave) as path:
            began_s = time.monotonic()
            asked = {f"s{number}": tmp_path / f"s{number}" for number in range(5)}
            assert statuses({**asked, "m": path}, 0.5) == {"m": "paused"}
            assert time.monotonic() - began_s < 1
    finally:
        for listener in silent_monitors:
            listener.close()
