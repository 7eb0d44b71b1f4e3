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
from holdfast.base.errors import Unavailable
from holdfast.control.operations.flavor import flavors_bootstrap
from holdfast.control.operations.identity.bootstrap import Bootstrapped, identity_bootstrap
from holdfast.control.operations.identity.keys import keys_prepare
from holdfast.control.operations.identity.passwords import password_hash
from holdfast.control.operations.image_file import images_claim
from holdfast.control.operations.network.bootstrap import network_bootstrap
from holdfast.control.operations.network.hosts import publics_list
from holdfast.control.store.database import Database
from holdfast.control.store.host import host_insert
from holdfast.control.store.identity.identity import user_by_name
from holdfast.control.store.migrate import migrate
from holdfast.control.store.postgresql.standby import standby_is_waited_for
from holdfast.control.store.sqlite.damage import damage_check
from holdfast.daemon.first_users import USERS, credentials_write, passwords_make
from holdfast.daemon.places import Places, write_private
from holdfast.domain.identity import DEFAULT_DOMAIN


@contextmanager
def opened(settings: config.Settings) -> Iterator[tuple[Database, str]]:
    """The store with its tables as this release needs them, and a sentence about it."""
    damage_check(settings.store_url)
    store = Database(settings.store_url)
    try:
        done = migrate(store)
        kind = "SQLite" if store.is_sqlite else _kind_of(store)
        yield store, f"{kind}, {done} migrations applied" if done else f"{kind}, nothing to migrate"
    finally:
        store.close()


def _kind_of(store: Database) -> str:
    if store.read(standby_is_waited_for):
        return "PostgreSQL with a synchronous standby"
    return "PostgreSQL without a synchronous standby (a failover could lose writes)"


def cloud_enter(store: Database, places: Places, settings: config.Settings) -> dict[str, str]:
    """Keys, images and the first users' passwords, which it returns: this machine's, or new ones for a new cloud.

    Raises Unavailable, with what to copy, where the store has a cloud whose secrets are not here.
    """
    if not places.credentials.exists() and store.read(lambda tx: user_by_name(tx, DEFAULT_DOMAIN, USERS[0])):
        raise Unavailable(
            f"the store has a cloud already, and {places.credentials} is missing: copy it and keys/cloud.key from a "
            f"machine of that cloud to {places.state}",
            code="credentials_missing",
            retryable=False,
        )
    keys_prepare(store, places.state / "keys")
    images_claim(store, settings.images_path)
    passwords = passwords_make(places)
    credentials_write(places, settings, passwords, {})  # before the rows: a kill in between loses nobody's password
    return passwords


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
