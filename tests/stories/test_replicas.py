"""Three control replicas behind HAProxy, over a PostgreSQL with a standby: any of them is killed under load.

The simulated hypervisor stands in for guests; everything else is real: processes, sockets, databases, signals.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests import postgres
from tests.postgres import Server
from tests.stories.bareguest import until
from tests.stories.livecloud import ROOT, LiveCloud, free_port
from tests.stories.test_kill import Launches, launches_of

LAUNCHES = 100


@dataclass
class Replicas:
    """The machines: the first one is a compute host, too."""

    replicas: list[LiveCloud]
    entrance: LiveCloud  # the first machine, reached through HAProxy
    primary: Server
    standby: Server

    def lose(self, replica: LiveCloud) -> None:
        """As if the machine had lost its power: nobody restarts what ran there."""
        for name in ("supervisor", "control"):
            replica.kill(name)
        until(lambda: not any(replica.alive(name) for name in ("supervisor", "control")))


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Replicas]:
    with ExitStack() as stack:
        primary = stack.enter_context(postgres.server("-c synchronous_standby_names=s1"))
        standby = stack.enter_context(postgres.standby(primary, "s1"))
        store = f"postgresql://holdfast@/postgres?host={primary.home}&host={standby.home}"
        store += "&target_session_attrs=read-write"
        port = free_port()
        images = tmp_path / "images"
        images.mkdir()
        (tmp_path / "a").mkdir()
        url = f"http://127.0.0.1:{port}"
        flags = ("--hypervisor", "simulated", "--public-url", url, "--private-cidr", "10.71.0.0/16")
        first = LiveCloud(tmp_path / "a", flags, told={"store": store, "images": str(images)})
        stack.callback(first.remove)
        first.up()
        others = [further(tmp_path / name, first) for name in ("b", "c")]
        for other in others:
            stack.callback(other.remove)
            other.up()
        replicas = [first, *others]
        stack.enter_context(balancer(tmp_path / "haproxy.cfg", port, [each.port for each in replicas]))
        yield Replicas(replicas, LiveCloud(first.room, (), port=port), primary, standby)


def further(room: Path, first: LiveCloud) -> LiveCloud:
    """One more machine, which has copies of what docs/operators/control-replicas.md names."""
    for name in ("holdfast.toml", "credentials.json", "keys/cloud.key"):
        copy = room / "state" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first.state / name, copy)
    return LiveCloud(room, ("--control-only",))


@contextmanager
def balancer(path: Path, port: int, replicas: Sequence[int]) -> Iterator[None]:
    """The example of the documentation, on this machine's loopback."""
    text = (ROOT / "docs/operators/haproxy.cfg").read_text().replace("10.0.0.10:5000", f"127.0.0.1:{port}")
    for number, replica in enumerate(replicas, 1):
        text = text.replace(f"10.0.0.1{number}:5000", f"127.0.0.1:{replica}")
    path.write_text(text)
    process = subprocess.Popen(["haproxy", "-f", str(path), "-db"])
    try:
        until(lambda: _answers(port))
        yield
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError, HTTPException):
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == 200
    return False


@pytest.fixture
def launches(cloud: Replicas) -> Launches:
    return launches_of(cloud.entrance, LAUNCHES)


def all_well(launches: Launches, cloud: Replicas) -> None:
    """Nobody was refused or failed, and each launch happened, once."""
    assert sum(caller.refused for caller in launches.callers) == 0
    assert [failure for caller in launches.callers for failure in caller.failures] == []
    launches.settle()
    assert "nothing is out of order" in cloud.replicas[0].run("audit")


def test_replicas_that_are_lost_one_after_another_fail_no_request(cloud: Replicas, launches: Launches) -> None:
    """FEATURES G1: each of three replicas loses its power under load, once the one before is back."""
    lost: list[LiveCloud] = []

    def lose_the_next() -> None:
        if lost:
            lost[-1].up()
        lost.append(cloud.replicas[len(lost)])
        cloud.lose(lost[-1])

    launches.run(lose_the_next)
    lost[-1].up()
    assert lost == cloud.replicas
    all_well(launches, cloud)


def test_a_primary_that_is_lost_under_load_loses_no_launch_and_none_happens_twice(
    cloud: Replicas, launches: Launches
) -> None:
    """FEATURES G3, through the API: the standby is promoted while clients wait."""

    def fail_over() -> None:
        cloud.primary.kill()
        cloud.standby.promote()

    launches.run(fail_over, times=1)
    all_well(launches, cloud)
