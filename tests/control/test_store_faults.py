"""The embedded store when processes are killed, the disk is full or fails: what was answered is kept.

DBT-02 to DBT-05 and DBT-13, FEATURES C2; when the power goes: tests/blackbox/test_power_cuts.py. Writers are processes
of their own, which print a number once its write was answered.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.base.errors import Unavailable
from holdfast.base.limits import STORE_WAL_BYTES
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.quota import quota_limits, quota_set
from tests.blackbox.disk import MIB, LoopDisk
from tests.blackbox.power_cuts import kept, store_make, url_of
from tests.conftest import HeldClock

ROOT = Path(__file__).parents[2]
WRITER = """
import sys, threading
from holdfast.control.store.database import Database
from holdfast.control.store.quota import quota_set
store = Database(sys.argv[1], lambda: 1)
name, threads, count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def work(thread):
    for number in range(count):
        key = f"{name}-{thread}-{number}"
        store.write(lambda tx: quota_set(tx, key, {"instances": number}))
        sys.stdout.write(key + "\\n")
        sys.stdout.flush()
workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
[each.start() for each in workers]
[each.join() for each in workers]
"""


MIGRATION = """
import sys
from holdfast.control.store.database import Database
from holdfast.control.store.migrate import migrate
store = Database(sys.argv[1], lambda: 1)
assert migrate(store)
"""


def writer(directory: Path, name: str, threads: int, count: int, *before: str) -> subprocess.Popen[str]:
    argv = [*before, sys.executable, "-c", WRITER, url_of(directory), name, str(threads), str(count)]
    out = subprocess.PIPE
    return subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=out, text=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 24 MiB on a loop device, with a store in it."""
    disk = LoopDisk(tmp_path / "disk.img", tmp_path / "mounted")
    disk.make()
    store_make(disk.mounted)
    yield disk.mounted
    disk.unmount()


def test_writers_killed_one_after_another_lose_nothing_and_never_meet_a_locked_store(tmp_path: Path) -> None:
    store_make(tmp_path)
    alive = [writer(tmp_path, f"w{number}", threads=4, count=60) for number in range(4)]
    acknowledged: set[str] = set()
    for number in range(4):
        victim = alive.pop(0)
        assert victim.stdout is not None
        for _ in range(random.Random().randrange(1, 40)):
            acknowledged.add(victim.stdout.readline().strip())
        victim.kill()
        out, _ = victim.communicate()
        acknowledged.update(out.split("\n")[:-1])  # a line that was cut off acknowledges nothing
        alive.append(writer(tmp_path, f"n{number}", threads=4, count=60))
    for survivor in alive:
        out, err = survivor.communicate(timeout=120)
        assert survivor.returncode == 0 and err == "", err
        acknowledged.update(out.split())
    acknowledged.discard("")
    assert len(acknowledged) > 4 * 240
    assert acknowledged <= kept(tmp_path)


@pytest.mark.root
def test_a_full_disk_refuses_writes_answers_reads_and_recovers_by_itself(small_disk: Path) -> None:
    store = Database(url_of(small_disk), HeldClock().now_us)
    store.write(lambda tx: quota_set(tx, "before", {"instances": 1}))
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(MIB // 64))

    def much(tx: Tx) -> None:
        for number in range(20_000):
            quota_set(tx, f"never-{number}", {"instances": number})

    with pytest.raises(Unavailable, match="nothing was changed"):
        store.write(much)
    assert store.read(lambda tx: quota_limits(tx, "before"))["instances"] == 1
    filler.unlink()
    store.write(lambda tx: quota_set(tx, "after", {"instances": 2}))
    store.close()
    assert kept(small_disk) == {"before", "after"}


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_write_whose_fsync_fails_is_not_acknowledged(number: int, tmp_path: Path) -> None:
    store_make(tmp_path)
    inject = f"inject=fsync,fdatasync:error=EIO:when={number}+"
    process = writer(tmp_path, "w", 1, 10, "strace", "-f", "-qq", "-o", "/dev/null", "-e", inject)
    out, err = process.communicate(timeout=60)
    assert "the store cannot write now; nothing was changed" in err and "locked" not in err
    assert len(out.split()) < 10
    assert set(out.split()) <= kept(tmp_path)
    assert process.returncode != -signal.SIGKILL


def test_the_log_of_writes_shrinks_when_a_reader_that_held_it_is_gone(tmp_path: Path) -> None:
    store_make(tmp_path)
    store, log = Database(url_of(tmp_path), HeldClock().now_us), tmp_path / "store.sqlite-wal"

    def write_much(_: Tx) -> None:
        for number in range(2):
            for part in range(STORE_WAL_BYTES // MIB):
                store.write(lambda tx, key=f"{number}-{part}": quota_set(tx, key * (MIB // len(key)), {"cores": 1}))  # type: ignore[misc]

    def read_long(tx: Tx) -> None:
        quota_limits(tx, "nobody")  # from here on it sees, and holds, what there is now
        write_much(tx)

    store.read(read_long)
    assert log.stat().st_size > 2 * STORE_WAL_BYTES
    for number in range(3):
        store.write(lambda tx, key=f"after-{number}": quota_set(tx, key, {"cores": 1}))  # type: ignore[misc]
    assert log.stat().st_size <= STORE_WAL_BYTES
    store.close()


LOG_LOCKS = re.compile(r"fcntl\(\d+<\S+-shm>, F_SETLK, \{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=(120|121),")
WRITES, COPIES = "120", "121"  # the bytes that SQLite locks in its index of the log


def outside_the_lock(trace: Path) -> tuple[set[str], set[str]]:
    """Which of SQLite's own locks on the log one process took, and which of them while it had not the writers' lock."""
    taken, alone, held = set(), set(), False
    for line in trace.read_text().splitlines():
        if "flock resumed" in line or ".lock>, LOCK_" in line:
            held = line.endswith("= 0") and "LOCK_UN" not in line
        if found := LOG_LOCKS.search(line):
            taken.add(found[1])
            alone |= set() if held else {found[1]}
    return taken, alone


def test_whoever_writes_the_log_or_copies_it_to_the_file_has_the_writers_lock(tmp_path: Path) -> None:
    """Releases of SQLite up to 3.51.2 lose writes when one process begins the log anew while another copies it."""
    store = Database(url_of(tmp_path), HeldClock().now_us)
    store.read(lambda tx: tx.all(text("SELECT * FROM sqlite_master")))  # it has it open: nobody else is first, or last
    traces = [tmp_path / f"trace-{number}" for number in range(3)]
    strace = [("strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=flock,fcntl") for trace in traces]
    upgrade = (*strace[0], sys.executable, "-c", MIGRATION, url_of(tmp_path))
    subprocess.run(upgrade, cwd=ROOT, check=True, timeout=60)
    alive = [writer(tmp_path, "ab"[number] * 100_000, 2, 25, *strace[1 + number]) for number in range(2)]
    for process in alive:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    store.close()
    seen = [outside_the_lock(trace) for trace in traces]
    assert [alone for _, alone in seen] == [set(), set(), set()]
    assert all(WRITES in taken for taken, _ in seen) and any(COPIES in taken for taken, _ in seen)
    assert len(kept(tmp_path)) == 100
