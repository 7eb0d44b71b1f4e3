"""Placement as a view: what it says is what the scheduler counts and does, read by the SDK over real HTTP too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import openstack
import pytest
import uvicorn
from sqlalchemy import event

from holdfast.api.placement.inventory import providers
from holdfast.control.operations.server.placing import rooms
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_update
from holdfast.control.store.instance import instance_fetch
from holdfast.control.store.volume.rows import volume_fetch
from tests.api.volume_world import Cinder
from tests.client import Answer, Client
from tests.conftest import PASSWORDS, Cloud
from tests.world import World

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")
H1 = "22222222-2222-4222-8222-000000000001"
H2 = "22222222-2222-4222-8222-000000000002"


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path, hosts=2)


def ask(world: World, path: str, version: str = "1.24", client: Client | None = None, method: str = "GET") -> Answer:
    headers = {"openstack-api-version": f"placement {version}"}
    return (client or world.admin).request(method, f"/placement{path}", None, headers)


def got(world: World, path: str, version: str = "1.24") -> Any:
    answer = ask(world, path, version)
    assert answer.status == 200, answer.body
    return answer.json


def names(world: World, query: str, version: str = "1.24") -> list[str]:
    return [one["name"] for one in got(world, f"/resource_providers{query}", version)["resource_providers"]]


def test_the_versions_are_found_without_a_token_and_negotiated(world: World) -> None:
    answer = world.cloud.client.get("/placement/")
    found = answer.json["versions"][0]
    assert (found["id"], found["min_version"], found["max_version"]) == ("v1.0", "1.0", "1.24")
    assert answer.headers["openstack-api-version"] == "placement 1.0"
    assert ask(world, "/resource_providers", "latest").headers["openstack-api-version"] == "placement 1.24"
    for version in ("1.25", "2.0"):
        refused = ask(world, "/", version)
        assert refused.status == 406
        assert refused.json["errors"][0]["max_version"] == "1.24"
    assert ask(world, "/resource_providers", "x").status == 400


def test_a_version_has_no_more_than_it_says(world: World) -> None:
    for path, since in (("/traits", 6), ("/resource_classes", 2), ("/allocation_candidates?resources=VCPU:1", 10)):
        assert ask(world, path, f"1.{since - 1}").status == 404
        assert ask(world, path, f"1.{since}").status == 200
    old, new = (got(world, "/resource_providers", v)["resource_providers"][0] for v in ("1.0", "1.24"))
    assert [link["rel"] for link in old["links"]] == ["self", "inventories", "usages"]
    assert "root_provider_uuid" not in old
    assert (new["root_provider_uuid"], new["parent_provider_uuid"]) == (new["uuid"], None)
    assert ask(world, "/resource_providers?resources=VCPU:1", "1.3").status == 400
    assert "cache-control" not in ask(world, "/resource_providers", "1.14").headers
    assert ask(world, "/resource_providers", "1.15").headers["cache-control"] == "no-cache"


def test_hosts_are_providers_and_filters_are_kept(world: World) -> None:
    assert names(world, "") == ["h1", "h2"]
    assert names(world, "?name=h2") == ["h2"]
    assert names(world, f"?uuid={H1}") == ["h1"]
    assert names(world, f"?in_tree={H1}&name=h2") == []
    assert names(world, f"?member_of={H1}") == []
    assert names(world, "?resources=VCPU:128") == ["h1", "h2"]
    assert names(world, "?resources=VCPU:129") == []
    world.store.write(lambda tx: host_update(tx, H2, enabled=False))
    assert names(world, "?required=COMPUTE_STATUS_DISABLED") == ["h2"]
    assert names(world, "?required=!COMPUTE_STATUS_DISABLED") == ["h1"]
    assert got(world, "/allocation_candidates?resources=VCPU:1")["provider_summaries"].keys() == {H1}
    assert got(world, f"/resource_providers/{H2}/traits")["traits"] == ["COMPUTE_NODE", "COMPUTE_STATUS_DISABLED"]
    for query in ("?uuid=x", "?nmae=h1", "?resources=GPU:1", "?resources=VCPU", "?required=MAGIC", "?member_of=x"):
        assert ask(world, f"/resource_providers{query}").status == 400, query
    assert ask(world, "/resource_providers/none").status == 404


def test_inventories_promise_what_the_scheduler_promises(world: World) -> None:
    settings = world.cloud.services.settings
    for room in world.store.read(lambda tx: rooms(tx, settings)):
        found = got(world, f"/resource_providers/{room.host.id}/inventories")["inventories"]
        capacity = {c: int((i["total"] - i["reserved"]) * i["allocation_ratio"]) for c, i in found.items()}
        assert capacity == {"VCPU": room.vcpus, "MEMORY_MB": room.memory_mib, "DISK_GB": room.disk_gib}
        assert all((i["min_unit"], i["step_size"], i["max_unit"]) == (1, 1, capacity[c]) for c, i in found.items())
        one = got(world, f"/resource_providers/{room.host.id}/inventories/MEMORY_MB")
        assert (one["total"], one["reserved"]) == (16_384, settings.reserved_memory_mib)
    assert ask(world, f"/resource_providers/{H1}/inventories/GPU").status == 404


def test_a_candidate_is_where_the_server_then_goes(world: World) -> None:
    for number in range(6):
        asked = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:128,DISK_GB:1"
        found = got(world, asked)
        first = next(iter(found["allocation_requests"][0]["allocations"]))
        server_id = world.boot(f"s{number}")
        world.settle()
        assert list(got(world, f"/allocations/{server_id}")["allocations"]) == [first]
    assert len(got(world, f"{asked}&limit=1")["allocation_requests"]) == 1
    assert got(world, "/allocation_candidates?resources=MEMORY_MB:99999")["allocation_requests"] == []
    listed = got(world, asked, "1.10")["allocation_requests"][0]["allocations"]
    assert listed[0]["resource_provider"]["uuid"] in (H1, H2)
    for query in (
        "",
        "?resources=",
        "?resources=VCPU:0",
        "?resources=VCPU:1&limit=0",
        "?resources=VCPU:1&group_policy=x",
    ):
        assert ask(world, f"/allocation_candidates{query}").status == 400, query


def test_an_allocation_names_its_owner_and_goes_with_its_server(world: World) -> None:
    server_id = world.boot()
    world.settle()
    found = got(world, f"/allocations/{server_id}")
    known = world.cloud.known
    assert (found["project_id"], found["user_id"]) == (known.demo_project_id, known.demo_user_id)
    ((host_id, held),) = found["allocations"].items()
    assert held["resources"] == {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
    shown = got(world, f"/resource_providers/{host_id}")
    assert held["generation"] == shown["generation"]
    assert "project_id" not in got(world, f"/allocations/{server_id}", "1.11")
    assert got(world, f"/usages?project_id={known.demo_project_id}")["usages"] == held["resources"]
    assert got(world, f"/usages?project_id={known.demo_project_id}&user_id={known.admin_user_id}")["usages"] == {}
    world.nova("DELETE", f"/servers/{server_id}")
    world.settle()
    assert got(world, f"/allocations/{server_id}") == {"allocations": {}}
    assert got(world, f"/resource_providers/{host_id}/usages")["usages"] == dict.fromkeys(CLASSES, 0)


def test_the_generation_changes_with_every_row_and_with_nothing_else(world: World) -> None:
    def generations() -> dict[str, int]:
        shown = got(world, "/resource_providers")["resource_providers"]
        for one in shown:
            for part in ("inventories", "usages", "traits", "allocations", "aggregates"):
                body = got(world, f"/resource_providers/{one['uuid']}/{part}")
                assert body["resource_provider_generation"] == one["generation"]
        return {one["uuid"]: one["generation"] for one in shown}

    before = generations()
    server_id = world.boot()
    world.settle()
    (host_id,) = got(world, f"/allocations/{server_id}")["allocations"]
    booted = generations()
    assert {i for i in before if before[i] != booted[i]} == {host_id}
    world.act(server_id, "os-stop")
    world.settle()
    assert generations() == booted
    twin = world.boot("twin")
    world.nova("DELETE", f"/servers/{server_id}")
    world.settle()
    (there,) = got(world, f"/allocations/{twin}")["allocations"]
    assert generations()[there] != booted[there]
    assert generations()[host_id] != booted[host_id]
    settled = generations()
    world.store.write(lambda tx: host_update(tx, H1, enabled=False))
    assert {i for i, number in generations().items() if settled[i] != number} == {H1}


@pytest.mark.parametrize("seed", range(4))
def test_allocations_are_usages_are_what_flavors_and_volumes_ask_for(world: World, seed: int) -> None:
    random, cinder = Random(seed), Cinder(world)
    servers: list[str] = []
    volumes: list[str] = []
    for number in range(25):
        what = random.choice(("boot", "boot", "resize", "confirm", "delete", "volume", "forget", "pass"))
        if what == "boot":
            servers.append(world.boot(f"s{number}", flavorRef=random.choice(("1", "2", "3", "42", "84"))))
        elif what == "volume":
            volumes.append(cinder.create(random.randint(1, 9)))
        elif what == "forget" and volumes:
            cinder.delete(random.choice(volumes))
        elif servers and what in ("resize", "confirm", "delete"):
            one = random.choice(servers)
            act = {"resize": {"flavorRef": random.choice(("1", "2", "42"))}, "confirm": None}
            if what == "delete":
                world.nova("DELETE", f"/servers/{one}")
            else:
                world.act(one, {"resize": "resize", "confirm": "confirmResize"}[what], act[what])
        if random.random() < 0.6:
            world.settle()
        agree(world, servers, volumes)
    world.settle()
    agree(world, servers, volumes)
    assert sum(sum(total.values()) for total in agree(world, servers, volumes).values()) > 0


def agree(world: World, servers: list[str], volumes: list[str]) -> dict[str, dict[str, int]]:
    """The scheduler's sums, the providers' usages, the sums of allocations, and those of the rows' own sizes."""
    settings = world.cloud.services.settings
    scheduler = {
        room.host.id: dict(zip(CLASSES, (room.used_vcpus, room.used_memory_mib, room.used_disk_gib), strict=True))
        for room in world.store.read(lambda tx: rooms(tx, settings))
    }
    usages = {i: got(world, f"/resource_providers/{i}/usages")["usages"] for i in scheduler}
    by_provider = {i: dict.fromkeys(CLASSES, 0) for i in scheduler}
    by_consumer = {i: dict.fromkeys(CLASSES, 0) for i in scheduler}
    for host_id, total in by_provider.items():
        for held in got(world, f"/resource_providers/{host_id}/allocations")["allocations"].values():
            for name, amount in held["resources"].items():
                total[name] += amount
    for consumer in (*servers, *volumes):
        for host_id, held in got(world, f"/allocations/{consumer}")["allocations"].items():
            for name, amount in held["resources"].items():
                by_consumer[host_id][name] += amount
    assert scheduler == usages == by_provider == by_consumer == asked_for(world, servers, volumes)
    return usages


def asked_for(world: World, servers: list[str], volumes: list[str]) -> dict[str, dict[str, int]]:
    """From the instances' flavors (the larger of two while a resize waits) and the volumes' sizes."""
    total = {host.host_id: dict.fromkeys(CLASSES, 0) for host in world.hosts}

    def read(tx: Tx) -> None:
        for server_id in servers:
            row = instance_fetch(tx, server_id)
            if row is None or not row.host_id:
                continue
            flavors = [row.flavor, *([row.old_flavor] if row.old_flavor else [])]
            here = total[row.host_id]
            here["VCPU"] += max(f.vcpus for f in flavors)
            here["MEMORY_MB"] += max(f.memory_mib for f in flavors)
            here["DISK_GB"] += max(f.disk_gib for f in flavors)
        for volume_id in volumes:
            volume = volume_fetch(tx, volume_id)
            if volume is not None and volume.host_id:
                total[volume.host_id]["DISK_GB"] += volume.size_gib

    world.store.read(read)
    return total


def test_a_list_costs_as_many_statements_for_many_servers_as_for_none(world: World) -> None:
    counts = []
    for _ in range(2):
        seen: list[str] = []
        world.store.read(lambda tx, seen=seen: _counted(tx, seen, world))
        counts.append(len(seen))
        for number in range(3):
            world.boot(f"more{number}")
        world.settle()
    assert counts[0] == counts[1] == 7


def _counted(tx: Tx, seen: list[str], world: World) -> None:
    connection = tx._connection

    def before(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement != "BEGIN":
            seen.append(statement)

    event.listen(connection, "before_cursor_execute", before)
    try:
        providers(tx, world.cloud.services.settings)
    finally:
        event.remove(connection, "before_cursor_execute", before)


@pytest.fixture
def connection(cloud: Cloud, tmp_path: Path) -> Iterator[tuple[World, Any]]:
    """The SDK, logged in as the administrator of a cloud on a socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    object.__setattr__(cloud.services.settings, "public_url", endpoint)
    world = World(cloud, tmp_path, hosts=2)
    server = uvicorn.Server(
        uvicorn.Config(cloud.application, log_config=None, lifespan="off", access_log=False, ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield (
        world,
        openstack.connect(
            auth_url=f"{endpoint}/identity/v3",
            username="admin",
            password=PASSWORDS["admin"],
            project_name="admin",
            user_domain_id="default",
            project_domain_id="default",
            region_name="RegionOne",
            load_envvars=False,
            load_yaml_config=False,
        ),
    )
    server.should_exit = True
    thread.join(60)
    listener.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*:Warning:openstack")
def test_the_sdk_finds_the_service_and_reads_it(connection: tuple[World, Any]) -> None:
    world, sdk = connection
    world.boot()
    world.settle()
    found = list(sdk.placement.resource_providers())
    assert [one.name for one in found] == ["h1", "h2"]
    assert [one.id for one in sdk.placement.resource_providers(name="h2")] == [H2]
    inventories = {i.resource_class: i for i in sdk.placement.resource_provider_inventories(H1)}
    assert (inventories["VCPU"].total, inventories["VCPU"].allocation_ratio) == (8, 16.0)
    assert sum(one.fetch_usages(sdk.placement).usages["VCPU"] for one in found) == 1
    assert {one.name for one in sdk.placement.resource_classes()} == set(CLASSES)
    assert [one.name for one in sdk.placement.traits()] == ["COMPUTE_NODE", "COMPUTE_STATUS_DISABLED"]
    with pytest.raises(openstack.exceptions.HttpException, match="405"):
        sdk.placement.create_resource_provider(name="mine")
