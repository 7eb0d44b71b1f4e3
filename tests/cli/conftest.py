"""A cloud of real processes with the simulated hypervisor, brought up and destroyed by the command line itself."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.client.cloud import Cloud
from holdfast.client.connection import Http
from holdfast.client.credentials import credentials_find
from tests.cli.command_line import holdfast

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def processes_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What processes of the cloud inherit: this package, and a clouds.yaml that is nobody else's."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["HOLDFAST_CLOUDS_YAML"] = str(tmp_path_factory.mktemp("clouds") / "clouds.yaml")
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory, processes_environment: None) -> Iterator[Path]:
    """The state directory of a cloud that runs, with an image `tiny` that nothing can boot."""
    state = tmp_path_factory.mktemp("cloud") / "state"
    up = holdfast("--state", state, "up", "--hypervisor", "simulated", "--port", free_port())
    try:
        assert up.status == 0, up.out + up.err
        image_make(admin_of(state), "tiny")
        yield state
    finally:
        gone = holdfast("--state", state, "destroy", "--yes")
    assert gone.status == 0, gone.out + gone.err


def admin_of(state: Path) -> Cloud:
    """The administrator's own session with the cloud."""
    return Cloud(Http(), credentials_find(state, True, {}))


def image_make(cloud: Cloud, name: str) -> None:
    """A public raw image of 1 MiB."""
    wanted = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    image = cloud.post("image", "/images", wanted)
    headers = {"X-Auth-Token": cloud.session.token, "Content-Type": "application/octet-stream"}
    answer = Http().request("PUT", cloud.url("image") + f"/images/{image['id']}/file", bytes(1 << 20), headers)
    assert answer.status == 204, json.dumps(answer.body.decode())


@pytest.fixture
def here(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same cloud as the one that commands mean, with no server in it afterwards."""
    monkeypatch.setenv("HOLDFAST_STATE", str(simulated))
    yield simulated
    names = [server["id"] for server in holdfast("list", "--json").json]
    if names:
        removed = holdfast("rm", *names)
        assert removed.status == 0, removed.err
