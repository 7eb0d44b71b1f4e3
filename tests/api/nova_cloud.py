"""What tests of Nova's other resources share: hosts and servers put straight into the store, answers looked at."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.api.compute import (
    availability_zones,
    extensions,
    flavor_parts,
    flavors,
    hypervisors,
    instance_actions,
    keypairs,
    quotas,
    server_groups,
    services,
    usages,
)
from holdfast.api.http.routes import Route
from holdfast.base import ids
from holdfast.control.operations.flavor import flavors_bootstrap
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.host import allocation_insert, host_insert, host_update
from holdfast.control.store.instance import instance_insert
from holdfast.domain.desired import Power
from holdfast.domain.host import Allocation
from holdfast.domain.instance import Flavor, Instance, InstanceState
from holdfast.domain.observed import Capabilities
from tests.client import Answer, Client
from tests.conftest import Cloud

MODULES = (
    availability_zones,
    extensions,
    flavor_parts,
    flavors,
    hypervisors,
    instance_actions,
    keypairs,
    quotas,
    server_groups,
    services,
    usages,
)
ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
RULES: dict[str, str] = {name: rule for module in MODULES for name, rule in module.RULES.items()}
HOUR_US = 3_600_000_000


@pytest.fixture
def nova(cloud: Cloud) -> Cloud:
    """A cloud with the first flavors."""
    cloud.services.store.write(flavors_bootstrap)
    return cloud


def at(client: Client, version: str) -> Client:
    """The same client at a microversion."""
    return client.with_headers(OpenStack_API_Version=f"compute {version}")


def ok(answer: Answer, status: int = 200) -> Any:
    """The body of an answer that must be this one."""
    assert answer.status == status, (answer.status, answer.body)
    return answer.json if answer.body else None


def refused(answer: Answer, status: int, word: str) -> str:
    """The message of a fault in Nova's shape."""
    assert answer.status == status, (answer.status, answer.body)
    fault = answer.json[word]
    assert fault["code"] == status
    return str(fault["message"])


CAPABILITIES = Capabilities(8, 16_384, 200, "tcg", "", "qemu", "7.2.9", "lab1", "192.0.2.10")


def add_host(store: Database, name: str, zone: str = "nova", reported: bool = True) -> str:
    """A host that reported just now, or never."""
    host_id = ids.new_id()

    def change(tx: Tx) -> None:
        host_insert(tx, host_id, name, zone, "digest")
        if reported:
            host_update(tx, host_id, capabilities=CAPABILITIES, reported_us=tx.now_us, disk_free_gib=150)

    store.write(change)
    return host_id


def server_row(project_id: str, now_us: int, **changes: Any) -> Instance:
    """A server that runs since an hour."""
    fields: dict[str, Any] = {
        "id": ids.new_id(),
        "project_id": project_id,
        "user_id": "u",
        "name": "web",
        "description": "",
        "hostname": "web",
        "state": InstanceState.READY,
        "power": Power.RUNNING,
        "present": True,
        "host_id": "",
        "last_host_id": "",
        "generation": 1,
        "revision": 1,
        "boot": 1,
        "soft": False,
        "disk": 1,
        "disk_made": 1,
        "flavor": Flavor("2", "m1.small", 2, 2_048, 20),
        "old_flavor": None,
        "image_id": "",
        "image": {},
        "key_name": "",
        "key_public": "",
        "user_data": "",
        "config_drive": False,
        "zone": "nova",
        "zone_asked": "",
        "access_ipv4": "",
        "access_ipv6": "",
        "properties": {},
        "tags": [],
        "security_groups": [],
        "group_id": "",
        "locked": "",
        "is_locked": False,
        "reservation_id": "r-1",
        "launch_index": 0,
        "capture_image_id": "",
        "launched_us": now_us - HOUR_US,
        "terminated_us": 0,
        "fault": None,
        "created_us": now_us - HOUR_US,
        "updated_us": now_us,
    }
    return Instance(**{**fields, **changes})


def add_server(store: Database, project_id: str, **changes: Any) -> Instance:
    """A server in the store, with its room on its host."""

    def change(tx: Tx) -> Instance:
        row = server_row(project_id, tx.now_us, **changes)
        instance_insert(tx, row)
        if row.host_id:
            size = row.flavor
            allocation_insert(tx, Allocation(row.id, row.host_id, size.vcpus, size.memory_mib, size.disk_gib))
        return row

    return store.write(change)
