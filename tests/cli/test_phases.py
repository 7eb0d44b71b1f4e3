"""Watching a launch: phases in order, each seen to be true, late is not failed."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from holdfast.base.errors import NotFound, Unavailable
from holdfast.cli import phases
from holdfast.cli.launch import watch_all
from holdfast.cli.output import Output
from holdfast.cli.phases import LATE, READY, Broken, Watch

ADDRESSES = {"private": [{"addr": "10.0.0.4", "OS-EXT-IPS:type": "fixed"}]}
PUBLIC = {"private": [*ADDRESSES["private"], {"addr": "203.0.113.4", "OS-EXT-IPS:type": "floating"}]}
BUILD = {"id": "s", "status": "BUILD", "hostId": "", "addresses": ADDRESSES}
ACTIVE = {"id": "s", "status": "ACTIVE", "hostId": "h", "addresses": PUBLIC}


class Script:
    """A cloud that shows a server as it was, time after time; the last stays."""

    def __init__(self, *servers: Any, console: str = "") -> None:
        self.servers, self.console = list(servers), console

    def get(self, service: str, path: str) -> Any:
        now = self.servers.pop(0) if len(self.servers) > 1 else self.servers[0]
        if isinstance(now, Exception):
            raise now
        return {"server": now}

    def post(self, service: str, path: str, body: Any) -> Any:
        return {"output": self.console}


def watch(cloud: Script, wait_s: float = 5.0, **changes: Any) -> tuple[Watch, io.StringIO]:
    stream = io.StringIO()
    fields: dict[str, Any] = {
        "cloud": cloud,
        "output": Output(True, stream),
        "server_id": "s",
        "name": "web",
        "image": "tiny",
        "wants_public": True,
        "reach_of": None,
        "started_s": time.monotonic(),
        "wait_s": wait_s,
    }
    return Watch(**{**fields, **changes}), stream


def run(made: Watch) -> str:
    """Look until it ends; bounded by the watch's own limit."""
    while (ended := made.look()) is None:
        pass
    return ended


def reported(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["phase"] for line in stream.getvalue().splitlines()]


EVERY = ["scheduled", "network", "image", "running", "booted"]


def test_phases_are_reported_in_order_when_they_are_true() -> None:
    made, stream = watch(Script(BUILD, {**BUILD, "hostId": "h"}, ACTIVE, console="holdfast-guest: ready at 1.00s\n"))
    assert run(made) == READY
    assert reported(stream) == EVERY


def test_nothing_is_reported_before_it_is_true() -> None:
    made, stream = watch(Script(BUILD))
    assert made.look() is None
    assert reported(stream) == []
    assert made.phase == "scheduled"


def test_the_public_address_is_waited_for_where_one_was_asked_for() -> None:
    made, stream = watch(Script({**ACTIVE, "addresses": ADDRESSES}))
    assert made.look() is None
    assert reported(stream) == ["scheduled"]
    made, stream = watch(Script({**ACTIVE, "addresses": ADDRESSES}), wants_public=False)
    made.look()
    assert "network" in reported(stream)


def test_a_guest_that_runs_and_is_silent_is_late_and_not_failed() -> None:
    made, stream = watch(Script(ACTIVE), wait_s=0)
    assert run(made) == LATE
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["result"], last["detail"]) == ("note", "running, booted not yet (waited 0 s)")


def test_a_server_that_never_runs_is_a_failure() -> None:
    made, _ = watch(Script(BUILD), wait_s=0)
    with pytest.raises(Broken, match="'web' is not scheduled"):
        run(made)


def test_an_error_ends_the_watch_with_its_reason() -> None:
    made, _ = watch(Script(BUILD, {**BUILD, "status": "ERROR", "fault": {"message": "no room\x1b[2J"}}))
    with pytest.raises(Broken, match=r"no room\\x1b\[2J"):
        run(made)


def test_a_server_that_somebody_deletes_ends_the_watch() -> None:
    made, _ = watch(Script(BUILD, NotFound("gone")))
    with pytest.raises(NotFound, match="somebody deleted it"):
        run(made)


def test_a_control_plane_that_restarts_is_waited_for() -> None:
    made, stream = watch(Script(Unavailable("restarting"), BUILD, Unavailable("again"), ACTIVE, console="login: "))
    assert run(made) == READY
    assert reported(stream) == EVERY


def test_our_own_guest_is_ready_when_it_says_so_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "CONSOLE_SILENT_S", 0)
    monkeypatch.setattr(phases, "ssh_answers", lambda reach: True)
    made, stream = watch(Script(ACTIVE, console="holdfast-guest: kernel at 1.00s\n"), reach_of=lambda address: address)
    assert made.look() is None
    assert "booted" not in reported(stream)


def test_a_guest_with_a_console_of_its_own_has_booted_when_ssh_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(phases, "CONSOLE_SILENT_S", -1)
    monkeypatch.setattr(phases, "ssh_answers", lambda reach: not asked.append(reach.address))
    reach = type("Reach", (), {"address": "203.0.113.4", "user": "demo"})()
    made, stream = watch(Script(ACTIVE), reach_of=lambda address: reach)
    assert run(made) == READY
    assert reported(stream) == [*EVERY, "ssh"]
    assert set(asked) == {"203.0.113.4"}


def test_of_several_launches_one_failure_does_not_hide_the_others() -> None:
    good, stream = watch(Script(ACTIVE, console="login: "))
    bad, _ = watch(Script({**BUILD, "status": "ERROR"}), name="db", output=good.output)
    with pytest.raises(Broken, match=r"'db' failed.*next: holdfast launch db"):
        watch_all(good.output, [bad, good])
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["server"] for event in events if event["event"] == "launched"] == ["web"]
    assert [event["server"] for event in events if event["event"] == "failed"] == ["db"]
