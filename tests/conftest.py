"""Fixtures are nouns: a store on each database, and a cloud without hosts to speak to."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import Engine, create_engine, text

from holdfast.api.http.services import Services
from holdfast.base.config import Settings
from holdfast.control.operations.identity import passwords as passwords_module
from holdfast.control.operations.identity.bootstrap import Bootstrapped, identity_bootstrap
from holdfast.control.store import database as database_module
from holdfast.control.store.database import Database
from holdfast.control.store.postgresql import connections as connections_module
from holdfast.control.store.tables import metadata
from holdfast.daemon.composition import make_application, make_services
from tests import postgres
from tests.client import Client

# how long an example takes says nothing on a busy machine
hypothesis.settings.register_profile("holdfast", deadline=None, print_blob=True)
hypothesis.settings.load_profile("holdfast")

START_US = 1_800_000_000_000_000


class HeldClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at_us = START_US
        self.then: Callable[[], None] = lambda: None  # what happens whenever it was moved

    def now_us(self) -> int:
        return self.at_us

    def monotonic_s(self) -> float:
        return self.at_us / 1_000_000

    def advance_s(self, seconds: float) -> None:
        self.at_us += int(seconds * 1_000_000)
        self.then()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres.server() as server:
        yield server.url


_numbers = itertools.count()


SLOW = ("tests/sim/", "tests/host/test_imagecache_crash.py", "tests/stories/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: nobody waits for it alone in the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


BOTH = ("sqlite", "postgresql")


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    yield from _one_of_both(request, tmp_path, "postgres_url", "template1")


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind; the one on a server has its tables, which take a second to make."""
    yield from _one_of_both(request, tmp_path, "postgres_tables_url", "tables")


def _one_of_both(request: pytest.FixtureRequest, tmp_path: Path, server: str, template: str) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    with _database_of(request.getfixturevalue(server), template) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_tables_url(postgres_url: str) -> str:
    """The same server, with a database `tables` to copy."""
    with _as_owner(postgres_url) as run:
        run("CREATE DATABASE tables")
    _with_tables(postgres_url.replace("/postgres?", "/tables?"), HeldClock()).close()
    return postgres_url


@pytest.fixture
def postgres_store_url(postgres_tables_url: str) -> Iterator[str]:
    """A database on the server, with its tables."""
    with _database_of(postgres_tables_url, "tables") as url:
        yield url


@contextmanager
def _database_of(server: str, template: str) -> Iterator[str]:
    name = f"t{next(_numbers)}"
    with _as_owner(server) as run:
        run(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.replace("/postgres?", f"/{name}?")
        run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _as_owner(server: str) -> Iterator[Callable[[str], object]]:
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield lambda statement: connection.execute(text(statement))
    engine.dispose()


_make_engine = database_module.create_engine
_shared: dict[str, Engine] = {}


def _engine_that_knows_the_statements(url: Any, **words: Any) -> Engine:
    """Every test opens stores of its own; what the first one compiled of SQL, the next ones need not compile again.

    SQLAlchemy keeps that by dialect and engine, so all on one kind of database share those of the first.
    """
    engine = _make_engine(url, query_cache_size=STATEMENTS_MAX, **words)
    first = _shared.setdefault(engine.dialect.name, engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
    return engine


STATEMENTS_MAX = 10_000
database_module.create_engine = connections_module.create_engine = _engine_that_knows_the_statements


def open_store(url: str, clock: HeldClock) -> Database:
    """Open a store with every table, as migrations leave it."""
    if not url.startswith(SQLITE):
        return _with_tables(url, clock)
    return Database(_copied(_empty_store(), url), clock.now_us)


def _with_tables(url: str, clock: HeldClock) -> Database:
    database = Database(url, clock.now_us)
    with database.connect_for_migration() as connection:
        metadata.create_all(connection)
        connection.commit()
    return database


SQLITE = "sqlite:///"


@lru_cache(maxsize=1)
def _templates() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hf-template-")


def pytest_sessionfinish() -> None:
    """A worker's process ends without its exit handlers."""
    if _templates.cache_info().currsize:
        _templates().cleanup()


def _copied(template: Path, url: str) -> str:
    """A store that begins as a copy: making forty tables takes longer than most tests."""
    shutil.copyfile(template, url.removeprefix(SQLITE))
    return url


@lru_cache(maxsize=1)
def _empty_store() -> Path:
    path = Path(_templates().name) / "empty.sqlite"
    _with_tables(f"{SQLITE}{path}", HeldClock()).close()
    return path


@lru_cache(maxsize=1)
def _first_store() -> tuple[Path, Bootstrapped]:
    """One with the first users, projects and roles, and who they are."""
    path = Path(_templates().name) / "first.sqlite"
    database = open_store(f"{SQLITE}{path}", HeldClock())
    known = database.write(lambda tx: identity_bootstrap(tx, password_hashes()))
    database.close()
    return path, known


@pytest.fixture
def store(store_url: str, clock: HeldClock) -> Iterator[Database]:
    """A store on each database in turn: for the contract suite of the data layer."""
    database = open_store(store_url, clock)
    yield database
    database.close()


PASSWORDS = {"admin": "admin-secret", "demo": "demo-secret"}


@lru_cache(maxsize=1)
def password_hashes() -> dict[str, str]:
    """Hashed once per test process."""
    return {name: passwords_module.password_hash(password) for name, password in PASSWORDS.items()}


COST = passwords_module.COST
passwords_module.COST = (16, 1, 1)  # with the product's own, each login of a test costs a tenth of a second


@pytest.fixture
def product_cost(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """Passwords cost what they cost in the product: N, r, p of scrypt."""
    monkeypatch.setattr(passwords_module, "COST", COST)
    return COST


@dataclasses.dataclass
class Cloud:
    """A control plane in this process, without a socket, with the first users and projects."""

    services: Services
    application: Any
    client: Client
    clock: HeldClock
    known: Bootstrapped  # ids of the first users, projects and roles

    def token(self, user: str = "demo", project: str = "demo") -> str:
        """A token of a first user for a first project."""
        domain = {"id": "default"}
        password = {"user": {"name": user, "domain": domain, "password": PASSWORDS[user]}}
        identity = {"methods": ["password"], "password": password}
        scope = {"project": {"name": project, "domain": domain}}
        answer = self.client.post("/identity/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        assert answer.status == 201, answer.body
        return answer.headers["x-subject-token"]

    def as_user(self, user: str = "demo", project: str = "demo") -> Client:
        """A client that speaks for a first user in a first project."""
        return self.client.as_token(self.token(user, project))


@pytest.fixture
def cloud(tmp_path: Path, clock: HeldClock) -> Iterator[Cloud]:
    """A cloud on SQLite: for the facades."""
    settings = Settings(state=str(tmp_path))
    template, known = _first_store()
    database = Database(_copied(template, settings.store_url), clock.now_us)
    services = make_services(settings, database, clock)
    application = make_application(services)
    yield Cloud(services, application, Client(application), clock, known)
    application.close()
    database.close()


@pytest.fixture
def postgres_cloud(postgres_store_url: str, tmp_path: Path, clock: HeldClock) -> Iterator[Cloud]:
    """The same on PostgreSQL: for what several replicas do at once, and for what the other database might not hold."""
    settings = Settings(state=str(tmp_path), store=postgres_store_url)
    database = Database(settings.store_url, clock.now_us)
    known = database.write(lambda tx: identity_bootstrap(tx, password_hashes()))
    services = make_services(settings, database, clock)
    application = make_application(services)
    yield Cloud(services, application, Client(application), clock, known)
    application.close()
    database.close()


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Any:
    """A cloud with one simulated host; tests.world says what it can do."""
    from tests.world import World

    return World(cloud, tmp_path)
