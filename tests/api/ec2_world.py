"""A cloud with a network, an image and pretended hosts, as boto3 sees it.

The hosts do at once whatever the store asks of them, and the engine takes every operation as far as it will
go: `settle` does both until nothing is left to do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from holdfast.base import ids
from holdfast.base.ec2_ids import ec2_id
from holdfast.control.operations.engine import Engine
from holdfast.control.operations.flavor import flavors_bootstrap
from holdfast.control.operations.host_report import host_report_apply
from holdfast.control.operations.image import image_create, image_new
from holdfast.control.operations.network.bootstrap import network_bootstrap
from holdfast.control.operations.registry import ACTS
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_insert
from holdfast.control.store.image import image_move
from holdfast.control.store.instance import COLUMNS, instance
from holdfast.control.store.operation import operation_next_due
from holdfast.domain.desired import Power
from holdfast.domain.instance import Instance
from holdfast.domain.observed import Capabilities, HostReport, MachineReport, Phase
from tests.api.ec2_client import ec2
from tests.client import Client
from tests.conftest import Cloud

PUBLIC, PRIVATE = "198.51.100.0/28", "10.77.0.0/24"
PHASES = {Power.RUNNING: Phase.RUNNING, Power.STOPPED: Phase.STOPPED, Power.PAUSED: Phase.PAUSED}
ROUNDS = 50


@dataclasses.dataclass
class World:
    """The cloud, its hosts, and its members."""

    cloud: Cloud
    engine: Engine
    hosts: list[str]
    image_id: str
    failing: dict[str, str] = dataclasses.field(default_factory=dict)  # instance: why its host cannot make it

    @property
    def store(self) -> Any:
        return self.cloud.services.store

    @property
    def ami(self) -> str:
        return ec2_id("ami", self.image_id)

    def keys(self, user: str = "demo", project: str = "demo") -> tuple[str, str]:
        """A new EC2 key of a first user for a first project."""
        known = self.cloud.known
        users = {"admin": known.admin_user_id, "demo": known.demo_user_id}
        projects = {"admin": known.admin_project_id, "demo": known.demo_project_id}
        path = f"/identity/v3/users/{users[user]}/credentials/OS-EC2"
        answer = self.cloud.as_user(user, project).post(path, {"tenant_id": projects[project]})
        assert answer.status == 201, answer.body
        return answer.json["credential"]["access"], answer.json["credential"]["secret"]

    def boto(self, user: str = "demo", project: str = "demo") -> Any:
        """A boto3 client of a first user."""
        return ec2(self.cloud.client, *self.keys(user, project))

    def nova(self, user: str = "demo", project: str = "demo") -> Client:
        return self.cloud.as_user(user, project)

    def add_host(self, name: str, vcpus: int = 64, memory_mib: int = 262_144) -> str:
        host_id = ids.new_id()
        self.store.write(lambda tx: host_insert(tx, host_id, name, "nova", "digest"))
        self.hosts.append(host_id)
        self.report(host_id, vcpus, memory_mib)
        return host_id

    def report(self, host_id: str, vcpus: int = 64, memory_mib: int = 262_144) -> None:
        """Let a host say that everything is as it was asked for."""
        have = Capabilities(vcpus, memory_mib, 10_000, "simulated", "", "simulated", "1", "host", "192.0.2.10")

        def change(tx: Tx) -> None:
            rows = tx.structs(Instance, select(*COLUMNS).where(instance.c.host_id == host_id))
            machines = tuple(self._machine(row) for row in rows)
            host_report_apply(tx, host_id, HostReport(True, 0, have, machines, (), (), 9_000, ()))

        self.store.write(change)

    def _machine(self, row: Instance) -> MachineReport:
        phase, reason = (PHASES[row.power], "") if row.present else (Phase.ABSENT, "")
        if row.present and row.id in self.failing:
            phase, reason = Phase.FAILED, self.failing[row.id]
        return MachineReport(row.id, row.generation, row.boot, row.disk, phase, reason)

    def settle(self) -> None:
        """Let the engine and the hosts work until nothing is due and nothing changes."""
        for _ in range(ROUNDS):
            worked = self.engine.run_once()
            for host_id in self.hosts:
                self.report(host_id)
            due = self.store.read(lambda tx: operation_next_due(tx))
            if not worked and (due is None or due > self.cloud.clock.now_us()):
                return
        raise AssertionError("the world does not come to rest")

    def launch(self, boto: Any, **words: Any) -> dict[str, Any]:
        """A running instance."""
        given = {"ImageId": self.ami, "InstanceType": "m1.tiny", "MinCount": 1, "MaxCount": 1, **words}
        instance_id = boto.run_instances(**given)["Instances"][0]["InstanceId"]
        self.settle()
        return self.show(boto, instance_id)

    def show(self, boto: Any, instance_id: str) -> dict[str, Any]:
        found = boto.describe_instances(InstanceIds=[instance_id])["Reservations"]
        assert len(found) == 1 and len(found[0]["Instances"]) == 1
        return dict(found[0]["Instances"][0])


def add_image(store: Any, project_id: str, name: str = "tiny", **words: Any) -> str:
    """An active image whose bytes nobody will ever read."""
    words = {"visibility": "public", "disk_format": "raw", "container_format": "bare", **words}

    def change(tx: Tx) -> str:
        made = image_create(tx, image_new(tx, project_id, name=name, **words))
        upload = ids.new_id()
        facts = {"content": "raw", "size_bytes": 1, "virtual_bytes": 1 << 20, "sha512": hashlib.sha512(b"").hexdigest()}
        assert image_move(tx, made.id, "upload", upload)
        assert image_move(tx, made.id, "finish", upload, md5="0" * 32, **facts)
        return made.id

    return str(store.write(change))


def world_of(cloud: Cloud) -> World:
    """One host, one image, and the first networks; time is the real one, since clients sign with it."""
    cloud.clock.at_us = time.time_ns() // 1000
    services, known = cloud.services, cloud.known
    store = services.store

    def first(tx: Tx) -> None:
        flavors_bootstrap(tx)
        projects = {"admin_project_id": known.admin_project_id, "demo_project_id": known.demo_project_id}
        network_bootstrap(tx, **projects, public_cidr=PUBLIC, private_cidr=PRIVATE)

    store.write(first)
    engine = Engine(store, services.settings, ACTS, "test")
    made = World(cloud, engine, [], add_image(store, known.admin_project_id))
    made.add_host("one")
    return made


@pytest.fixture
def world(cloud: Cloud) -> Iterator[World]:
    """The world on SQLite."""
    made = world_of(cloud)
    yield made
    made.engine.stop()
