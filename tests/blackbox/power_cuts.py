"""The power goes while writers write, again and again: no answered write is lost, and the store is whole each time.

Writers are processes. Each says a key when its write was answered; what was said before the cut must be in the store
after it, together with all that was said before the cuts before. FAULTS DBT-01 and STK-12, FEATURES F5.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.control.store.database import Database
from holdfast.control.store.quota import quota_set
from holdfast.control.store.tables import metadata
from tests.blackbox.disk import LoopDisk

WRITERS, THREADS = 2, 4
ANSWERED_MAX = 300  # writes between two cuts
CUTS_PER_DISK = 20  # then the small disk is nearly full, and another one begins
KEY_BYTES = 16  # of one key: a read from a pipe is whole keys, and each is written at once


@dataclass
class Writer:
    """One process that writes until it is killed."""

    pid: int
    said: int  # the end of a pipe that its keys come from

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.said)


@dataclass
class PowerCuts:
    """Cuts on one disk after another."""

    room: Path
    dice: random.Random
    cuts: int = 0
    answered: set[str] = field(default_factory=set)  # on the disk of now
    total: int = 0

    def run(self, count: int) -> None:
        """Cut so many times; raises AssertionError when something answered is gone."""
        disk = LoopDisk(self.room / "disk.img", self.room / "mounted")
        while self.cuts < count:
            disk.make()
            try:
                self.answered.clear()
                store_make(disk.mounted)
                for _ in range(min(CUTS_PER_DISK, count - self.cuts)):
                    self._once(disk)
            finally:
                disk.unmount()

    def _once(self, disk: LoopDisk) -> None:
        writers = [writer_start(disk.mounted, f"{self.cuts:05d}{number}") for number in range(WRITERS)]
        try:
            wanted = self.dice.randrange(1, ANSWERED_MAX)
            before = len(self.answered)
            while len(self.answered) - before < wanted:
                for each in writers:
                    self.answered.add(os.read(each.said, KEY_BYTES).decode())
            disk.cut()
        finally:
            for each in writers:
                each.end()
        disk.unmount()
        disk.mount()
        self.cuts += 1
        self.total += len(self.answered) - before
        lost = self.answered - kept(disk.mounted)
        assert not lost, f"after cut {self.cuts}: {len(lost)} answered writes are gone: {sorted(lost)[:5]}"


def writer_start(directory: Path, name: str) -> Writer:
    """A process of its own; this one has no threads, so it may fork."""
    said, says = os.pipe()
    pid = os.fork()
    if pid:
        os.close(says)
        return Writer(pid, said)
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what it meets after the cut is told to nobody
        _write_for_ever(directory, name, says)
    finally:
        os._exit(1)


def _write_for_ever(directory: Path, name: str, says: int) -> None:
    store = Database(url_of(directory), lambda: 1)

    def work(thread: int) -> None:
        number = 0
        while True:
            key = f"{name}-{thread}-{number}".ljust(KEY_BYTES, ".")
            store.write(lambda tx, key=key: quota_set(tx, key, {"instances": 1}))  # type: ignore[misc]
            os.write(says, key.encode())
            number += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def url_of(directory: Path) -> str:
    return f"sqlite:///{directory / 'store.sqlite'}"


def store_make(directory: Path) -> None:
    database = Database(url_of(directory), lambda: 1)
    with database.connect_for_migration() as connection:
        metadata.create_all(connection)
        connection.commit()
    database.close()


def kept(directory: Path) -> set[str]:
    """The keys in the file, read by SQLite alone; it must be whole."""
    with closing(sqlite3.connect(directory / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {key for (key,) in connection.execute("SELECT project_id FROM quota")}
