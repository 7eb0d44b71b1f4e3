"""The first users' passwords, in one file that only its owner may read. Made on the first run, and kept."""

from __future__ import annotations

import json
import secrets
from typing import Any

from holdfast.base import config
from holdfast.daemon.places import Places, write_private

USERS = ("admin", "demo")


def passwords_make(places: Places) -> dict[str, str]:
    """The passwords of the first users: those of the first run, or new ones."""
    if places.credentials.exists():
        users = json.loads(places.credentials.read_text())["users"]
        return {name: users[name]["password"] for name in USERS}
    return {name: secrets.token_urlsafe(18) for name in USERS}


def credentials_write(
    places: Places, settings: config.Settings, passwords: dict[str, str], ec2: dict[str, Any]
) -> None:
    """What clients on this machine need, readable by its owner only."""
    users = {name: {"password": passwords[name], "project": name, "ec2": ec2.get(name, {})} for name in USERS}
    document = {"endpoint": settings.endpoint, "region": settings.region, "users": users}
    write_private(places.credentials, json.dumps(document, indent=1))
