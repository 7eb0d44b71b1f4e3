"""The command that asks for an evacuation is killed, at every request that it makes: nothing of it stays but the acts.

FAULTS EVA-12: no lock, no flag, no state of its own; the same words from another machine find the acts and go on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from holdfast.base.limits import HOST_DOWN_S, HOST_LEASE_S, LEASE_MARGIN_S
from tests.cli.conftest import ROOT
from tests.cli.loopback import Asked, serving
from tests.conftest import PASSWORDS, Cloud
from tests.world import CAPABILITIES, IMAGE, World

SHARED = msgspec.structs.replace(CAPABILITIES, disk_store="11111111-2222-4333-8444-555555555555")
SERVERS = 2
COMMAND_S = 60
ENTRY = "from holdfast.cli.main import main; main()"
UNTOUCHED = ("host", "host_lease", "instance", "allocation", "quota", "server_group")  # where a flag could be left


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    """Of three hosts, whose first one is dead with two servers."""
    world = World(cloud, tmp_path, hosts=3, capabilities=SHARED)
    asked = {"imageRef": IMAGE, "flavorRef": "42", "networks": "none", "availability_zone": "nova:h1"}
    for number in range(SERVERS):
        made = world.nova("POST", "/servers", {"server": {"name": f"s{number}", **asked}}, world.admin)
        assert made.status == 202
    world.settle()
    assert list(world.running().values()) == [["h1"]] * SERVERS
    world.hosts[0].die()
    world.pass_time(HOST_LEASE_S + LEASE_MARGIN_S + HOST_DOWN_S)
    return world


class Killing:
    """Kills the command at its Nth request, before that is heard or when it is done and not yet answered."""

    def __init__(self, world: World, number: int, heard: bool) -> None:
        self.world, self.number, self.heard = world, number, heard
        self.process: subprocess.Popen[str] | None = None
        self.killed = False

    def answer(self, asked: Asked) -> tuple[int, dict[str, str], Any] | None:
        self.number -= 1
        if self.number == 0 and not self.heard:
            return self._kill()
        headers = {name: asked.headers[name] for name in ("x-auth-token", "content-type") if name in asked.headers}
        answer = self.world.cloud.client.request(asked.method, asked.path, asked.body or None, headers)
        return self._kill() if self.number == 0 else (answer.status, answer.headers, answer.body)

    def _kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.killed = True


def evacuate(home: Path, killing: Killing, *, elsewhere: bool = False) -> tuple[int, str]:
    """Run the command to its end, or until it is killed; `elsewhere` there is no state directory of the cloud."""
    home.mkdir()
    with serving(killing.answer) as loopback:
        words = {"PYTHONPATH": str(ROOT), "HOME": str(home)}
        if elsewhere:
            words |= {"OS_AUTH_URL": f"{loopback.url}/identity", "OS_USERNAME": "admin", "OS_PROJECT_NAME": "admin"}
            words["OS_PASSWORD"] = PASSWORDS["admin"]
        else:
            users = {name: {"password": password, "project": name} for name, password in PASSWORDS.items()}
            (home / "credentials.json").write_text(json.dumps({"endpoint": loopback.url, "users": users}))
        argv = [sys.executable, "-c", ENTRY, "--state", str(home), "evacuate", "h1"]
        pipe = subprocess.PIPE
        killing.process = subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **words})
        out, err = killing.process.communicate(timeout=COMMAND_S)
        return killing.process.returncode, out + err


def rows(world: World) -> dict[str, Any]:
    return {name: world.store.read(lambda tx, name=name: tx.all(text(f"SELECT * FROM {name}"))) for name in UNTOUCHED}  # type: ignore[misc]


def acts(world: World) -> list[dict[str, Any]]:
    return list(world.admin.get("/operator/v1/evacuations").json["evacuations"])


def test_killed_at_any_request_it_leaves_nothing_and_from_another_machine_it_goes_on(
    world: World, tmp_path: Path
) -> None:
    before, known, kills = rows(world), set(), 0
    for number in range(1, 10):
        for heard in (False, True):
            killing = Killing(world, number, heard)
            evacuate(tmp_path / f"machine-{number}-{heard}", killing)
            kills += killing.killed
            assert rows(world) == before
            now = {act["id"] for act in acts(world)}
            assert len(now) in (0, SERVERS) and known <= now
            known = now
        if not killing.killed:
            break
    assert known and kills > 2
    status, said = evacuate(tmp_path / "another", Killing(world, 0, False), elsewhere=True)
    assert status == 0, said
    world.settle()
    assert {act["id"]: act["state"] for act in acts(world)} == dict.fromkeys(known, "done")
    assert [len(hosts) for hosts in world.running().values()] == [1] * SERVERS
    assert all(hosts != ["h1"] for hosts in world.running().values())
