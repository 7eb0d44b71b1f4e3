"""The rows that a cloud begins with, made once: users, flavors, networks, this host. Repeating it is nothing.

Ids and secrets are made on the first run and kept; a second `up`, or two at once, finds them and changes
nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.base import config, ids
from holdfast.base.clock import SystemClock
from holdfast.control.operations.flavor import flavors_bootstrap
from holdfast.control.operations.identity.bootstrap import Bootstrapped, identity_bootstrap
from holdfast.control.operations.identity.passwords import password_hash
from holdfast.control.operations.network.bootstrap import network_bootstrap
from holdfast.control.operations.network.hosts import publics_list
from holdfast.control.store.database import Database
from holdfast.control.store.host import host_insert
from holdfast.control.store.migrate import migrate
from holdfast.daemon.first_users import USERS
from holdfast.daemon.places import Places, write_private


@contextmanager
def opened(settings: config.Settings) -> Iterator[tuple[Database, str]]:
    """The store with its tables as this release needs them, and a sentence about it."""
    store = Database(settings.store_url, SystemClock().now_us)
    try:
        done = migrate(store)
        kind = "SQLite" if store.is_sqlite else "PostgreSQL"
        yield store, f"{kind}, {done} migrations applied" if done else f"{kind}, nothing to migrate"
    finally:
        store.close()


def identity_make(store: Database, passwords: dict[str, str]) -> Bootstrapped:
    """Users, projects and roles."""
    hashes = {name: password_hash(passwords[name]) for name in USERS}
    return store.write(lambda tx: identity_bootstrap(tx, hashes))


def network_make(store: Database, settings: config.Settings, made: Bootstrapped) -> None:
    """Flavors, the public pool and the first project's network."""
    store.write(flavors_bootstrap)
    store.write(
        lambda tx: network_bootstrap(
            tx,
            admin_project_id=made.admin_project_id,
            demo_project_id=made.demo_project_id,
            public_cidr=settings.public_cidr,
            private_cidr=settings.private_cidr,
        )
    )


def publics_of(store: Database) -> list[tuple[str, str]]:
    """The public networks that there are, as (range, gateway)."""
    return store.read(publics_list)


def host_make(store: Database, places: Places, settings: config.Settings, name: str) -> None:
    """One compute host of this machine: its id and token files, and its row."""
    home = places.host(name)
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not (home / "token").exists():
        write_private(home / "token", secrets.token_urlsafe(32))
    if not (home / "id").exists():
        write_private(home / "id", ids.new_id())
    host_id, token = (home / "id").read_text().strip(), (home / "token").read_text().strip()
    digest = hashlib.sha256(token.encode()).hexdigest()
    store.write(lambda tx: host_insert(tx, host_id, name, settings.zone, digest))
