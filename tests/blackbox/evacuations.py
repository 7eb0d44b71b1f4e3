"""Hosts die in many ways, while other processes are killed and frozen: each guest runs once, always, and at last.

A round takes one host away (its plug, its wire, a freeze of all that it runs) and breaks a few other things at random
instants; then everything is whole again, and each server must run once, where the rows say, with a clean audit.
FEATURES D1, D3, D4, D6, D7; FAULTS EVA-01, 02, 04, 06, 07, I1.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.base.errors import HoldfastError
from holdfast.client.session import Session
from tests.blackbox.sampler import guests, runs
from tests.stories.bareguest import until
from tests.stories.livecloud import COMMAND_S, LiveCloud

PREFIX = "hfbx"
FLAGS = ("--prefix", PREFIX, "--private-cidr", "10.74.0.0/24", "--public-cidr", "172.24.74.0/24")
FLAGS = (*FLAGS, "--underlay-cidr", "10.74.64.0/20")
SERVERS = "/compute/v2.1/servers"
ROOT_FAULTS = ("plug", "plug", "wire", "freeze")
AWAY_S = 75.0  # lease, margin and a look: evacuated within 40 s, and some time to get there
FREEZE_S = 45.0  # longer than a lease
WHOLE_S = 300.0  # everything ends within this of the healing


@dataclass
class Evacuations:
    """A cloud that is up, with servers, and what was done to it."""

    cloud: LiveCloud
    dice: random.Random
    say: Callable[[str], None] = print
    moved: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def prepare(self, servers: int) -> None:
        """Servers without anything to boot: what counts is the process and its disk."""
        session = self._session()
        made = session.post("/image/v2/images", {"name": "blank", "disk_format": "raw", "container_format": "bare"})
        (self.cloud.room / "blank").write_bytes(bytes(1 << 20))
        session.upload(f"/image/v2/images/{made['id']}/file", self.cloud.room / "blank")
        project = session.get("/identity/v3/auth/projects")["projects"][0]["id"]
        quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
        session.put(f"/compute/v2.1/os-quota-sets/{project}", quota)
        for number in range(servers):
            body = {"name": f"s{number}", "imageRef": made["id"], "flavorRef": "42", "networks": "none"}
            session.post(SERVERS, {"server": body})
        session.close()
        until(self._whole, WHOLE_S)

    def round(self) -> None:
        """One host goes, and comes back."""
        before = self._where()
        victim = self.dice.choice(sorted(before.values()))  # one that holds servers, rather one that holds many
        fault = self.dice.choice(ROOT_FAULTS)
        self.counts[fault] += 1
        others = [(self.dice.uniform(0, AWAY_S), self.dice.choice(BESIDE)) for _ in range(self.dice.randint(0, 4))]
        self.say(f"{victim}: {fault}; {[f'{name} at {at_s:.0f} s' for at_s, name in sorted(others)]}")
        until(self._enforced, 120)
        began_s = time.monotonic()
        heal = getattr(self, f"_{fault}")(victim)
        try:
            for at_s, name in sorted(others):
                _pause_until(began_s + at_s)
                self.counts[name] += 1
                getattr(self, f"_{name}")(victim)
            _pause_until(began_s + (FREEZE_S if fault == "freeze" else AWAY_S))
        finally:
            heal()
            self._all_plugs_in()
        until(self._whole, WHOLE_S)
        after = self._where()
        self.moved += sum(after[server_id] != host for server_id, host in before.items())
        assert "nothing is out of order" in self.cloud.run("audit")

    # what takes a host away; each returns what brings it back

    def _plug(self, host: str) -> Callable[[], None]:
        self.cloud.run("host", "kill", host)
        return lambda: None

    def _wire(self, host: str) -> Callable[[], None]:
        number = json.loads((self.cloud.state / "hosts" / host / "seat").read_text())["number"]
        link = f"{PREFIX}0-u{number}"
        subprocess.run(("ip", "link", "set", link, "down"), check=True)
        return lambda: _ran("ip", "link", "set", link, "up")

    def _freeze(self, host: str) -> Callable[[], None]:
        """Keeper last and first back, as a host that is suspended has them: no guest runs without it."""
        pids = [*self._guests_of(host), *self.cloud.pids_of("agent", host), *self.cloud.pids_of("keeper", host)]
        for pid in pids:
            _signal(pid, signal.SIGSTOP)

        def thaw() -> None:
            for pid in reversed(pids):
                _signal(pid, signal.SIGCONT)

        return thaw

    # what happens beside it

    def _control_killed(self, _: str) -> None:
        self._each("control", signal.SIGKILL)

    def _control_frozen(self, _: str) -> None:
        pids = self.cloud.pids_of("control")
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        _pause_until(time.monotonic() + self.dice.uniform(1, 12))
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    def _agent_killed(self, victim: str) -> None:
        self._each("agent", signal.SIGKILL, self._another(victim))

    def _keeper_killed(self, victim: str) -> None:
        self._each("keeper", signal.SIGKILL, self._another(victim))

    def _target_unplugged(self, victim: str) -> None:
        self.cloud.run("host", "kill", self._another(victim))

    def _supervisor_killed(self, _: str) -> None:
        self._each("supervisor", signal.SIGKILL)
        up = self.cloud.start("up", "--port", str(self.cloud.port), *FLAGS)
        up.communicate(timeout=COMMAND_S)  # it ends with 1 while the host whose plug is pulled does not report

    # the world

    def _each(self, part: str, number: int, host: str = "") -> None:
        for pid in self.cloud.pids_of(part, host):
            _signal(pid, number)

    def _guests_of(self, host: str) -> list[int]:
        where = self._where()
        return [pid for server_id, pids in guests().items() if where.get(server_id) == host for pid in pids]

    def _another(self, host: str) -> str:
        return self.dice.choice([name for name in self._hosts() if name != host])

    def _hosts(self) -> list[str]:
        return sorted(path.name for path in (self.cloud.state / "hosts").iterdir())

    def _all_plugs_in(self) -> None:
        for host in self._hosts():
            self.cloud.run("host", "start", host)

    def _session(self) -> Session:
        known = json.loads((self.cloud.state / "credentials.json").read_text())["users"]["admin"]
        session = Session(f"http://127.0.0.1:{self.cloud.port}")
        session.login("admin", known["password"], "demo")
        return session

    def _asked(self, path: str) -> Any:
        session = self._session()
        try:
            return session.get(path)
        finally:
            session.close()

    def _servers(self) -> list[dict[str, Any]]:
        return list(self._asked(f"{SERVERS}/detail?limit=1000")["servers"])

    def _where(self) -> dict[str, str]:
        return {server["id"]: server["OS-EXT-SRV-ATTR:host"] for server in self._servers()}

    def _enforced(self) -> bool:
        return all(host["lease_enforced"] for host in self._asked("/operator/v1/hosts")["hosts"])

    def _whole(self) -> bool:
        """Every host is a member again, and every server runs as one process."""
        threading.Event().wait(1)  # asking costs what the cloud needs to get there
        try:
            hosts = self._asked("/operator/v1/hosts")["hosts"]
            servers = self._servers()
        except (HoldfastError, OSError):
            return False
        if any((host["state"], host["phase"]) != ("up", "member") for host in hosts):
            return False
        if any(server["status"] != "ACTIVE" or server["OS-EXT-STS:task_state"] for server in servers):
            return False
        found = guests()
        return all(len(found.get(server["id"], ())) == 1 and runs(found[server["id"]][0]) for server in servers)


BESIDE = ("control_killed", "control_killed", "control_frozen", "agent_killed", "keeper_killed")
BESIDE += ("target_unplugged", "supervisor_killed")


def _pause_until(at_s: float) -> None:
    threading.Event().wait(max(0.0, at_s - time.monotonic()))


def _ran(*command: str) -> None:
    subprocess.run(command, check=True)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def make_cloud(room: Path, flags: tuple[str, ...] = FLAGS) -> LiveCloud:
    """One with guests in emulation that is not up yet; which accelerator works is another story's."""
    os.chmod(room, 0o711)
    live = LiveCloud(room, flags)
    (live.state / "run").mkdir(parents=True)
    (live.state / "run" / "proved").touch()
    (live.state / "holdfast.toml").write_text('accelerator = "tcg"\n')
    return live
