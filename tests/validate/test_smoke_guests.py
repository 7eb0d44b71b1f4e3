"""The whole of it with real guests: up, launch, ssh, smoke through both APIs, rm, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import holdfast
from tests.cli.conftest import free_port

NETWORKS = ("--prefix", "hfsmk", "--private-cidr", "10.92.0.0/24", "--public-cidr", "172.30.92.0/24")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, processes_environment: None) -> Iterator[Path]:
    """The state directory of a cloud with real guests."""
    state = tmp_path_factory.mktemp("real") / "state"
    up = holdfast("--state", state, "up", "--port", free_port(), *NETWORKS)
    try:
        assert up.status == 0, up.out + up.err
        yield state
    finally:
        gone = holdfast("--state", state, "destroy", "--yes")
    assert gone.status == 0, gone.out + gone.err


def as_a_process(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """For `ssh`, which becomes another program."""
    code = "from holdfast.cli.main import main; main()"
    environment = {**os.environ, "HOLDFAST_STATE": str(state)}
    argv = [sys.executable, "-P", "-c", code, *words]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.root
@pytest.mark.qemu
def test_a_launched_guest_lets_its_owner_in(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(real))
    ran = holdfast("launch", "web", "--json")
    assert ran.status == 0, ran.out + ran.err
    phases = [event["phase"] for event in ran.events if event["event"] == "phase"]
    assert phases == ["scheduled", "network", "image", "running", "booted", "ssh"]
    assert ran.events[-1]["ready"] is True
    inside = as_a_process(real, "ssh", "web", "--", "uname", "-n")
    assert (inside.stdout.strip(), inside.returncode) == ("web", 0)
    assert as_a_process(real, "ssh", "web", "--", "exit", "7").returncode == 7
    assert "holdfast-guest: ready at" in holdfast("console", "web").out
    assert holdfast("rm", "web").status == 0
    assert (real / "client" / "holdfast_known_hosts").read_text() == ""


@pytest.mark.root
@pytest.mark.qemu
@pytest.mark.parametrize("words", [["--ec2", "--elastic"], ["--ec2"], ["--openstack", "--clients", "2"]])
def test_ten_steps_go_well_with_real_guests(real: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(real))
    ran = holdfast("smoke", *words)
    assert ran.status == 0, ran.out + ran.err
    assert_in_order_within(15)


def assert_in_order_within(timeout_s: float) -> None:
    """The host takes a network's namespace away a moment after its last guest."""
    deadline_s = time.monotonic() + timeout_s
    while (audit := holdfast("audit")).status != 0:
        assert time.monotonic() < deadline_s, audit.out
