"""What EC2 asks of the store and the scheduler, on each database."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.base import ids
from holdfast.base.ec2_ids import ec2_id, id_bounds
from holdfast.base.errors import Conflict, NoCapacity
from holdfast.control.operations.network.network import network_create, subnet_create
from holdfast.control.scheduler.place import Request, Room, places_count
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.instance import instance_ids_within, instance_insert
from holdfast.control.store.network.port import ports_of_project
from holdfast.control.store.network.subnet import subnets_pluggable
from holdfast.control.store.quota import quota_limits, quota_set
from holdfast.control.store.server import ServerQuery, servers_list
from holdfast.domain.host import Host
from holdfast.domain.instance import InstanceState
from holdfast.domain.network import NetworkWanted, SubnetWanted
from tests.api.nova_cloud import server_row

HOUR_US = 3_600_000_000


def add(store: Database, project_id: str = "p", **words: Any) -> str:
    def change(tx: Tx) -> str:
        row = server_row(project_id, tx.now_us, **words)
        instance_insert(tx, row)
        return row.id

    return store.write(change)


def test_an_id_is_found_within_its_project_only(store: Database) -> None:
    mine, theirs = [add(store) for _ in range(3)], add(store, "q")
    bounds = [id_bounds(ec2_id("i", uuid)) for uuid in (*mine, theirs)]
    assert set(store.read(lambda tx: instance_ids_within(tx, "p", bounds))) == set(mine)
    assert store.read(lambda tx: instance_ids_within(tx, "q", bounds)) == [theirs]
    assert store.read(lambda tx: instance_ids_within(tx, "p", [])) == []


def test_a_thousand_ids_are_looked_up(store: Database) -> None:
    mine = add(store)
    bounds = [id_bounds(ec2_id("i", ids.new_id())) for _ in range(999)] + [id_bounds(ec2_id("i", mine))]
    assert store.read(lambda tx: instance_ids_within(tx, "p", bounds)) == [mine]


def test_a_list_has_the_servers_that_ended_since_an_instant(store: Database) -> None:
    now_us = store.read(lambda tx: tx.now_us)
    living = add(store)
    lately = add(store, state=InstanceState.DELETED, terminated_us=now_us - HOUR_US)
    add(store, state=InstanceState.DELETED, terminated_us=now_us - HOUR_US - 1)
    query = ServerQuery(project_id="p", terminated_after_us=now_us - HOUR_US)
    assert {s.instance.id for s in store.read(lambda tx: servers_list(tx, query))} == {living, lately}
    query = ServerQuery(project_id="p")
    assert [s.instance.id for s in store.read(lambda tx: servers_list(tx, query))] == [living]


def test_a_part_that_fails_is_undone_and_the_rest_stays(store: Database) -> None:
    def change(tx: Tx) -> None:
        def part() -> None:
            quota_set(tx, "p", {"ram": 2})
            raise Conflict("no")

        quota_set(tx, "p", {"cores": 1})
        with pytest.raises(Conflict):
            tx.attempt(part)
        tx.attempt(lambda: quota_set(tx, "p", {"instances": 3}))

    store.write(change)
    limits = store.read(lambda tx: quota_limits(tx, "p"))
    assert (limits["cores"], limits["instances"]) == (1, 3) and limits["ram"] != 2


def test_machines_are_plugged_into_ipv4_subnets_that_are_not_external(store: Database) -> None:
    def change(tx: Tx) -> str:
        inside = network_create(tx, NetworkWanted("p", "inside"))
        outside = network_create(tx, NetworkWanted("p", "outside", external=True))
        shared = network_create(tx, NetworkWanted("q", "shared", shared=True))
        hidden = network_create(tx, NetworkWanted("q", "hidden"))
        subnet_create(tx, SubnetWanted("p", inside.id, "2001:db8::/64", 6))
        for network, cidr in ((outside, "192.0.2.0/24"), (hidden, "10.3.0.0/24"), (shared, "10.2.0.0/24")):
            subnet_create(tx, SubnetWanted(network.project_id, network.id, cidr))
        subnet_create(tx, SubnetWanted("p", inside.id, "10.1.0.0/24"))
        return inside.id

    store.write(change)
    found = store.read(lambda tx: subnets_pluggable(tx, "p"))
    assert sorted(subnet.cidr for subnet in found) == ["10.1.0.0/24", "10.2.0.0/24"]
    assert all(port.project_id == "p" for port in store.read(lambda tx: ports_of_project(tx, "p")))


def host(name: str) -> Host:
    return Host(name, name, "nova", True, "", None, [], [], [], 0, 0, "", 0, 0)


def test_room_is_counted_one_instance_after_another() -> None:
    rooms = [Room(host(name), True, 2, 1_024, 10) for name in ("a", "b")]
    assert places_count(Request("", 1, 512, 1, ""), rooms, 9) == 4
    assert places_count(Request("", 1, 512, 1, ""), rooms, 3) == 3
    assert places_count(Request("", 1, 512, 10, ""), rooms, 9) == 2
    with pytest.raises(NoCapacity):
        places_count(Request("", 3, 512, 1, ""), rooms, 1)
