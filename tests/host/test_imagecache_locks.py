"""Locks that threads and processes share, and whose files may go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from holdfast.host.imagecache.locks import exclusive, exclusive_or_not, shared

ROOT = Path(__file__).parents[2]


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock), exclusive_or_not(lock) as mine:
        assert not mine
    with shared(lock), shared(lock), exclusive_or_not(lock) as mine:
        assert not mine
    with exclusive_or_not(lock) as mine:
        assert mine


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from holdfast.host.imagecache.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with exclusive_or_not(lock) as mine:
            assert not mine
        os.kill(holder.pid, signal.SIGKILL)
    with exclusive_or_not(lock) as mine:
        assert mine


def test_who_waited_for_a_removed_lock_holds_the_new_one(tmp_path: Path) -> None:
    """A lock on a file that nobody can find any more would exclude nobody."""
    lock = tmp_path / "lock"
    has, may_go = threading.Event(), threading.Event()

    def wait_and_hold() -> None:
        with exclusive(lock):
            has.set()
            assert may_go.wait(20)

    waiter = threading.Thread(target=wait_and_hold)
    with exclusive(lock):
        inode = os.stat(lock).st_ino
        waiter.start()
        blocked = f":{inode} "
        while not any("->" in line and blocked in line for line in Path("/proc/locks").read_text().splitlines()):
            assert waiter.is_alive()
        lock.unlink()
    assert has.wait(20)
    with exclusive_or_not(lock) as mine:
        assert not mine
    may_go.set()
    waiter.join()
