"""What there is of a cloud: in the kernel, on the disk, in the rows and in the answers of its APIs; before and after.

Two looks are compared, so whatever is left is named, also what nobody thought of. Of the rows only history may grow.
"""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.blackbox.sampler import guests
from tests.stories.livecloud import LiveCloud

SETTLE_S = 20.0  # reports and removals that follow a last answer
SPACES = Path("/run/netns")
LINKS, ADDRESSES, RULES = ("ip", "-o", "link"), ("ip", "-o", "addr"), ("nft", "list", "ruleset")
ALIVE = {  # rows of these stay as history, or while an address rests: only such as these would be left
    "console": "instance_id NOT IN (SELECT id FROM instance)",
    "instance": "state <> 'deleted'",
    "operation": "state = 'open'",
    "operation_event": "FALSE",
    "subnet_address": "port_id <> ''",
    "revision": "FALSE",  # counters
}
KEPT = ("cache", "network")  # below a host: pictures of images, and files that are written anew
LISTS = (
    "/compute/v2.1/servers?all_tenants=1",
    "/volume/v3/volumes",
    "/network/v2.0/ports",
    "/network/v2.0/floatingips",
)
QUOTAS = (
    "/compute/v2.1/os-quota-sets/{}/detail",
    "/network/v2.0/quotas/{}/details",
    "/volume/v3/os-quota-sets/{}?usage=true",
)
Look = dict[str, Any]


@dataclass
class World:
    """One cloud on one host of this machine."""

    cloud: LiveCloud
    asked: Callable[[str], Any]  # GET, as an administrator

    def look(self) -> Look:
        return {**self._kernel(), **self._files(), **self._rows(), **self._answers()}

    def settled(self, before: Look) -> list[str]:
        """What differs, for as long as it does; then what the audit finds."""
        until_s, now = time.monotonic() + SETTLE_S, self.look()
        while now != before and time.monotonic() < until_s:
            now = self.look()
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        left = [f"{name}: was {_short(before.get(name))}, is {_short(now.get(name))}" for name in names]
        audit = self.cloud.start("audit")
        said = audit.communicate(timeout=60)[0].decode()
        return left if audit.returncode == 0 else [*left, *said.splitlines()]

    def _kernel(self) -> Look:
        """Of the host's own namespace only what has our prefix; the others are ours as they are."""
        prefix, lines = f"{self.cloud.flags[1]}-", list[str]()
        spaces = sorted(path.name for path in SPACES.glob(f"{prefix}*"))
        for space in ("", *spaces):
            said = [_said(space, *words).splitlines() for words in (LINKS, ADDRESSES, RULES)]
            lines += [f"{space}: {line.strip()}" for part in said for line in part if space or prefix in line]
        ours = [pid for pids in guests().values() for pid in pids if pid in self.cloud.processes()]
        return {"QEMU processes": ours, "namespaces": spaces, "links, addresses and rules": lines}

    def _files(self) -> Look:
        found = {}
        for home in (self.cloud.state / "hosts").iterdir():
            for path in home.iterdir():
                if path.is_dir() and path.name not in KEPT:
                    found[f"files of {home.name}/{path.name}"] = sorted(str(each) for each in path.rglob("*"))
        return found

    def _rows(self) -> Look:
        with closing(sqlite3.connect(f"file:{self.cloud.state / 'store.sqlite'}?mode=ro", uri=True)) as store:
            names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counted = {name: f"SELECT count(*) FROM {name} WHERE {ALIVE.get(name, 'TRUE')}" for name in names}
            return {f"rows of {name}": store.execute(query).fetchone()[0] for name, query in counted.items()}

    def _answers(self) -> Look:
        """What the APIs list, what they count against quotas, and what is promised on hosts."""
        found: Look = {}
        for path in LISTS:
            (kind, listed), *_ = self.asked(path).items()
            found[f"{kind} that are listed"] = sorted(str(each["id"]) for each in listed)
        project = self.asked("/identity/v3/auth/projects")["projects"][0]["id"]
        for path in QUOTAS:
            quota = next(iter(self.asked(path.format(project)).values()))
            found |= {f"quota of {name}": each for name, each in quota.items() if name != "id"}
        for provider in self.asked("/placement/resource_providers")["resource_providers"]:
            path = f"/placement/resource_providers/{provider['uuid']}"
            found[f"allocations on {provider['name']}"] = self.asked(f"{path}/allocations")["allocations"]
            found[f"usages on {provider['name']}"] = self.asked(f"{path}/usages")["usages"]
        return found


def traces(cloud: LiveCloud, server_id: str) -> list[str]:
    """What is left of one server on this machine."""
    found = [f"process {pid}" for pid in guests().get(server_id, ())]
    return found + [str(path) for path in (cloud.state / "hosts").glob(f"*/*/{server_id}*")]


def _short(seen: Any) -> str:
    return str(seen)[:2000]


def _said(space: str, *command: str) -> str:
    """What a command says in a namespace; nothing of one that is just being removed."""
    inside = ("ip", "netns", "exec", space) if space else ()
    done = subprocess.run((*inside, *command), capture_output=True, text=True)
    assert done.returncode == 0 or (space and not (SPACES / space).exists()), (command, done.stderr)
    return done.stdout
