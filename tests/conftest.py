"""Fixtures are nouns: a store on each database, and a cloud without hosts to speak to."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import create_engine, text

from holdfast.api.http.services import Services
from holdfast.base.config import Settings
from holdfast.control.operations.identity.bootstrap import Bootstrapped, identity_bootstrap
from holdfast.control.operations.identity.passwords import password_hash
from holdfast.control.store.database import Database
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

    def now_us(self) -> int:
        return self.at_us

    def monotonic_s(self) -> float:
        return self.at_us / 1_000_000

    def advance_s(self, seconds: float) -> None:
        self.at_us += int(seconds * 1_000_000)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres.server() as url:
        yield url


_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    server = request.getfixturevalue("postgres_url")
    name = f"t{next(_numbers)}"
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def open_store(url: str, clock: HeldClock) -> Database:
    """Open a store with every table, as migrations leave it."""
    database = Database(url, clock.now_us)
    with database.connect_for_migration() as connection:
        metadata.create_all(connection)
        connection.commit()
    return database


@pytest.fixture
def store(store_url: str, clock: HeldClock) -> Iterator[Database]:
    """A store on each database in turn: for the contract suite of the data layer."""
    database = open_store(store_url, clock)
    yield database
    database.close()


PASSWORDS = {"admin": "admin-secret", "demo": "demo-secret"}


@lru_cache(maxsize=1)
def password_hashes() -> dict[str, str]:
    """Hashed once per test process: it is slow on purpose."""
    return {name: password_hash(password) for name, password in PASSWORDS.items()}


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
    database = open_store(settings.store_url, clock)
    services = make_services(settings, database, clock)
    application = make_application(services)
    known = database.write(lambda tx: identity_bootstrap(tx, password_hashes()))
    yield Cloud(services, application, Client(application), clock, known)
    application.close()
    database.close()


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Any:
    """A cloud with one simulated host; tests.world says what it can do."""
    from tests.world import World

    return World(cloud, tmp_path)
