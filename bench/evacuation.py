"""A host's plug is pulled: how long until its guests have booted on other hosts, beside the same guest by hand.

Real guests, several hosts on this machine, so root and QEMU. What is measured, for each server, ends when its guest
says on its new host's console that it is ready. It begins three times: when the plug was pulled; when the lease was
lost, which is its end by the store's clock; and when the proof was written down, from which on others may start it.

The yardstick is the same number of bare QEMUs, started at once on the same machine just before, with kernel, ramdisk,
memory and a disk that was booted from before: a boot takes as long as the others leave it of the processors.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.cloud import Cloud, Failed, cloud_directory
from bench.guests import accelerator_of, bare_command, packages_put
from bench.load import Figures
from bench.processes import CpuUsed, started_s
from bench.servers import SERVERS, until_active
from holdfast.base import config
from holdfast.base.clock import SECOND_US
from holdfast.base.limits import HOST_LEASE_S, LEASE_MARGIN_S
from holdfast.control.store.database import Database
from holdfast.control.store.fencing.host_lease import lease_fetch
from holdfast.domain.lease import HostLease, HostPhase
from holdfast.host.hypervisor.qemu.processes import processes_of

HOSTS, SOURCE = 3, "h2"
UNDERLAY_CIDR = "10.71.64.0/20"  # beside the ranges of bench.cloud
READY = b"holdfast-guest: ready"
BOOTS_S = 300  # until all guests of a round have booted
LOOK_S = 0.1  # between two looks at the consoles


async def evacuation(count: int) -> Figures:
    """Bare boots, then the launches on one host, then its end."""
    with cloud_directory(simulated=False) as cloud:
        packages_put(cloud)
        config.save(cloud.state / "holdfast.toml", {"vcpu_ratio": float(count)})  # one host has room for all of them
        cloud.up("--hosts", str(HOSTS), "--underlay-cidr", UNDERLAY_CIDR)
        bare = await _bare_boots(cloud, count)
        ids = await _launched(cloud, count)
        store = Database(config.load(cloud.state).store_url)
        try:
            figures = await _evacuated(cloud, store, ids)
        finally:
            store.close()
        figures |= _spread("bare_boot", bare)
        figures["beyond_lease_and_boot_s"] = round(_of(figures, "lost") - HOST_LEASE_S - _of(figures, "bare"), 2)
        figures["proof_beyond_boot_s"] = round(_of(figures, "proof") - _of(figures, "bare"), 2)
        return {"instances": count, "lease_s": HOST_LEASE_S, **figures, "accelerator": accelerator_of(cloud)}


async def _evacuated(cloud: Cloud, store: Database, ids: list[str]) -> Figures:
    host_id = (cloud.state / "hosts" / SOURCE / "id").read_text().strip()

    def lease() -> HostLease:
        return store.read(lambda tx: lease_fetch(tx, host_id))

    await _until(lambda: lease().enforced, HOST_LEASE_S)
    pulled_s = time.time()
    cloud.run("host", "kill", SOURCE)
    used = CpuUsed(cloud.processes().values())
    await _until(lambda: lease().phase is HostPhase.FENCED, 2 * (HOST_LEASE_S + LEASE_MARGIN_S))
    lost = lease()
    others = [home.resolve() for home in (cloud.state / "hosts").iterdir() if home.name != SOURCE]
    consoles = {home / "machines" / name / "console.log" for home in others for name in ids}
    booted_s = await _all_ready(consoles, len(ids))
    cpu_s = used.stop_s()
    processes_s = [started_s(each.pid) for home in others for each in processes_of(home) if each.instance_id in ids]
    if len(processes_s) != len(ids):
        raise Failed(f"{len(processes_s)} processes of {len(ids)} guests")
    lost_s, proof_s = lost.until_us / SECOND_US, lost.fenced_us / SECOND_US
    return {
        **_spread("lost_to_boot", [each - lost_s for each in booted_s]),
        **_spread("proof_to_boot", [each - proof_s for each in booted_s]),
        **_spread("pull_to_boot", [each - pulled_s for each in booted_s]),
        **_spread("proof_to_process", [each - proof_s for each in processes_s]),
        "cloud_cpu_s": round(cpu_s, 2),
    }


async def _launched(cloud: Cloud, count: int) -> list[str]:
    """So many servers that have booted on the host that will die; their ids."""
    for number in range(1, HOSTS + 1):
        if f"h{number}" != SOURCE:
            cloud.run("host", "disable", f"h{number}")
    await cloud.login()
    flavors = (await cloud.call("GET", "/compute/v2.1/flavors")).json["flavors"]
    images = (await cloud.call("GET", "/image/v2/images?name=tiny")).json["images"]
    networks = (await cloud.call("GET", "/network/v2.0/networks?name=private")).json["networks"]
    body = {"flavorRef": next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.nano")}
    body |= {"imageRef": images[0]["id"], "networks": [{"uuid": networks[0]["id"]}]}
    ids = []
    for number in range(count):
        made = await cloud.call("POST", SERVERS, {"server": {"name": f"bench-{number}", **body}}, want=202)
        ids.append(str(made.json["server"]["id"]))
    for server_id in ids:
        await until_active(cloud, server_id)
    machines = cloud.state / "hosts" / SOURCE / "machines"
    await _all_ready({machines / name / "console.log" for name in ids}, count)
    for number in range(1, HOSTS + 1):
        cloud.run("host", "enable", f"h{number}")
    return ids


async def _bare_boots(cloud: Cloud, count: int) -> list[float]:
    """Seconds until each of so many bare guests, started at once, is ready; the second boot of each disk."""
    with TemporaryDirectory(dir=cloud.home) as name:
        rooms = [Path(name) / str(number) for number in range(count)]
        commands = []
        for room in rooms:
            room.mkdir()
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", room / "key"], check=True)
            commands.append(bare_command(cloud, room, _free_port()))
        for _ in range(2):
            for room in rooms:
                (room / "serial").unlink(missing_ok=True)
            began_s = time.time()
            with _running(commands):
                ready_s = await _all_ready({room / "serial" for room in rooms}, count)
        return [each - began_s for each in ready_s]


@contextmanager
def _running(commands: list[list[str]]) -> Iterator[None]:
    processes = []
    try:
        for command in commands:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            processes.append(process)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _all_ready(consoles: set[Path], count: int) -> list[float]:
    """The instants at which so many of these consoles said that their guest is ready."""
    left, ready_s = set(consoles), list[float]()

    def look() -> bool:
        for path in [path for path in left if os.path.exists(path) and READY in path.read_bytes()]:
            left.remove(path)
            ready_s.append(time.time())
        return len(ready_s) == count

    await _until(look, BOOTS_S)
    return ready_s


async def _until(true: Callable[[], bool], bound_s: float) -> None:
    async with asyncio.timeout(bound_s):
        while not true():
            await asyncio.sleep(LOOK_S)


def _spread(name: str, times_s: list[float]) -> Figures:
    ordered = sorted(times_s)
    p50, p95 = (ordered[math.ceil(len(ordered) * part) - 1] for part in (0.5, 0.95))
    return {f"{name}_p50_s": round(p50, 2), f"{name}_p95_s": round(p95, 2), f"{name}_max_s": round(ordered[-1], 2)}


def _of(figures: Figures, begin: str) -> float:
    """Its 95th percentile until a guest has booted."""
    return float(figures[f"{begin}_boot_p95_s" if begin == "bare" else f"{begin}_to_boot_p95_s"])
