"""What many hosts cost: a thousand of them at rest, and a thousand instances of one that dies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import func, select

from bench.cloud import ROOT, Cloud, cloud_up
from bench.fleet import Seed
from bench.load import Figures
from bench.processes import CpuUsed, cpu_s
from holdfast.base import config, ids
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.fencing.host_lease import lease_fetch
from holdfast.control.store.host import allocation_insert, host_insert
from holdfast.control.store.instance import (
    instance,
    instance_insert,
    instances_of_host,
    observation,
    observations_write,
)
from holdfast.domain.desired import Power
from holdfast.domain.host import Allocation
from holdfast.domain.instance import Flavor, Instance, InstanceState, Observation, instance_new
from holdfast.domain.lease import HostPhase
from holdfast.domain.observed import MachineReport, Phase

FLAVOR = Flavor("fleet", "fleet", 1, 512, 1)
TOKEN = "fleet"
SETTLE_S = 30  # registrations, first reports, and what they wake
HOSTS, EACH = 1000, 20
LIVES_S = 25  # long enough to have renewed a lease that counts
DIES_S = 150  # until its lease lapsed, and for all that comes then
_RUNNING = (
    select(func.count())
    .select_from(observation)
    .join(instance, instance.c.id == observation.c.instance_id)
    .where(observation.c.host_id == instance.c.host_id, observation.c.phase == Phase.RUNNING)
    .where(observation.c.generation == instance.c.generation)
)


def fleet_make(cloud: Cloud, counts: list[int]) -> list[Seed]:
    """One host for each number, with so many instances that run on it: rows, as launches would have left them."""
    store = Database(config.load(cloud.state).store_url)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    seeds = []
    for number, count in enumerate(counts):
        host_id, address = ids.new_id(), f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        rows = [_instance(host_id, f"f{number}-{n}") for n in range(count)]

        def change(tx: Tx, number: int = number, host_id: str = host_id, rows: list[Instance] = rows) -> None:
            host_insert(tx, host_id, f"fleet-{number}", "nova", digest)
            for row in rows:
                instance_insert(tx, row)
                allocation_insert(tx, Allocation(row.id, host_id, FLAVOR.vcpus, FLAVOR.memory_mib, FLAVOR.disk_gib))
            observations_write(tx, [_observation(row, tx.now_us) for row in rows])

        store.write(change)
        seeds.append(Seed(host_id, TOKEN, address, tuple(MachineReport(r.id, 1, 1, 1, Phase.RUNNING) for r in rows)))
    store.close()
    return seeds


def _instance(host_id: str, name: str) -> Instance:
    words: dict[str, Any] = {"description": "", "key_name": "", "key_public": "", "user_data": "", "zone_asked": ""}
    words |= {"config_drive": False, "properties": {}, "tags": [], "security_groups": [], "group_id": ""}
    words |= {"project_id": "fleet", "user_id": "fleet", "reservation_id": "r", "launch_index": 0, "revision": 1}
    image = {"disk": {"id": ids.new_id(), "sha512": "", "size_bytes": 1, "disk_format": "raw"}, "kernel": None}
    words |= {"image": {**image, "ramdisk": None, "kernel_arguments": "", "virtual_bytes": 1}}
    words |= {"id": ids.new_id(), "name": name, "hostname": name, "flavor": FLAVOR}
    row = instance_new(1, **words)
    return msgspec.structs.replace(
        row, state=InstanceState.READY, power=Power.RUNNING, present=True, host_id=host_id, disk_made=1, launched_us=1
    )


def _observation(row: Instance, now_us: int) -> Observation:
    return Observation(row.id, row.host_id, 1, 1, 1, Phase.RUNNING, "", "", False, "", (), "", now_us)


class FleetProcess:
    """The process that is the hosts."""

    def __init__(self, cloud: Cloud, name: str, seeds: list[Seed], seconds: float, *more: str) -> None:
        self._file = cloud.state.parent / f"{name}.json"
        self._file.write_bytes(msgspec.json.encode(seeds))
        self._argv = [sys.executable, "-m", "bench.fleet", "--port", str(cloud.port), "--hosts", str(self._file)]
        self._argv += ["--seconds", str(seconds), *more]

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(*self._argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)

    async def end(self) -> dict[str, Any]:
        """Wait for it; returns what its hosts met."""
        out, _ = await self.process.communicate()
        return dict(json.loads(out))


async def idle_hosts(seconds: int) -> Figures:
    """A thousand hosts with twenty thousand instances at rest."""
    with cloud_up() as cloud:
        seeds = fleet_make(cloud, [EACH] * HOSTS)
        fleet = FleetProcess(cloud, "fleet", seeds, SETTLE_S + seconds)
        await fleet.start()
        await asyncio.sleep(SETTLE_S)
        control, before_s = cloud.pids()["control"], cpu_s(fleet.process.pid)
        used = CpuUsed([control])
        await asyncio.sleep(seconds - 2)
        percent = used.stop_s() / (seconds - 2) * 100
        fleet_percent = (cpu_s(fleet.process.pid) - before_s) / (seconds - 2) * 100
        met = await fleet.end()
    return {
        "hosts": HOSTS,
        "instances": HOSTS * EACH,
        "control_cpu_percent_of_a_core": round(percent, 1),
        "fleet_cpu_percent_of_a_core": round(fleet_percent, 1),
        "renewals": met["renewals"],
        "renewals_late": met["late"],
        "slowest_renewal_ms": met["slowest_renewal_ms"],
        "failures": len(met["failures"]),
        "first_failure": next(iter(met["failures"]), ""),
    }


async def dead_host(instances: int) -> Figures:
    """A host with so many instances dies; twenty others have room for them, and the same disks before them."""
    with cloud_up() as cloud:
        seeds = fleet_make(cloud, [instances] + [0] * 20)
        doomed = FleetProcess(cloud, "doomed", seeds[:1], LIVES_S, "--vcpus", "1000", "--shared", "fleet")
        others = FleetProcess(cloud, "others", seeds[1:], DIES_S, "--vcpus", "1000", "--shared", "fleet")
        for each in (doomed, others):
            await each.start()
        await doomed.end()
        store = Database(config.load(cloud.state).store_url)
        control = cloud.pids()["control"]
        fenced_s = await _until(lambda: store.read(lambda tx: lease_fetch(tx, seeds[0].id)).phase is HostPhase.FENCED)
        used = CpuUsed([control])
        claimed_s = await _until(lambda: not store.read(lambda tx: instances_of_host(tx, seeds[0].id)))
        running_s = await _until(lambda: store.read(_running) == instances)
        cpu_of_control_s = used.stop_s()
        store.close()
        others.process.terminate()
    return {
        "instances": instances,
        "claimed_s": round(claimed_s - fenced_s, 2),
        "running_s": round(running_s - fenced_s, 2),
        "control_cpu_s": round(cpu_of_control_s, 2),
    }


def _running(tx: Tx) -> int:
    """Instances that the host they are on now says to run."""
    return int(tx.value(_RUNNING))


async def _until(true: Callable[[], bool]) -> float:
    """The instant when it became true; looks twenty times a second."""
    async with asyncio.timeout(DIES_S):
        while not true():
            await asyncio.sleep(0.05)
    return time.perf_counter()
