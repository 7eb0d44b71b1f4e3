"""Every process may be killed with -9 at any moment: what was accepted ends, once, and nobody is refused.

The simulated hypervisor stands in for guests; everything else is real: processes, sockets, SQLite, signals.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.host.hypervisor.simulated import Knobs, Simulated, set_knobs
from tests.stories.bareguest import until
from tests.stories.livecloud import Caller, LiveCloud

LAUNCHES, CLIENTS, KILLS = 200, 8, 3
SETTLED_S = 120  # a killed control process leaves its claims for OPERATION_LEASE_S, each time
SERVERS = "/compute/v2.1/servers"
STOPS = int(os.environ.get("HOLDFAST_ROUNDS", "4"))
STOP_WITHIN_S, STOPPED_S = 1.5, 10


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    live = LiveCloud(tmp_path, ("--hypervisor", "simulated", "--private-cidr", "10.71.0.0/16"))
    try:
        live.up()
        yield live
    finally:
        live.remove()


@dataclass
class Launches:
    """Launches by eight clients, while somebody else kills."""

    cloud: LiveCloud
    body: dict[str, Any]
    token: str
    accepted: dict[str, str] = field(default_factory=dict)  # server id by key
    callers: list[Caller] = field(default_factory=list)
    count: int = LAUNCHES
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = [str(uuid.uuid4()) for _ in range(self.count)]

    def post(self, caller: Caller, key: str) -> tuple[int, str]:
        status, answer = caller.call("POST", SERVERS, {"server": {**self.body, "name": f"s-{key}"}}, key)
        return status, answer["server"]["id"] if status == 202 else str(answer)

    def client(self, number: int) -> None:
        caller = Caller(self.cloud.port, self.token)
        self.callers.append(caller)
        try:
            for key in self.keys[number::CLIENTS]:
                status, server_id = self.post(caller, key)
                assert status == 202, server_id
                self.accepted[key] = server_id
        finally:
            caller.close()

    def run(self, kill: Callable[[], object], times: int = KILLS) -> None:
        """Launch; call `kill` at random moments in between."""
        moments = sorted(random.Random().sample(range(5, self.count - 5), times))
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self.client, number) for number in range(CLIENTS)]
            for moment in moments:
                until(lambda moment=moment: len(self.accepted) >= moment or any(c.done() for c in clients))  # type: ignore[misc]
                kill()
            for client in clients:
                client.result()

    def settle(self) -> None:
        """See that each launch ended ACTIVE, once, and that a repeat gets the first answer."""
        until(self._is_settled, SETTLED_S)
        servers = _servers(self.cloud, self.token)
        statuses = {server_id: server["status"] for server_id, server in servers.items()}
        assert statuses == dict.fromkeys(self.accepted.values(), "ACTIVE")
        assert sorted(server["name"] for server in servers.values()) == sorted(f"s-{key}" for key in self.keys)
        addresses = [item["addr"] for server in servers.values() for item in server["addresses"]["private"]]
        assert len(set(addresses)) == self.count
        assert set(Simulated(_host(self.cloud)).machines()) == set(servers)
        again = Caller(self.cloud.port, self.token)
        for key in self.keys[:: self.count // 10]:
            assert self.post(again, key) == (202, self.accepted[key])
        again.close()
        assert len(_servers(self.cloud, self.token)) == self.count

    def _is_settled(self) -> bool:
        found = _servers(self.cloud, self.token).values()
        return all(server["status"] not in ("BUILD", "UNKNOWN") for server in found)


@pytest.fixture
def launches(cloud: LiveCloud) -> Launches:
    return launches_of(cloud, LAUNCHES)


def launches_of(cloud: LiveCloud, count: int) -> Launches:
    """So many launches of a small image."""
    session = cloud.session()
    wanted = {"name": "small", "disk_format": "raw", "container_format": "bare"}
    image = session.post("/image/v2/images", wanted)["id"]
    session.upload(f"/image/v2/images/{image}/file", _file(cloud.room / "image"))
    flavor = next(f["id"] for f in session.get("/compute/v2.1/flavors")["flavors"] if f["name"] == "m1.nano")
    set_knobs(_host(cloud), Knobs(start_s=0.05))  # so that builds are under way when something dies
    return Launches(cloud, {"imageRef": image, "flavorRef": flavor}, session.token, count=count)


def _file(path: Path) -> Path:
    path.write_bytes(bytes(1 << 20))
    return path


def _host(cloud: LiveCloud) -> Path:
    return next((cloud.state / "hosts").iterdir())


def _servers(cloud: LiveCloud, token: str) -> dict[str, dict[str, Any]]:
    caller = Caller(cloud.port, token)
    status, answer = caller.call("GET", f"{SERVERS}/detail?limit=1000")
    assert status == 200, answer
    caller.close()
    return {server["id"]: server for server in answer["servers"]}


@pytest.mark.parametrize("process", ["control", "agent", "keeper", "supervisor"])
def test_every_accepted_launch_ends_active_and_once_whichever_process_is_killed(
    process: str, launches: Launches
) -> None:
    cloud = launches.cloud

    def kill() -> None:
        until(lambda: cloud.alive(process))
        before = cloud.kill(process)
        if process == "supervisor":
            cloud.up()
        until(lambda: cloud.pids()[process] != before and cloud.alive(process))

    launches.run(kill)
    assert sum(caller.refused for caller in launches.callers) == 0
    assert [failure for caller in launches.callers for failure in caller.failures] == []

    launches.settle()
    assert "nothing is out of order" in cloud.run("audit")


def _listening(pid: int, port: int) -> set[str]:
    """The inodes of the sockets that a process holds and that listen on a port of 127.0.0.1."""
    listed = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    wanted = {f"socket:[{words[9]}]" for words in listed if words[1] == f"0100007F:{port:04X}" and words[3] == "0A"}
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(descriptor))
        except OSError:
            continue
    return wanted & held


def test_a_killed_supervisor_is_replaced_and_the_next_one_adopts_everything(cloud: LiveCloud) -> None:
    before, port = cloud.pids(), cloud.port
    inode = _listening(before["control"], port)
    assert len(inode) == 1
    session = cloud.session()
    cloud.kill("supervisor")
    assert session.get(SERVERS)["servers"] == [], "the others go on"
    for note in (cloud.state / "run").iterdir():  # what runs is looked for in /proc: a note may be missing
        note.unlink()

    cloud.up()
    after = cloud.pids()
    assert after["supervisor"] != before["supervisor"]
    assert {name: after[name] for name in ("control", "agent", "keeper")} == {
        name: before[name] for name in ("control", "agent", "keeper")
    }
    until(lambda: _listening(after["supervisor"], port) == inode)

    stop, callers = threading.Event(), [Caller(port, session.token) for _ in range(4)]

    def ask(caller: Caller) -> None:
        while not stop.is_set():
            caller.close()  # a connection each time: what is tested is that none is refused
            assert caller.call("GET", SERVERS)[0] == 200

    with ThreadPoolExecutor(len(callers)) as pool:
        asking = [pool.submit(ask, caller) for caller in callers]
        try:
            cloud.kill("control")
            until(lambda: cloud.pids()["control"] != after["control"] and cloud.alive("control"))
            until(lambda: _listening(cloud.pids()["control"], port) == inode)
            assert cloud.session().get(SERVERS)["servers"] == []
        finally:
            stop.set()
        for each in asking:
            each.result()
    assert sum(caller.refused for caller in callers) == 0
    assert "nothing is out of order" in cloud.run("audit")


def test_a_control_process_that_is_told_to_stop_at_any_moment_of_its_start_does_so(cloud: LiveCloud) -> None:
    dice = random.Random()
    for _ in range(STOPS):
        before = cloud.pids()["control"]
        threading.Event().wait(dice.random() * STOP_WITHIN_S)  # any moment of its start, or a little later
        os.kill(before, signal.SIGTERM)
        until(lambda before=before: not Path(f"/proc/{before}").exists(), STOPPED_S)  # type: ignore[misc]
        until(lambda before=before: cloud.pids()["control"] != before and cloud.alive("control"))  # type: ignore[misc]
    logs = "".join(path.read_text() for path in (cloud.state / "logs").glob("control*"))
    assert "Traceback" not in logs
    until(lambda: cloud.alive("control"))
    assert cloud.session().get(SERVERS)["servers"] == []
    assert "nothing is out of order" in cloud.run("audit")
