"""What Nova's lists are read from, on both databases: runs, operations in pages, names by host, default quotas."""

from __future__ import annotations

import threading

import pytest

from holdfast.base import ids
from holdfast.base.errors import BadInput, Conflict, QuotaExceeded
from holdfast.control.operations.flavor import FIRST, flavor_resolve, flavors_bootstrap
from holdfast.control.operations.keypair import keypair_import
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.flavor import flavor_delete, flavor_insert, flavors_list
from holdfast.control.store.host import host_delete, host_fetch, host_insert
from holdfast.control.store.instance import (
    host_is_used,
    instance_insert,
    instance_names_by_host,
    instance_runs,
)
from holdfast.control.store.keypair import keypair_count, keypairs_list
from holdfast.control.store.operation import (
    operation_by_request,
    operation_insert,
    operation_supersede,
    operations_of,
)
from holdfast.control.store.quota import DEFAULT_CLASS, quota_limits, quota_reset, quota_set
from holdfast.domain.instance import Flavor
from tests.api.nova_cloud import HOUR_US, server_row
from tests.conftest import START_US, HeldClock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJz9C2hSqc9xW1Dn1nJvXQHrC7J0q1uJr3hGm1Qk5mJw a"


def test_runs_are_those_that_touch_the_period_and_come_in_pages(store: Database) -> None:
    hour = HOUR_US
    spans = {
        "before": (START_US - 9 * hour, START_US - 4 * hour),
        "over": (START_US - 5 * hour, START_US - 2 * hour),
        "inside": (START_US - 3 * hour, START_US - 2 * hour),
        "still": (START_US - 2 * hour, 0),
        "after": (START_US, 0),
        "never": (0, 0),
    }

    def fill(tx: Tx) -> None:
        for project_id in ("p", "q"):
            for name, (launched, terminated) in spans.items():
                instance_insert(
                    tx, server_row(project_id, tx.now_us, name=name, launched_us=launched, terminated_us=terminated)
                )

    store.write(fill)
    start, end = START_US - 4 * hour, START_US

    def page(after: tuple[str, str], project_id: str | None, limit: int = 2) -> list[tuple[str, str, str]]:
        runs = store.read(lambda tx: instance_runs(tx, start, end, project_id, after, limit))
        return [(run.project_id, run.id, run.name) for run in runs]

    seen: list[tuple[str, str, str]] = []
    while rows := page(seen[-1][:2] if seen else ("", ""), None):
        seen += rows
    assert len(seen) == len(set(seen)) == 6
    assert [project_id for project_id, _, _ in seen] == ["p"] * 3 + ["q"] * 3
    assert {name for _, _, name in page(("", ""), "p", 10)} == {"over", "inside", "still"}
    runs = store.read(lambda tx: instance_runs(tx, start, end, "p", ("", ""), 10))
    assert {run.name: run.hours_within(start, end) for run in runs} == {"over": 2.0, "inside": 1.0, "still": 2.0}


def test_acts_come_in_pages_even_when_they_share_an_instant(store: Database, clock: HeldClock) -> None:
    def act(tx: Tx) -> str:
        request_id = ids.new_request_id()
        operation_insert(
            tx,
            kind="server_reboot",
            step="reach",
            resource_id="i",
            project_id="p",
            user_id="u",
            request_id=request_id,
            deadline_s=0,
        )
        operation_supersede(tx, "i", "again")
        return request_id

    requests = {store.write(act) for _ in range(3)}
    clock.advance_s(1)
    newest = store.write(act)
    assert store.read(lambda tx: operation_by_request(tx, "other", newest)) is None
    seen, after = [], None
    while rows := store.read(lambda tx, after=after: operations_of(tx, "i", 1, after)):
        after = rows[-1]
        seen.append(after.request_id)
    assert seen[0] == newest
    assert set(seen[1:]) == requests
    late = store.read(lambda tx: operations_of(tx, "i", updated_us=(START_US + 1, START_US + 2_000_000)))
    assert [row.request_id for row in late] == [newest]


def test_a_host_names_what_it_holds_and_is_forgotten_whole(store: Database) -> None:
    def fill(tx: Tx) -> str:
        for host_id in ("h", "k"):
            host_insert(tx, host_id, host_id, "nova", "digest")
        row = server_row("p", tx.now_us, host_id="h")
        instance_insert(tx, row)
        instance_insert(tx, server_row("p", tx.now_us))
        return row.id

    instance_id = store.write(fill)
    assert store.read(instance_names_by_host) == {"h": [(instance_id, "web")]}
    assert store.read(lambda tx: instance_names_by_host(tx, "k")) == {}
    assert store.read(lambda tx: (host_is_used(tx, "h"), host_is_used(tx, "k"))) == (True, False)
    store.write(lambda tx: host_delete(tx, "k"))
    assert store.read(lambda tx: (host_fetch(tx, "h") is None, host_fetch(tx, "k") is None)) == (False, True)


def test_a_default_holds_for_projects_without_a_limit_of_their_own(store: Database) -> None:
    def fill(tx: Tx) -> None:
        quota_set(tx, DEFAULT_CLASS, {"cores": 5})
        quota_set(tx, "p", {"cores": 9})

    store.write(fill)

    def cores(tx: Tx) -> tuple[int, int, int]:
        return tuple(quota_limits(tx, project)["cores"] for project in ("p", "q", DEFAULT_CLASS))  # type: ignore[return-value]

    assert store.read(cores) == (9, 5, 5)
    store.write(lambda tx: quota_reset(tx, "p", ("cores",)))
    assert store.read(cores) == (5, 5, 5)


def test_the_first_flavors_are_made_once_and_one_that_was_deleted_stays_away(store: Database) -> None:
    store.write(flavors_bootstrap)
    store.write(lambda tx: flavor_delete(tx, "42"))
    store.write(flavors_bootstrap)
    assert {row.id for row in store.read(flavors_list)} == {row.id for row in FIRST} - {"42"}
    store.write(lambda tx: flavor_insert(tx, Flavor("d", "off", 1, 1, 1, disabled=True)))
    with pytest.raises(BadInput, match="disabled"):
        store.read(lambda tx: flavor_resolve(tx, "d", "p"))
    with pytest.raises(BadInput, match=r"Flavor none could not be found\."):
        store.read(lambda tx: flavor_resolve(tx, "none", "p"))


def test_two_that_import_one_name_at_once_get_one_key_and_one_conflict(store: Database) -> None:
    answers: list[str] = []

    def work() -> None:
        try:
            store.write(lambda tx: keypair_import(tx, "u", "p", "k", KEY))
            answers.append("made")
        except Conflict:
            answers.append("conflict")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == ["conflict"] * 5 + ["made"]
    assert len(store.read(lambda tx: keypairs_list(tx, "u"))) == 1


def test_a_quota_holds_when_many_import_at_once(store: Database) -> None:
    store.write(lambda tx: quota_set(tx, "p", {"key_pairs": 2}))
    refused: list[str] = []

    def work(number: int) -> None:
        try:
            store.write(lambda tx: keypair_import(tx, "u", "p", f"k{number}", KEY))
        except QuotaExceeded as err:
            refused.append(err.message)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert store.read(lambda tx: keypair_count(tx, "u")) == 2
    assert len(refused) == 4
