"""The store of the simulation: real SQLite in memory-backed files, made once per process and copied per seed.

Each replica has its own `SimStore` on the one file, as each has its own connections in life. It may be told to
die before its Nth statement or after its next commit, to be slow, or to fail.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import OperationalError

from holdfast.base import ids
from holdfast.base.config import Settings
from holdfast.control.operations.flavor import flavors_bootstrap
from holdfast.control.operations.identity.bootstrap import Bootstrapped, identity_bootstrap
from holdfast.control.operations.network.bootstrap import network_bootstrap
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.image import image_insert
from holdfast.daemon.composition import make_application, make_services
from tests.client import Client
from tests.conftest import Cloud, HeldClock, open_store, password_hashes
from tests.sim.clockwork import Killed, loop
from tests.world import active_image

T = TypeVar("T")
REPLICAS_MAX = 3


class SeededIds:
    """The module `uuid`, with ids from dice."""

    UUID, uuid5 = uuid.UUID, staticmethod(uuid.uuid5)

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(f"ids of {seed}")

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._dice.getrandbits(128), version=4)


class SimStore(Database):
    """The connections of one replica."""

    def __init__(self, url: str) -> None:
        self.statements_left, self.dies_after_commit, self.fails = 0, False, False
        self.pause_s: Callable[[], float] = lambda: 0.0
        self.written = False  # since somebody judged the rows
        super().__init__(url, lambda: loop().store_now_us, self._before)
        connection = self._writer.raw_connection()
        connection.driver_connection.execute("PRAGMA synchronous=OFF")  # type: ignore[union-attr]
        connection.close()

    def sound(self) -> None:
        """Forget every trouble: a new process, or a healed store."""
        self.statements_left, self.dies_after_commit, self.fails = 0, False, False
        self.pause_s = lambda: 0.0

    def read(self, fn: Callable[[Tx], T]) -> T:
        return self._whole(lambda: Database.read(self, fn), writes=False)

    def write(self, fn: Callable[[Tx], T]) -> T:
        return self._whole(lambda: Database.write(self, fn), writes=True)

    def write_each(self, fns: Sequence[Callable[[Tx], T]]) -> list[T | Exception]:
        return self._whole(lambda: Database.write_each(self, fns), writes=True)

    def _whole(self, change: Callable[[], T], writes: bool) -> T:
        if (pause_s := self.pause_s()) > 0:
            loop().sleep(pause_s)
        try:
            answer = change()
        finally:
            self.written = self.written or writes
        if writes and self.dies_after_commit:
            self.dies_after_commit = False
            raise Killed
        return answer

    def _before(self, statement: str) -> None:
        if self.fails and not statement.startswith("RELEASE"):
            raise OperationalError(statement, {}, Exception("disk I/O error (injected)"))
        if self.statements_left:
            self.statements_left -= 1
            if not self.statements_left:
                raise Killed


@dataclass
class Ground:
    """What every seed of this process starts from."""

    home: Path
    settings: Settings
    template: sqlite3.Connection
    raw: sqlite3.Connection  # the invariants' own look at the rows
    stores: list[SimStore]
    known: Bootstrapped
    token: str
    admin_token: str

    def restore(self) -> None:
        """Make the store what it was at the beginning."""
        self.raw.rollback()
        self.template.backup(self.raw)
        for store in self.stores:
            store.sound()


@lru_cache(maxsize=1)
def ground() -> Ground:
    """Fill a store, once per process, with the same ids in each."""
    try:
        ids.uuid = SeededIds(0)  # type: ignore[assignment]
        return _made()
    finally:
        ids.uuid = uuid


def _made() -> Ground:
    base = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="holdfast-sim-", dir=base if base.is_dir() else None))
    settings = Settings(state=str(home))
    clock = HeldClock()
    store = open_store(settings.store_url, clock)
    known = store.write(lambda tx: identity_bootstrap(tx, password_hashes()))
    services = make_services(settings, store, clock)
    application = make_application(services)
    cloud = Cloud(services, application, Client(application), clock, known)
    projects = {"admin_project_id": known.admin_project_id, "demo_project_id": known.demo_project_id}
    ranges = {"public_cidr": "172.24.4.0/24", "private_cidr": "10.77.0.0/24"}
    store.write(flavors_bootstrap)
    store.write(lambda tx: network_bootstrap(tx, **projects, **ranges))
    store.write(lambda tx: image_insert(tx, active_image(known.admin_project_id)))
    tokens = cloud.token(), cloud.token("admin", "admin")
    application.close()
    store.close()
    raw = sqlite3.connect(home / "store.sqlite", isolation_level=None)
    raw.execute("PRAGMA synchronous=OFF")
    template = sqlite3.connect(":memory:")
    raw.backup(template)
    stores = [SimStore(settings.store_url) for _ in range(REPLICAS_MAX)]
    return Ground(home, settings, template, raw, stores, known, *tokens)


def forget_ground() -> None:
    """Remove the files of this process's seeds."""
    if ground.cache_info().currsize:
        here: Any = ground()
        for store in here.stores:
            store.close()
        here.raw.close()
        shutil.rmtree(here.home, ignore_errors=True)
        ground.cache_clear()
