"""Many ask for the same at once, of two control replicas on one store: what there is goes to as many, and once.

FAULTS MIG-06, STK-09 and EVA-09.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from holdfast.base.limits import HOST_DOWN_S, HOST_LEASE_S, LEASE_MARGIN_S
from holdfast.control.store.database import Database
from holdfast.control.store.operation import evacuations_list
from holdfast.daemon.composition import make_application, make_services
from holdfast.domain.operation import OperationState
from tests.client import Client
from tests.conftest import Cloud
from tests.world import CAPABILITIES, IMAGE, World

SLOTS, ASKED, DELETES = 10, 50, 100
DEAD_HOSTS_SERVERS, EVACUATE_SERVER, EVACUATE_HOST = 4, 10, 6
RESERVED_MIB = 512


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    """One host with room for ten of the smallest."""
    return World(cloud, tmp_path, capabilities=msgspec.structs.replace(CAPABILITIES, memory_mib=RESERVED_MIB + 1280))


def replicas(world: World) -> list[Client]:
    """The application of the world, and another one on a connection of its own."""
    services = world.cloud.services
    other = Database(services.settings.store_url, world.clock.now_us)
    second = Client(make_application(make_services(services.settings, other, world.clock)))
    return [client.as_token(world.cloud.token("admin", "admin")) for client in (world.cloud.client, second)]


def test_fifty_launches_at_once_for_ten_places_make_ten_and_lose_none(world: World) -> None:
    quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
    project = world.cloud.known.admin_project_id
    clients = replicas(world)
    assert clients[0].put(f"/compute/v2.1/os-quota-sets/{project}", quota).status == 200

    def launch(number: int) -> int:
        body = {"name": f"s{number}", "imageRef": IMAGE, "flavorRef": "42", "networks": "none"}
        return (
            clients[number % 2]
            .with_headers(openstack_api_version="compute 2.96")
            .post("/compute/v2.1/servers", {"server": body})
            .status
        )

    with ThreadPoolExecutor(ASKED) as pool:
        answers = list(pool.map(launch, range(ASKED)))
    assert set(answers) <= {202, 503}, answers
    world.settle()
    servers = clients[0].get("/compute/v2.1/servers/detail").json["servers"]
    assert len(servers) == answers.count(202)
    assert sorted(server["status"] for server in servers).count("ACTIVE") == SLOTS
    assert {server["status"] for server in servers} <= {"ACTIVE", "ERROR"}
    assert len(world.running()) == SLOTS
    assert world.audit() == []


def test_a_hundred_deletes_at_once_are_one(world: World) -> None:
    clients = replicas(world)
    server = {"name": "once", "imageRef": IMAGE, "flavorRef": "42"}
    server_id = clients[0].post("/compute/v2.1/servers", {"server": server}).json["server"]["id"]
    world.settle()

    def delete(number: int) -> int:
        return clients[number % 2].delete(f"/compute/v2.1/servers/{server_id}").status

    with ThreadPoolExecutor(DELETES) as pool:
        answers = set(pool.map(delete, range(DELETES)))
    assert answers <= {204, 404} and 204 in answers
    world.settle()
    limits = clients[0].get("/compute/v2.1/limits").json["limits"]["absolute"]
    assert (limits["totalInstancesUsed"], limits["totalCoresUsed"], limits["totalRAMUsed"]) == (0, 0, 0)
    assert world.running() == {} and world.audit() == []


def test_evacuations_asked_for_of_two_replicas_at_once_are_one_for_each_server(
    postgres_cloud: Cloud, tmp_path: Path
) -> None:
    shared = msgspec.structs.replace(CAPABILITIES, disk_store="11111111-2222-4333-8444-555555555555")
    world = World(postgres_cloud, tmp_path, hosts=3, capabilities=shared)
    clients = [client.with_headers(openstack_api_version="compute 2.96") for client in replicas(world)]
    asked = {"imageRef": IMAGE, "flavorRef": "42", "networks": "none", "availability_zone": "nova:h1"}
    bodies = [{"server": {"name": f"s{number}", **asked}} for number in range(DEAD_HOSTS_SERVERS)]
    servers = [clients[0].post("/compute/v2.1/servers", body).json["server"]["id"] for body in bodies]
    world.settle()
    world.hosts[0].die()
    world.pass_time(HOST_LEASE_S + LEASE_MARGIN_S + HOST_DOWN_S)

    def evacuate(number: int) -> int:
        client, which = clients[number % 2], number // 2
        if which < EVACUATE_HOST // 2:
            return client.post("/operator/v1/hosts/h1/evacuate", {}).status
        server = servers[which % DEAD_HOSTS_SERVERS]
        return client.post(f"/compute/v2.1/servers/{server}/action", {"evacuate": {}}).status

    count = EVACUATE_HOST + 2 * EVACUATE_SERVER
    with ThreadPoolExecutor(count) as pool:
        answers = set(pool.map(evacuate, range(count)))
    assert answers == {200, 202}
    world.settle()
    acts = world.store.read(lambda tx: evacuations_list(tx, open_only=False, limit=100))
    assert sorted(act.resource_id for act in acts) == sorted(servers)
    assert {act.state for act in acts} == {OperationState.DONE}
    assert {server: len(hosts) for server, hosts in world.running().items()} == dict.fromkeys(servers, 1)
    assert all(hosts != ["h1"] for hosts in world.running().values())
    world.hosts[0].come_back()
    world.settle()
    assert world.audit() == []
