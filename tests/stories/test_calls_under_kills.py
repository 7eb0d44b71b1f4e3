"""Calls of every kind while the cloud's processes are killed: no unexplained error, no doubled act, nothing lost.

FEATURES A1 and A2, FAULTS STK-12. The simulated hypervisor stands in for guests; processes, sockets, SQLite and signals
are real. HOLDFAST_ROUNDS=N asks for N rounds where a few are enough for every day.
"""

from __future__ import annotations

import json
import os
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.stories.bareguest import until
from tests.stories.livecloud import Caller, LiveCloud

CALLS, CLIENTS, KILL_EACH_S = 1_000, 8, 1.0
ROUNDS = int(os.environ.get("HOLDFAST_ROUNDS", "5"))
SERVERS, NETWORK = "/compute/v2.1/servers", "/network/v2.0"
EXPECTED = {200, 201, 202, 204, 404, 409}  # 409: an act goes on; 404: what the same client deleted a moment ago


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    live = LiveCloud(tmp_path, ("--hypervisor", "simulated", "--private-cidr", "10.71.0.0/16"))
    try:
        live.up()
        yield live
    finally:
        live.remove()


@dataclass
class Known:
    """What every client needs to know."""

    token: str
    server: dict[str, Any]
    private: str
    public: str
    login: dict[str, Any]


@pytest.fixture
def callers(cloud: LiveCloud) -> Iterator[Callable[[str], Caller]]:
    """Makes clients with a connection of their own each."""
    made: list[Caller] = []

    def make(token: str) -> Caller:
        made.append(Caller(cloud.port, token))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def known(cloud: LiveCloud) -> Known:
    session = cloud.session()
    wanted = {"name": "small", "disk_format": "raw", "container_format": "bare"}
    image = session.post("/image/v2/images", wanted)["id"]
    (cloud.room / "image").write_bytes(bytes(1 << 20))
    session.upload(f"/image/v2/images/{image}/file", cloud.room / "image")
    networks = {net["router:external"]: net["id"] for net in session.get(f"{NETWORK}/networks")["networks"]}
    quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1, "key_pairs": -1}}
    project = session.get("/identity/v3/auth/projects")["projects"][0]["id"]
    admin = cloud.session("admin")
    admin.put(f"/compute/v2.1/os-quota-sets/{project}", quota)
    admin.put(f"{NETWORK}/quotas/{project}", {"quota": {"port": -1, "floatingip": -1}})
    body = {"imageRef": image, "flavorRef": "42"}
    return Known(session.token, body, networks[False], networks[True], _login(cloud))


def _login(cloud: LiveCloud) -> dict[str, Any]:
    user = json.loads((cloud.state / "credentials.json").read_text())["users"]["demo"]
    who = {"name": "demo", "domain": {"name": "Default"}, "password": user["password"]}
    scope = {"project": {"name": user["project"], "domain": {"name": "Default"}}}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}


@dataclass
class Client:
    """One client with things of its own, which does what comes to its mind."""

    caller: Caller
    known: Known
    number: int
    mind: random.Random
    things: dict[str, list[str]] = field(default_factory=lambda: {"servers": [], "ports": [], "floatingips": []})
    answers: Counter[int] = field(default_factory=Counter)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        key = str(uuid.uuid4()) if method == "POST" else ""
        status, answer = self.caller.call(method, path, body, key)
        self.answers[status] += 1
        assert status in EXPECTED or status >= 500, (method, path, status, answer)
        return status, answer

    def do(self) -> None:
        """One call."""
        acts: list[Callable[[], object]] = [self.look, self.look, self.make_server, self.act, self.make, self.delete]
        self.mind.choice(acts)()

    def look(self) -> None:
        listing = f"{SERVERS}/detail", "/compute/v2.1/flavors/detail", "/image/v2/images", f"{NETWORK}/networks"
        path = self.mind.choice([*listing, "/volume/v3/volumes", "/identity/v3/auth/tokens"])
        if path.endswith("tokens"):
            self.call("POST", path, self.known.login)
        else:
            self.call("GET", path)

    def make_server(self) -> None:
        name = f"s{self.number}-{self.mind.randrange(10**9)}"
        body = {"server": {**self.known.server, "name": name, "networks": [{"uuid": self.known.private}]}}
        self._keep("servers", *self.call("POST", SERVERS, body), "server")

    def make(self) -> None:
        if self.mind.random() < 0.5:
            answer = self.call("POST", f"{NETWORK}/ports", {"port": {"network_id": self.known.private}})
            self._keep("ports", *answer, "port")
        else:
            body = {"floatingip": {"floating_network_id": self.known.public}}
            self._keep("floatingips", *self.call("POST", f"{NETWORK}/floatingips", body), "floatingip")

    def act(self) -> None:
        if self.things["servers"]:
            path = f"{SERVERS}/{self.mind.choice(self.things['servers'])}"
            word: dict[str, Any] = self.mind.choice(
                [{"os-stop": None}, {"os-start": None}, {"reboot": {"type": "HARD"}}, {"pause": None}]
            )
            self.call("POST", f"{path}/action", word)

    def delete(self) -> None:
        kind = self.mind.choice(list(self.things))
        if self.things[kind]:
            path = SERVERS if kind == "servers" else f"{NETWORK}/{kind}"
            status, _ = self.call("DELETE", f"{path}/{self.things[kind].pop()}")
            assert status in (204, 404), status  # 404: the answer to the first try was lost with its process

    def _keep(self, kind: str, status: int, answer: Any, noun: str) -> None:
        if status in (201, 202):
            self.things[kind].append(answer[noun]["id"])


def _kill_until(over: threading.Event, cloud: LiveCloud) -> Counter[str]:
    """One process each second, in turn, until it is over; returns how often which was killed."""
    killed: Counter[str] = Counter()
    while True:
        for process in ("control", "agent", "control", "keeper", "control", "supervisor"):
            if over.wait(KILL_EACH_S):
                return killed
            if not cloud.alive(process):
                continue  # still coming back from the last time
            cloud.kill(process)
            killed[process] += 1
            if process == "supervisor":
                cloud.up()


def test_a_thousand_mixed_calls_meet_no_unexplained_error_while_processes_are_killed(
    cloud: LiveCloud, known: Known, callers: Callable[[str], Caller]
) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    clients = [Client(callers(known.token), known, n, random.Random(seed + n)) for n in range(CLIENTS)]
    over = threading.Event()

    def work(client: Client) -> None:
        while client.answers.total() < CALLS // CLIENTS:
            client.do()

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        killing = pool.submit(_kill_until, over, cloud)
        working = [pool.submit(work, client) for client in clients]
        try:
            for each in working:
                each.result()
        finally:
            over.set()
        assert killing.result()["control"] >= 3, killing.result()
    assert [failure for client in clients for failure in client.caller.failures] == []
    assert sum(client.caller.refused for client in clients) == 0
    everything_is_as_the_clients_left_it(cloud, known, clients)


def everything_is_as_the_clients_left_it(cloud: LiveCloud, known: Known, clients: list[Client]) -> None:
    until(lambda: all(cloud.alive(name) for name in ("supervisor", "control", "agent", "keeper")))
    session = cloud.session()

    def settled() -> bool:
        servers = session.get(f"{SERVERS}/detail?limit=1000")["servers"]
        return not [s for s in servers if s["status"] == "BUILD" or s["OS-EXT-STS:task_state"]]

    until(settled)
    wanted = {kind: {name for client in clients for name in client.things[kind]} for kind in clients[0].things}
    servers = session.get(f"{SERVERS}?limit=1000")["servers"]
    assert {server["id"] for server in servers} == wanted["servers"]
    ports = session.get(f"{NETWORK}/ports?network_id={known.private}")["ports"]
    free = {port["id"] for port in ports if not port["device_owner"]}
    assert free == wanted["ports"]
    assert len([port for port in ports if port["device_owner"].startswith("compute:")]) == len(servers)
    floating = session.get(f"{NETWORK}/floatingips")["floatingips"]
    assert {each["id"] for each in floating} == wanted["floatingips"]
    assert "nothing is out of order" in cloud.run("audit")


def test_twenty_repeats_of_one_create_make_one_server_while_the_control_process_dies(
    cloud: LiveCloud, known: Known, callers: Callable[[str], Caller]
) -> None:
    for number in range(ROUNDS):
        plugged = [{"uuid": known.private}]
        key, body = str(uuid.uuid4()), {"server": {**known.server, "name": f"once-{number}", "networks": plugged}}
        twenty = [callers(known.token) for _ in range(20)]
        until(lambda: cloud.alive("control") and cloud.session().get(SERVERS) is not None)
        before = cloud.pids()["control"]
        with ThreadPoolExecutor(20) as pool:
            answers = [pool.submit(caller.call, "POST", SERVERS, body, key) for caller in twenty]
            threading.Event().wait(random.random() * 0.1)  # any moment of the twenty requests
            cloud.kill("control")
            found = [answer.result() for answer in answers]
        assert {status for status, _ in found} == {202}
        (server_id,) = {answer["server"]["id"] for _, answer in found}
        until(lambda before=before: cloud.pids()["control"] != before and cloud.alive("control"))  # type: ignore[misc]
        listed = cloud.session().get(f"{SERVERS}?name=once-{number}")["servers"]
        assert [server["id"] for server in listed] == [server_id]


def test_what_was_answered_just_before_a_kill_is_there_after_it(
    cloud: LiveCloud, known: Known, callers: Callable[[str], Caller]
) -> None:
    for number in range(ROUNDS):
        caller, plugged = callers(known.token), [{"uuid": known.private}]
        body = {"server": {**known.server, "name": f"kept-{number}", "networks": plugged}}
        status, answer = caller.call("POST", SERVERS, body)
        cloud.kill("control")
        assert status == 202
        path = f"{SERVERS}/{answer['server']['id']}"
        assert caller.call("GET", path)[0] == 200
        until(lambda caller=caller, path=path: caller.call("GET", path)[1]["server"]["status"] == "ACTIVE")  # type: ignore[misc]
        until(lambda: cloud.alive("control"))
