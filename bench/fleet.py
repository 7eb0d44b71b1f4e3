"""Many compute hosts that pretend, in one process: each makes the requests of an agent and a keeper, at their periods.

`python -m bench.fleet --port N --hosts FILE --seconds S` serves the hosts in the file for so long and prints what it
met as JSON. Only the far ends are simulated: requests, connections and the control plane are real. What an agent does
with its desired state takes no time here, and is reported at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.client import Answer, Http
from holdfast.base.limits import DESIRED_POLL_S, FULL_REPORT_S, HOST_LEASE_S, KEEPER_RENEWALS, REPORT_PERIOD_S
from holdfast.domain.desired import HostUpdate, Power
from holdfast.domain.observed import Capabilities, HostReport, MachineReport, Phase

BOOT = "3f0c8a52-0000-4000-8000-000000000001"


class Seed(msgspec.Struct, frozen=True):
    """One host of the file, and what runs on it already."""

    id: str
    token: str
    address: str
    machines: tuple[MachineReport, ...] = ()


@dataclass
class Met:
    """What all hosts met, counted."""

    renewals: int = 0
    late: int = 0  # renewals that were answered when the lease before had lapsed
    reports: int = 0
    polls: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_renewal_ms: float = 0.0


class FleetHost:
    """One host."""

    def __init__(self, seed: Seed, port: int, met: Met, vcpus: int) -> None:
        self._seed, self._met = seed, met
        self._http, self._port = Http("127.0.0.1", port), port
        self._machines = {machine.instance_id: machine for machine in seed.machines}
        self._news: dict[str, MachineReport] = {}
        self._since, self._incarnation = 0, 0
        self._changed = asyncio.Event()
        where = (f"fleet {seed.address}", seed.address)
        self._capabilities = Capabilities(vcpus, vcpus * 4096, vcpus * 100, "simulated", "", "simulated", "1", *where)

    async def live(self, shared: str) -> None:
        """Register, then poll, report and renew until cancelled."""
        self._capabilities = msgspec.structs.replace(self._capabilities, disk_store=shared)
        body = {"boot_id": BOOT, "machine": self._seed.id}
        self._incarnation = (await self._call("POST", "/register", body)).json["incarnation"]
        async with asyncio.TaskGroup() as group:
            for loop in (self._poll, self._report, self._renew):
                group.create_task(loop())

    async def _poll(self) -> None:
        while True:
            answer = await self._call("GET", f"/desired?since={self._since}&wait_s={DESIRED_POLL_S}")
            self._met.polls += 1
            if answer.status == 200:
                self._take(msgspec.json.decode(answer.body, type=HostUpdate))
            elif answer.status != 204:
                await asyncio.sleep(1)

    def _take(self, update: HostUpdate) -> None:
        for wanted in update.machines:
            numbers = (wanted.instance_id, wanted.generation, wanted.boot, wanted.disk)
            phase = Phase.RUNNING if wanted.power is Power.RUNNING else Phase.STOPPED
            said = MachineReport(*numbers, phase if wanted.present else Phase.ABSENT)
            self._machines.pop(wanted.instance_id, None)
            self._news[wanted.instance_id] = said
            if wanted.present:
                self._machines[wanted.instance_id] = said
        self._since = update.version
        self._changed.set()

    async def _report(self) -> None:
        await asyncio.sleep(random.uniform(0, REPORT_PERIOD_S))
        full_s = -FULL_REPORT_S * 1.0
        while True:
            full = time.monotonic() - full_s >= FULL_REPORT_S
            said = tuple(self._machines.values()) if full else tuple(self._news.values())
            self._news.clear()
            report = HostReport(full, self._since, self._capabilities, said, (), (), 100, ())
            await self._call("POST", "/report", msgspec.json.encode(report))
            self._met.reports += 1
            full_s = time.monotonic() if full else full_s
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPORT_PERIOD_S)
            self._changed.clear()

    async def _renew(self) -> None:
        period_s = HOST_LEASE_S / KEEPER_RENEWALS
        await asyncio.sleep(random.uniform(0, period_s))
        until_s = time.monotonic() + HOST_LEASE_S
        while True:
            asked_s = time.monotonic()
            fresh = Http("127.0.0.1", self._port)  # a keeper keeps no connection
            answer = await self._call("POST", "/lease", {"incarnation": self._incarnation, "boot_id": BOOT}, fresh)
            fresh.close()
            now_s = time.monotonic()
            self._met.slowest_renewal_ms = max(self._met.slowest_renewal_ms, round((now_s - asked_s) * 1000, 1))
            if answer.status == 200:
                self._met.renewals += 1
                self._met.late += now_s > until_s
                until_s = asked_s + answer.json["valid_s"]
            await asyncio.sleep(max(0.0, asked_s + period_s - time.monotonic()))

    async def _call(self, method: str, path: str, body: Any = None, http: Http | None = None) -> Answer:
        headers = {"x-host-token": self._seed.token, "x-host-incarnation": str(self._incarnation)}
        try:
            answer = await (http or self._http).request(method, f"/hosts/v1/{self._seed.id}{path}", body, headers)
        except OSError as err:
            self._failed(f"{method} {path}: {err}")
            return Answer(0, {}, b"")
        if answer.status >= 300:
            self._failed(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer

    def _failed(self, words: str) -> None:
        if len(self._met.failures) < 20:
            self._met.failures.append(words)


async def serve(port: int, seeds: list[Seed], seconds: float, vcpus: int, shared: str) -> None:
    """Be these hosts for so long, print what they met, and end."""
    met = Met()
    tasks = [asyncio.create_task(FleetHost(seed, port, met, vcpus).live(shared)) for seed in seeds]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()  # one that ended has failed
    print(json.dumps(vars(met)), flush=True)
    os._exit(0)  # thousands of connections would be closed one by one


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hosts", type=Path, required=True, help="JSON: a list of bench.fleet.Seed")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--vcpus", type=int, default=64)
    parser.add_argument("--shared", default="", help="identity of the disks that all of them share")
    options = parser.parse_args()
    seeds = msgspec.json.decode(options.hosts.read_bytes(), type=list[Seed])
    asyncio.run(serve(options.port, seeds, options.seconds, options.vcpus, options.shared))


if __name__ == "__main__":
    main()
