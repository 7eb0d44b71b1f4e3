"""One PostgreSQL and several replicas: broken connections, failovers, frozen replicas, clocks, hints."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from holdfast.base.errors import Unavailable
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.postgresql import connections as connections_module
from holdfast.control.store.postgresql.commit_mark import commit_mark, commit_marks_prune
from holdfast.control.store.postgresql.connections import url_of
from holdfast.control.store.quota import quota_limits, quota_set
from holdfast.control.store.tables import metadata
from tests import postgres
from tests.pgproxy import Relay
from tests.postgres import Server
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server() -> Iterator[Server]:
    """One that may be killed."""
    with postgres.server() as made:
        tables_make(made.url)
        yield made


def tables_make(url: str) -> None:
    database = Database(url)
    with database.connect_for_migration() as connection:
        metadata.create_all(connection)
        connection.commit()
    database.close()


Opens = Callable[..., Database]


@pytest.fixture
def opens(postgres_store_url: str, tmp_path: Path) -> Iterator[Opens]:
    """Opens the store of a replica; `cut`: through a relay that breaks connections as it says."""
    made: list[Relay | Database] = []

    def replica(cut: Callable[[], str] | None = None, more: str = "") -> Database:
        url = postgres_store_url
        if cut is not None:
            made.append(Relay(tmp_path, url, cut))
            url = made[-1].url
        made.append(Database(url + more))
        return made[-1]

    yield replica
    for each in reversed(made):
        each.close()


def count_up(tx: Tx) -> int:
    count = quota_limits(tx, "p")["instances"] + 1
    quota_set(tx, "p", {"instances": count})
    return count


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_commit_whose_answer_is_lost_happens_once(opens: Opens, how: str) -> None:
    cuts = iter(["", how])
    store = opens(lambda: next(cuts, ""))
    store.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
    assert store.write(count_up) == 1
    assert store.read(lambda tx: quota_limits(tx, "p"))["instances"] == 1


def test_writers_whose_commits_break_all_the_time_count_right(opens: Opens) -> None:
    dice = random.Random(7)
    store = opens(lambda: dice.choice(("", "", "", "", "before", "after")))
    store.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
    working, answers = count_in_threads(store, 4, 15)
    for thread in working:
        thread.join()
    assert sorted(answers) == list(range(1, 4 * 15 + 1))
    assert store.read(lambda tx: quota_limits(tx, "p"))["instances"] == 4 * 15


def count_in_threads(store: Database, threads: int, each: int) -> tuple[list[threading.Thread], list[int]]:
    """Begin to count up; returns the threads, and where their answers go."""
    answers: list[int] = []

    def work() -> None:
        answers.extend(store.write(count_up) for _ in range(each))

    working = [threading.Thread(target=work) for _ in range(threads)]
    for thread in working:
        thread.start()
    return working, answers


LOCALLY = "&options=-c%20synchronous_commit%3Dlocal"  # while there is no standby


def test_a_server_that_is_killed_and_started_again_is_waited_for(server: Server) -> None:
    store = Database(server.url)
    store.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
    working, answers = count_in_threads(store, 4, 100)
    eventually(lambda: len(answers) > 40)
    server.kill()
    server.start()
    for thread in working:
        thread.join()
    assert sorted(answers) == list(range(1, 401))
    assert store.read(lambda tx: quota_limits(tx, "p"))["instances"] == 400
    store.close()


def test_a_standby_that_is_promoted_has_every_answered_write_once() -> None:
    """FEATURES G3: a thousand writes, and the primary loses its power in the middle of them."""
    with postgres.server("-c synchronous_standby_names=s1") as primary:
        tables_make(f"{primary.url}{LOCALLY}")
        with postgres.standby(primary, "s1") as follower:
            hosts = f"host={primary.home}&host={follower.home}&target_session_attrs=read-write"
            stores = [Database(f"postgresql://holdfast@/postgres?{hosts}") for _ in range(2)]
            stores[0].write(lambda tx: quota_set(tx, "p", {"instances": 0}))
            counted = [count_in_threads(store, 4, 125) for store in stores]
            eventually(lambda: sum(len(answers) for _, answers in counted) > 300, 60)
            primary.kill()
            follower.promote()
            for working, _ in counted:
                for thread in working:
                    thread.join()
            answers = [number for _, found in counted for number in found]
            assert sorted(answers) == list(range(1, 1001))
            assert stores[1].read(lambda tx: quota_limits(tx, "p"))["instances"] == 1000
            for store in stores:
                store.close()


def test_a_commit_that_still_waits_for_the_standby_is_waited_for_and_not_repeated(tmp_path: Path) -> None:
    with postgres.server("-c synchronous_standby_names=s1") as primary:
        tables_make(f"{primary.url}{LOCALLY}")
        locally = Database(f"{primary.url}{LOCALLY}")
        locally.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
        with postgres.standby(primary, "s1") as follower:
            follower.stop()
            cuts = iter(["during"])
            relay = Relay(tmp_path, primary.url, lambda: next(cuts, ""))
            store = Database(relay.url)
            working, answers = count_in_threads(store, 1, 1)
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            eventually(lambda: locally.read(lambda tx: tx.value(waiting)))
            assert answers == []
            follower.start()
            working[0].join()
            assert answers == [1]
            assert store.read(lambda tx: quota_limits(tx, "p"))["instances"] == 1
            for each in (store, locally, relay):
                each.close()


FREEZES = """
import sys
from holdfast.control.store.database import Database
from holdfast.control.store.quota import quota_set
def change(tx):
    quota_set(tx, "p", {"instances": 1000})
    print("holds", flush=True)
    sys.stdin.readline()
print("wrote", Database(sys.argv[1]).write(change), flush=True)
"""


def test_a_replica_that_freezes_in_a_transaction_holds_nobody_up_and_repeats_it_when_it_thaws(
    opens: Opens, postgres_store_url: str
) -> None:
    store = opens()
    store.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
    argv = [sys.executable, "-c", FREEZES, postgres_store_url]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as frozen:
        assert frozen.stdin
        assert frozen.stdout
        assert frozen.stdout.readline() == "holds\n"
        frozen.send_signal(signal.SIGSTOP)
        assert store.write(count_up) == 1
        frozen.send_signal(signal.SIGCONT)
        frozen.stdin.write("\n\n")
        frozen.stdin.flush()
        assert frozen.stdout.readline() == "holds\n"  # again, in a transaction of its own
        assert frozen.stdout.readline() == "wrote None\n"
    assert store.read(lambda tx: quota_limits(tx, "p"))["instances"] == 1000


def test_every_replica_has_the_clock_of_the_server(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    store, before_us = opens(), time.time_ns() // 1000
    monkeypatch.setattr(time, "time_ns", lambda: 1)  # a machine whose clock is wrong by decades
    written_us, read_us = store.write(lambda tx: tx.now_us), store.read(lambda tx: tx.now_us)
    assert before_us <= written_us <= read_us <= store.now_us() + 1_000_000
    assert store.now_us() - before_us < 60_000_000


def test_what_one_replica_commits_wakes_the_others_and_a_new_connection_wakes_all(opens: Opens) -> None:
    one, other = opens(), opens()
    heard = threading.Event()
    other.signals.listen("host:a", heard.set)
    other.join_replicas()
    assert heard.wait(10)  # whoever just began to hear knows nothing of what was said before
    one.join_replicas()
    for _ in range(3):
        heard.clear()
        one.write(lambda tx: tx.notify("host:a"))
        assert heard.wait(10)
    heard.clear()
    with one.connect_for_migration() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN holdfast'")
        )
    assert heard.wait(10)


def test_a_store_that_stays_away_is_said_to_and_so_is_a_commit_that_nobody_knows_of(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "STORE_AWAY_S", 0.3)

    def cut() -> str:
        server.kill()
        return "before"

    relay = Relay(tmp_path, server.url, cut)
    store = Database(relay.url)
    with pytest.raises(Unavailable, match="look whether it was done") as unknown:
        store.write(lambda tx: quota_set(tx, "p", {"instances": 0}))
    assert unknown.value.code == "outcome_unknown"
    for attempt in (store.read, store.write):
        with pytest.raises(Unavailable, match="does not answer; try again"):
            attempt(lambda tx: None)
    store.close()
    relay.close()


def test_lanes_of_processes_that_are_gone_are_forgotten(opens: Opens) -> None:
    store = opens()
    for _ in range(3):
        opens().write(lambda tx: None)
    lanes = select(func.count()).select_from(commit_mark)
    assert store.read(lambda tx: tx.value(lanes)) == 3
    assert store.write(lambda tx: commit_marks_prune(tx, tx.now_us - 3_600_000_000)) == 0
    assert store.write(lambda tx: commit_marks_prune(tx, tx.now_us)) == 3


def test_a_session_never_answers_before_its_commit_is_on_disk(opens: Opens) -> None:
    store = opens(more="&options=-c%20synchronous_commit%3Doff")
    assert store.read(lambda tx: tx.value(text("SHOW synchronous_commit"))) == "on"


def test_several_servers_are_named_as_libpq_has_it() -> None:
    url = url_of("postgresql://u:p@a:5432,b:5433/cloud?connect_timeout=3")
    assert (url.drivername, url.username, url.database) == ("postgresql+psycopg", "u", "cloud")
    assert url.query == {"connect_timeout": "3", "host": ("a:5432", "b:5433"), "target_session_attrs": "read-write"}
    assert url_of("postgresql://u@a/cloud").host == "a"
