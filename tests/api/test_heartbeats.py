"""What hosts say again and again: many at once are written together, and a token is known for a while."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import event

from holdfast.api.http.batch import Batches
from holdfast.base.errors import BadInput, Conflict
from holdfast.base.limits import HOST_LEASE_S, HOST_TOKEN_CACHE_S
from holdfast.control.operations.host.lease import Renewal, leases_renew
from holdfast.control.operations.host_report import Said, host_reports_take
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.fencing.host_lease import lease_fetch
from holdfast.control.store.host import host_delete, host_insert, hosts_list
from holdfast.control.store.quota import quota_limits, quota_set
from holdfast.domain.observed import HostReport
from tests.client import Answer
from tests.conftest import Cloud
from tests.world import HostStandIn, World


def test_writes_are_durable_when_they_are_answered_share_a_commit_and_fail_alone(store: Database) -> None:
    together, commits = Batches(store), []
    event.listen(store._writer, "commit", lambda _: commits.append(1))
    threads = set()

    def write(name: str) -> Callable[[Tx], int]:
        def change(tx: Tx) -> int:
            threads.add(threading.get_ident())
            quota_set(tx, name, {"instances": 1})
            if name == "bad":
                raise Conflict("only this one")
            return 1

        return change

    async def all_of_them() -> list[int | BaseException]:
        writes = [together.write(write(name)) for name in ("a", "bad", "b")]
        return await asyncio.gather(*writes, return_exceptions=True)

    first, failed, last = asyncio.run(all_of_them())
    assert (first, last) == (1, 1)
    assert isinstance(failed, Conflict)
    kept = {name: store.read(lambda tx, name=name: quota_limits(tx, name))["instances"] for name in ("a", "bad", "b")}
    assert (kept["a"], kept["b"]) == (1, 1)
    assert kept["bad"] > 1
    assert len(threads) == 1
    assert len(commits) == (1 if store.is_sqlite else 2)


def test_what_is_alike_is_one_call_that_refuses_and_fails_each_alone(store: Database) -> None:
    together, calls = Batches(store), list[list[str]]()

    def write(tx: Tx, names: Sequence[str]) -> list[Conflict | str]:
        calls.append(list(names))
        for name in names:
            quota_set(tx, name, {"instances": 1})
        if "bad" in names:
            raise BadInput("this call")
        return [Conflict("only this one") if name == "refused" else name for name in names]

    async def all_of(*names: str) -> list[str | BaseException]:
        return await asyncio.gather(*(together.write_alike(write, name) for name in names), return_exceptions=True)

    first, refused, last = asyncio.run(all_of("a", "refused", "b"))
    assert (first, last) == ("a", "b")
    assert isinstance(refused, Conflict)
    assert calls == [["a", "refused", "b"]]
    good, bad, other = asyncio.run(all_of("c", "bad", "d"))
    assert (good, other) == ("c", "d")
    assert isinstance(bad, BadInput)
    kept = {name: store.read(lambda tx, name=name: quota_limits(tx, name))["instances"] for name in ("c", "bad", "d")}
    assert (kept["c"], kept["d"]) == (1, 1)
    assert kept["bad"] > 1


def test_reads_share_a_snapshot_and_are_refused_alone(store: Database) -> None:
    together, seen = Batches(store), []

    def look(tx: Tx) -> int:
        seen.append(tx)
        return len(seen)

    def refused(tx: Tx) -> int:
        raise Conflict("only this one")

    async def all_of_them() -> list[int | BaseException]:
        reads = [together.read(look), together.read(refused), together.read(look)]
        return await asyncio.gather(*reads, return_exceptions=True)

    first, failed, last = asyncio.run(all_of_them())
    assert (first, last) == (1, 2)
    assert isinstance(failed, Conflict)
    assert seen[0] is seen[1]


def test_a_store_that_fails_is_said_to_everybody_who_asked(store: Database) -> None:
    together = Batches(store)

    def broken(tx: Tx) -> None:
        tx.value("no statement")  # type: ignore[arg-type]

    async def both() -> list[BaseException | None]:
        return await asyncio.gather(together.read(broken), together.read(lambda tx: None), return_exceptions=True)

    assert all(isinstance(answer, Exception) for answer in asyncio.run(both()))


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    return World(cloud, tmp_path)


def renew(world: World, token: str = "token") -> Answer:
    """As the keeper of the first host does."""
    there = world.hosts[0]
    body = {"incarnation": there.incarnation, "boot_id": f"boot-{there.boots}"}
    return world.cloud.client.with_headers(x_host_token=token).post(f"/hosts/v1/{there.host_id}/lease", body)


def test_a_token_that_is_known_costs_no_look_and_no_other_one_is_taken_for_it(world: World) -> None:
    statements: list[str] = []
    event.listen(world.store._reader, "before_cursor_execute", lambda *args: statements.append(str(args[2])))
    for _ in range(3):
        assert renew(world).status == 200
    assert len([each for each in statements if "token_digest" in each]) == 1
    assert renew(world, "another").status == 401
    world.clock.advance_s(HOST_TOKEN_CACHE_S)
    assert renew(world).status == 200
    assert len([each for each in statements if "token_digest" in each]) == 3


def test_many_that_renew_or_report_at_once_cost_the_statements_of_one_and_get_their_own_answers(
    cloud: Cloud, tmp_path: Path
) -> None:
    world = World(cloud, tmp_path, hosts=4)
    world.settle()
    statements: list[str] = []
    event.listen(world.store._writer, "before_cursor_execute", lambda *args: statements.append(str(args[2])))
    one, three, stranger = world.hosts[:1], world.hosts[:3], world.hosts[3]

    def renewals(hosts: list[HostStandIn]) -> list[Renewal]:
        return [Renewal(each.host_id, each.incarnation, f"boot-{each.boots}", evacuates=True) for each in hosts]

    def report(host: HostStandIn, free_gib: int) -> HostReport:
        capabilities = msgspec.structs.replace(host.capabilities, disk_store="shared")
        return HostReport(False, 0, capabilities, (), (), (), free_gib, ())

    def said(hosts: list[HostStandIn], free_gib: int = 7) -> list[Said]:
        return [Said(each.host_id, each.incarnation, report(each, free_gib)) for each in hosts]

    world.store.write(lambda tx: host_reports_take(tx, said(world.hosts)))
    counts = []
    for hosts in (one, three):
        statements.clear()
        world.store.write(lambda tx, hosts=hosts: leases_renew(tx, renewals(hosts)))
        world.store.write(lambda tx, hosts=hosts: host_reports_take(tx, said(hosts)))
        counts.append(len(statements))
    assert counts[0] == counts[1]

    other_boot = msgspec.structs.replace(renewals([stranger])[0], boot_id="another")
    granted, refused = world.store.write(lambda tx: leases_renew(tx, [*renewals(one), other_boot]))
    assert granted == (HOST_LEASE_S, True)
    assert isinstance(refused, Conflict)
    older = msgspec.structs.replace(said([stranger], 9)[0], incarnation=stranger.incarnation - 1)
    taken, refused_too = world.store.write(lambda tx: host_reports_take(tx, [*said(one, 8), older]))
    assert taken is None
    assert isinstance(refused_too, Conflict)
    free = {host.id: host.disk_free_gib for host in world.store.read(hosts_list)}
    assert [free[each.host_id] for each in world.hosts] == [8, 7, 7, 7]


def test_a_token_is_worth_nothing_at_once_when_it_was_replaced_or_its_host_is_forgotten(world: World) -> None:
    there = world.hosts[0]
    assert renew(world).status == 200
    digest = hashlib.sha256(b"new").hexdigest()
    world.store.write(lambda tx: host_insert(tx, there.host_id, there.name, "nova", digest))
    assert renew(world).status == 401
    assert renew(world, "new").status == 200
    world.store.write(lambda tx: host_delete(tx, there.host_id))
    assert renew(world, "new").status == 401


def test_a_replica_that_has_not_heard_yet_lets_no_forgotten_host_register(world: World) -> None:
    there = world.hosts[0]
    client = world.cloud.client.with_headers(x_host_token="token")
    assert renew(world).status == 200
    with world.store.connect_for_migration() as connection:  # as another replica does: nothing is heard here
        connection.exec_driver_sql("DELETE FROM host_lease")
        connection.exec_driver_sql("DELETE FROM host")
        connection.commit()
    assert renew(world).status == 409
    body = {"boot_id": "b", "machine": there.name}
    assert client.post(f"/hosts/v1/{there.host_id}/register", body).status == 401
    assert world.store.read(lambda tx: lease_fetch(tx, there.host_id)).incarnation == 0
