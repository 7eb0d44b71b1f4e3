"""The clock of the whole machine is set, while servers run and one host dies: nobody else is taken for dead.

Real processes, which read the time of day through `ahead.c`, some seconds from the kernel's; the clocks that never step
(CLOCK_MONOTONIC, CLOCK_BOOTTIME) are left alone, as the kernel leaves them when a time service steps. Not libfaketime:
absolute sleeps on those end there with EINVAL. FAULTS CLK-01.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import HOST_LEASE_S, LEASE_MARGIN_S
from tests.blackbox.evacuations import SERVERS, Evacuations, make_cloud
from tests.blackbox.sampler import guests, runs
from tests.stories.bareguest import until
from tests.stories.livecloud import LiveCloud

PREFIX = "hfbk"
FLAGS = ("--prefix", PREFIX, "--private-cidr", "10.86.0.0/24", "--public-cidr", "172.24.86.0/24")
FLAGS = (*FLAGS, "--underlay-cidr", "10.86.64.0/20")
SOURCE = Path(__file__).with_name("ahead.c")
STEPS_S = (90, -180, 90, 86_400, -172_800, 86_400, -3600)  # so that each instant of the row is met: ±90 s, ±1 day, -1 h
WATCHED_S = HOST_LEASE_S + LEASE_MARGIN_S + 10.0  # whoever were taken for dead would be evacuated by then
WHOLE_S = 300.0


@dataclass
class SteppedCloud(LiveCloud):
    """A cloud whose processes, QEMU among them, read the time of day through a file."""

    ahead_s: int = field(default=0, init=False)

    @property
    def file(self) -> Path:
        return self.room / "ahead"

    def environment(self) -> dict[str, str]:
        library = self.room / "ahead.so"
        if not library.exists():
            if shutil.which("cc") is None:
                raise AssertionError("a C compiler is needed; next: apt-get install gcc libc6-dev")
            subprocess.run(("cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)), check=True)
            self.step(0)
        return {**super().environment(), "LD_PRELOAD": str(library), "AHEAD_FILE": str(self.file)}

    def step(self, by_s: int) -> None:
        self.ahead_s += by_s
        new = self.file.with_suffix(".new")
        new.write_text(f"{self.ahead_s}\n")
        new.chmod(0o644)
        new.replace(self.file)


def clocks_cloud(room: Path) -> SteppedCloud:
    """One that is not up yet."""
    made = make_cloud(room, FLAGS)
    return SteppedCloud(made.room, made.flags)


class Clocks:
    """A cloud that is up, with servers, and steps of its clock."""

    def __init__(self, cloud: SteppedCloud, dice: random.Random, say: Callable[[str], None] = print) -> None:
        self.cloud, self.say = cloud, say
        self.rounds = Evacuations(cloud, dice, say)
        self.wrong: list[str] = []
        self.made = 0

    def prepare(self, servers: int) -> None:
        self.rounds.prepare(servers)
        until(self.rounds._enforced, WHOLE_S)

    def step(self, by_s: int, watched_s: float = WATCHED_S) -> None:
        """Set the clock; everybody lives on, no act begins unasked, and a server that is asked for is made."""
        where, pids = self.rounds._where(), guests()
        self.cloud.step(by_s)
        self.say(f"the clock is set by {by_s:+d} s, and is {self.cloud.ahead_s:+d} s from the real one")
        until_s = time.monotonic() + watched_s
        self._one_more()
        while time.monotonic() < until_s:
            self._judge(f"after a step of {by_s:+d} s", where, pids)
            threading.Event().wait(0.5)

    def host_dies(self, by_s: int) -> None:
        """A host loses its power, and the clock is set while its lease runs out: it alone is left."""
        where, pids = self.rounds._where(), guests()
        victim = sorted(where.values())[0]
        self.cloud.run("host", "kill", victim)
        self.cloud.step(by_s)
        self.say(f"{victim} dies, and the clock is set by {by_s:+d} s")
        stays = {server_id: host for server_id, host in where.items() if host != victim}

        def left() -> bool:
            self._judge(f"when {victim} died", stays, pids, victim)
            with suppress(HoldfastError, OSError):
                return victim not in self.rounds._where().values()
            return False

        until(left, WHOLE_S)
        self.cloud.run("host", "start", victim)
        until(self.rounds._whole, WHOLE_S)

    def _judge(self, when: str, where: dict[str, str], pids: dict[str, list[int]], dead: str = "") -> None:
        hosts = {host["name"]: host for host in self.rounds._asked("/operator/v1/hosts")["hosts"]}
        gone = [name for name, host in hosts.items() if name != dead and host["phase"] != "member"]
        now, alive = self.rounds._where(), guests()
        moved = [server_id for server_id, host in where.items() if now.get(server_id) != host]
        ended = [i for i in where if alive.get(i) != pids[i] or not runs(pids[i][0])]
        said = [f"{what} {when}: {who}" for what, who in (("fenced", gone), ("moved", moved), ("ended", ended)) if who]
        self.wrong += said
        for words in said:
            self.say(words)

    def _one_more(self) -> None:
        """What works on requests goes on, whatever the clock says."""
        session = self.rounds._session()
        image = next(each["id"] for each in session.get("/image/v2/images")["images"] if each["name"] == "blank")
        self.made += 1
        body = {"name": f"made{self.made}", "imageRef": image, "flavorRef": "42", "networks": "none"}
        server_id = session.post(SERVERS, {"server": body})["server"]["id"]
        session.close()
        until(lambda: self.rounds._asked(f"{SERVERS}/{server_id}")["server"]["status"] == "ACTIVE", WHOLE_S)
