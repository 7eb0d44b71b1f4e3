"""The transaction runner, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import func, insert, select

from holdfast.base.errors import BadInput, Bug
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.postgresql import connections
from holdfast.control.store.quota import quota, quota_limits, quota_require, quota_set


def test_a_write_that_raises_writes_nothing(store: Database) -> None:
    def change(tx: Tx) -> None:
        quota_set(tx, "p", {"instances": 1})
        raise KeyError("after the write")

    with pytest.raises(KeyError):
        store.write(change)
    assert store.read(lambda tx: tx.value(select(func.count()).select_from(quota))) == 0


def test_a_reader_cannot_write(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STORE_AWAY_S", 0.3)  # PostgreSQL says what a standby says, and that is waited for
    with pytest.raises(Exception, match=r"readonly|read-only|does not answer"):
        store.read(lambda tx: quota_set(tx, "p", {"instances": 1}))
    assert store.read(lambda tx: tx.value(select(func.count()).select_from(quota))) == 0


def test_read_then_write_by_sixteen_threads_loses_no_update_and_never_locks(store: Database) -> None:
    store.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
    failures: list[BaseException] = []

    def count_up(tx: Tx) -> None:
        quota_set(tx, "p", {"instances": quota_limits(tx, "p")["instances"] + 1})

    def work() -> None:
        try:
            for _ in range(25):
                store.write(count_up)
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.read(lambda tx: quota_limits(tx, "p"))["instances"] == 400


def test_one_failing_write_of_a_group_leaves_the_others(store: Database) -> None:
    results: dict[int, str] = {}

    def work(number: int) -> None:
        def change(tx: Tx) -> None:
            tx.run(insert(quota), {"project_id": f"p{number}", "resource": "instances", "limit": number})
            if number % 2:
                raise ValueError(number)

        try:
            store.write(change)
            results[number] = "kept"
        except ValueError:
            results[number] = "refused"

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {n for n, result in results.items() if result == "kept"}
    assert kept == set(range(0, 20, 2))
    assert store.read(lambda tx: tx.value(select(func.count()).select_from(quota))) == len(kept)


def test_hints_come_after_the_commit_only(store: Database) -> None:
    seen: list[int] = []
    store.signals.listen("quota", lambda: seen.append(store.read(lambda tx: quota_limits(tx, "p"))["instances"]))

    def change(tx: Tx) -> None:
        quota_set(tx, "p", {"instances": 7})
        tx.notify("quota")

    store.write(change)
    assert seen == [7]


def test_an_instant_is_never_text(store: Database) -> None:
    from holdfast.control.store.idempotency import idempotency

    row = {"scope": "s", "key": "k", "digest": "d", "status": 200, "body": b"", "created_us": "2026-11-21 03:20:00"}
    with pytest.raises(Exception, match="integer of microseconds") as caught:
        store.write(lambda tx: tx.run(insert(idempotency), row))
    assert isinstance(caught.value, Bug) or isinstance(caught.value.__cause__, Bug)


def test_quota_counts_are_refused_with_the_numbers(store: Database) -> None:
    store.write(lambda tx: quota_set(tx, "p", {"instances": 2}))
    with pytest.raises(Exception, match="2 of 2 in use"):
        store.read(lambda tx: quota_require(tx, "p", "instances", used=2))


def test_text_that_a_database_cannot_hold_is_the_callers_mistake_or_is_held(store: Database) -> None:
    def answered(do: Callable[[], object]) -> str:
        try:
            do()
        except BadInput:
            return "refused"
        return "held"

    looked = answered(lambda: store.read(lambda tx: quota_limits(tx, "p\x00q")))
    wrote = answered(lambda: store.write(lambda tx: quota_set(tx, "p\x00q", {"instances": 1})))
    assert looked == wrote == ("held" if store.is_sqlite else "refused")
