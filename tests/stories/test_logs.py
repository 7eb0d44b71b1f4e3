"""The story of one server in the logs: one grep for its id, over the files of every process (FEATURES F1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.errors import BadInput
from holdfast.host.hypervisor.simulated import queue_failure
from tests.stories.bareguest import until
from tests.stories.livecloud import LiveCloud

WHOSE = ("control.operations.engine", "agent.host.agent.machine", "agent.host.hypervisor")  # works on one instance
HEAD = re.compile(r"\S+ \S+ (?P<pid>\d+) (?P<level>[A-Z]+) (?P<name>\S+) \[(?P<request>\S+)\](?P<rest>.*)")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    live = LiveCloud(tmp_path, ("--hypervisor", "simulated", "--private-cidr", "10.71.0.0/16"))
    try:
        live.up()
        yield live
    finally:
        live.remove()


def test_one_grep_for_its_id_tells_a_failed_boot_by_every_process_that_worked_on_it(cloud: LiveCloud) -> None:
    host = next((cloud.state / "hosts").iterdir())
    queue_failure(host, "start", BadInput("the processor is of the wrong kind"))
    session = cloud.session()
    wanted = {"name": "small", "disk_format": "raw", "container_format": "bare"}
    image = session.post("/image/v2/images", wanted)["id"]
    (cloud.room / "image").write_bytes(bytes(1 << 20))
    session.upload(f"/image/v2/images/{image}/file", cloud.room / "image")
    server = {"name": "web", "imageRef": image, "flavorRef": "42", "networks": "auto"}
    server_id = session.post("/compute/v2.1/servers", {"server": server})["server"]["id"]
    status = f"/compute/v2.1/servers/{server_id}"
    until(lambda: session.get(status)["server"]["status"] == "ERROR")
    assert "wrong kind" in str(session.get(status)["server"]["fault"])
    logs = cloud.state / "logs"
    until(lambda: f"[instance: {server_id}] host_released_instance" in (logs / "control.log").read_text())

    lines = {path.stem: path.read_text().splitlines() for path in logs.glob("*.log")}
    told = {process: [line for line in found if server_id in line] for process, found in lines.items()}
    (agent,) = (process for process in lines if process.startswith("agent-"))
    story = "\n".join(told["control"] + told[agent])
    for words in ("step=schedule", "act=start", "wrong kind", "operation_failed"):
        assert words in story, story
    heads = [match for found in lines.values() for line in found if (match := HEAD.match(line))]
    working = [match for match in heads if match["name"].startswith(WHOSE)]
    assert working and all("[instance: " in match["rest"] for match in working)
    assert {match["request"] for match in working if server_id in match["rest"] and "step=" in match["rest"]} != {"-"}
    assert len(cloud.run("logs", server_id).splitlines()) == sum(map(len, told.values()))
