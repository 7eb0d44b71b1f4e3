"""Servers with the simulated hypervisor: what the control plane and the agent cost, without any guest."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.cloud import Cloud, Failed
from bench.load import Figures, load
from bench.processes import CpuUsed

CLIENTS = 16
POLL_S = 0.05
READY_S = 120
SERVERS = "/compute/v2.1/servers"


async def image_ensure(cloud: Cloud) -> str:
    """The id of a small image to boot from."""
    known = (await cloud.call("GET", "/image/v2/images?name=bench")).json["images"]
    if known:
        return str(known[0]["id"])
    body = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    image_id = str((await cloud.call("POST", "/image/v2/images", body, want=201)).json["id"])
    await cloud.call("PUT", f"/image/v2/images/{image_id}/file", bytes(1 << 20), want=204)
    return image_id


async def server_body(cloud: Cloud, networks: str) -> dict[str, Any]:
    """What a client sends; `networks` is none or auto."""
    flavors = (await cloud.call("GET", "/compute/v2.1/flavors")).json["flavors"]
    flavor = next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.nano")
    image = await image_ensure(cloud)
    return {"server": {"name": "bench", "imageRef": image, "flavorRef": flavor, "networks": networks}}


async def until_active(cloud: Cloud, server_id: str) -> None:
    """Ask for the server until it is ACTIVE; raises Failed for one that fails or takes too long."""
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        server = (await cloud.call("GET", f"{SERVERS}/{server_id}")).json["server"]
        if server["status"] == "ACTIVE":
            return
        if server["status"] != "BUILD":
            raise Failed(f"server {server_id} is {server['status']}: {server.get('fault')}")
        await asyncio.sleep(POLL_S)
    raise Failed(f"server {server_id} was not ACTIVE after {READY_S} s")


async def create(cloud: Cloud, networks: str, count: int) -> Figures:
    """Post, then ask until ACTIVE, from sixteen clients."""
    await cloud.login()
    body = await server_body(cloud, networks)
    posts_s: list[float] = []

    async def one(_: int) -> None:
        began_s = time.perf_counter()
        made = await cloud.call("POST", SERVERS, body, want=202)
        posts_s.append(time.perf_counter() - began_s)
        await until_active(cloud, made.json["server"]["id"])

    used = {name: CpuUsed([pid]) for name, pid in cloud.pids().items()}
    done = await load(count, CLIENTS, one)
    cpu_s = {name: each.stop_s() for name, each in used.items()}
    return {
        "servers": count,
        "servers_per_s": round(done.per_s, 1),
        "cpu_s_per_server": round(sum(cpu_s.values()) / count, 4),
        "control_cpu_s_per_server": round(cpu_s["control"] / count, 4),
        "agent_cpu_s_per_server": round(cpu_s["agent"] / count, 4),
        "post_median_ms": round(sorted(posts_s)[count // 2] * 1000, 1),
        "to_active_median_ms": done.ms(0.5),
        "to_active_95_ms": done.ms(0.95),
    }


async def delete(cloud: Cloud) -> Figures:
    """Delete every server there is, and wait until none is listed."""
    await cloud.login()
    ids = await server_ids(cloud)
    used = CpuUsed(cloud.pids().values())
    began_s = time.perf_counter()
    await load(len(ids), CLIENTS, lambda n: cloud.call("DELETE", f"{SERVERS}/{ids[n]}", want=204))
    deadline_s = time.monotonic() + READY_S
    while left := len(await server_ids(cloud)):
        if time.monotonic() > deadline_s:
            raise Failed(f"{left} servers were not deleted after {READY_S} s")
        await asyncio.sleep(POLL_S)
    wall_s = time.perf_counter() - began_s
    return {
        "servers": len(ids),
        "servers_per_s": round(len(ids) / wall_s, 1),
        "cpu_s_per_server": round(used.stop_s() / len(ids), 4),
    }


async def server_ids(cloud: Cloud) -> list[str]:
    found: list[str] = []
    while True:
        marker = f"&marker={found[-1]}" if found else ""
        page = (await cloud.call("GET", f"{SERVERS}?limit=1000{marker}")).json["servers"]
        found += [server["id"] for server in page]
        if len(page) < 1000:
            return found


async def lists(cloud: Cloud, count: int) -> Figures:
    """A list of many servers whole, and one of them, read from a cloud that is otherwise idle."""
    await cloud.login()
    body = await server_body(cloud, "auto")
    have = len(await server_ids(cloud))
    if missing := count - have:
        await _make_many(cloud, body, missing)
    ids = await server_ids(cloud)
    control = [cloud.pids()["control"]]

    async def whole(_: int) -> None:
        answer = await cloud.call("GET", f"{SERVERS}/detail?limit=1000")
        assert answer.body.count(b'"OS-EXT-STS:vm_state"') == min(count, 1000)

    figures: Figures = {"servers": len(ids)}
    for name, calls, clients, call in (
        ("list", 10, 1, whole),
        ("get_one", 300, 1, lambda n: cloud.call("GET", f"{SERVERS}/{ids[n * 7 % len(ids)]}")),
        ("get_16_clients", 600, 16, lambda n: cloud.call("GET", f"{SERVERS}/{ids[n * 7 % len(ids)]}")),
    ):
        used = CpuUsed(control)
        done = await load(calls, clients, call)
        figures[f"{name}_median_ms"] = done.ms(0.5)
        figures[f"{name}_cpu_ms"] = round(used.stop_s() / calls * 1000, 2)
        if name != "list":
            figures[f"{name}_per_s"] = round(done.per_s, 1)
    return figures


async def _make_many(cloud: Cloud, body: dict[str, Any], count: int) -> None:
    """Servers by the hundred, until all of them are ACTIVE."""
    for first in range(0, count, 100):
        many = {**body["server"], "min_count": min(100, count - first), "max_count": min(100, count - first)}
        await cloud.call("POST", SERVERS, {"server": many}, want=202)
    deadline_s = time.monotonic() + READY_S
    while (await cloud.call("GET", f"{SERVERS}?status=BUILD&limit=1")).json["servers"]:
        if time.monotonic() > deadline_s:
            raise Failed(f"servers were still in BUILD after {READY_S} s")
        await asyncio.sleep(POLL_S)


async def ports(cloud: Cloud, count: int) -> Figures:
    """Ports made in one network by sixteen clients, and removed again."""
    await cloud.login()
    network = (await cloud.call("GET", "/network/v2.0/networks?name=private")).json["networks"][0]["id"]
    ids: list[str] = []

    async def one(_: int) -> None:
        made = await cloud.call("POST", "/network/v2.0/ports", {"port": {"network_id": network}}, want=201)
        ids.append(made.json["port"]["id"])

    used = CpuUsed(cloud.pids().values())
    made = await load(count, CLIENTS, one)
    cpu_s = used.stop_s()
    gone = await load(count, CLIENTS, lambda n: cloud.call("DELETE", f"/network/v2.0/ports/{ids[n]}", want=204))
    return {
        "ports_per_s": round(made.per_s, 1),
        "cpu_ms_per_port": round(cpu_s / count * 1000, 2),
        "deleted_per_s": round(gone.per_s, 1),
    }
