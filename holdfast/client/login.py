"""A token and the services it opens, asked for once and kept in a file that only its owner may read.

A login hashes a password, the slowest thing a cloud does for a client; so a token is used until it expires. The
file is written whole or not at all, is refused when others may read it, and never holds a password.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.base.errors import Unauthenticated, Unavailable
from holdfast.base.limits import TOKEN_SPARE_S
from holdfast.client.connection import Http
from holdfast.client.credentials import Credentials
from holdfast.client.text import instant_s

_MODE_PRIVATE = 0o077  # bits that nobody but the owner may have
SESSIONS_KEPT = 16  # in one file: clouds times users of one person


class Session(NamedTuple):
    """What a login gave: good until `expires_s` (seconds since the epoch)."""

    token: str
    expires_s: int
    project_id: str
    user_id: str
    services: dict[str, str]  # type of service -> its public URL in the region


class TokenCache:
    """Sessions by who they are for, in one file (0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, credentials: Credentials, now_s: float) -> Session | None:
        """The session of these credentials, unless it is about to expire."""
        try:
            session = Session(*self._read()[_key(credentials)])
        except (KeyError, TypeError):
            return None
        return session if session.expires_s - TOKEN_SPARE_S > now_s else None

    def keep(self, credentials: Credentials, session: Session | None) -> None:
        """Remember a session, or forget it. A cache that cannot be written is no cache, and no error."""
        sessions = self._read()
        sessions.pop(_key(credentials), None)
        if session is not None:
            sessions[_key(credentials)] = list(session)
        newest = dict(list(sessions.items())[-SESSIONS_KEPT:])
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.{time.monotonic_ns()}")
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(newest, file)
            os.replace(temporary, self._path)

    def _read(self) -> dict[str, Any]:
        """What the file holds; nothing when it is not ours alone."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(descriptor)
                if about.st_uid != os.geteuid() or about.st_mode & _MODE_PRIVATE:
                    return {}
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _key(credentials: Credentials) -> str:
    """Who it is for, without any secret: a password that was changed revokes the token, which then asks anew."""
    return json.dumps([credentials.auth_url, credentials.region, *credentials[1:2], *credentials[3:6]])


def login(http: Http, credentials: Credentials) -> Session:
    """Ask identity for a token; raises Unauthenticated naming the user and the cloud."""
    body = json.dumps({"auth": _auth(credentials)}).encode()
    url = f"{credentials.auth_url}/auth/tokens"
    answer = http.request("POST", url, body, {"Content-Type": "application/json"})
    if answer.status in (401, 403):
        who = f"user {credentials.user!r}" if not credentials.token else "the token in OS_TOKEN"
        raise Unauthenticated(f"{credentials.auth_url} does not accept {who} for project {credentials.project!r}")
    if answer.status != 201:
        raise Unavailable(f"{url} answered {answer.status} to a login; is this a cloud?")
    token = answer.json()["token"]
    return Session(
        token=answer.headers["x-subject-token"],
        expires_s=instant_s(token["expires_at"]),
        project_id=token.get("project", {}).get("id", ""),
        user_id=token["user"]["id"],
        services=_services(token.get("catalog", ()), credentials.region),
    )


def _auth(credentials: Credentials) -> dict[str, Any]:
    scope = {"project": {"name": credentials.project, "domain": {"name": credentials.project_domain}}}
    if credentials.token:
        identity: dict[str, Any] = {"methods": ["token"], "token": {"id": credentials.token}}
    else:
        user = {"name": credentials.user, "domain": {"name": credentials.user_domain}, "password": credentials.password}
        identity = {"methods": ["password"], "password": {"user": user}}
    return {"identity": identity, "scope": scope} if credentials.project else {"identity": identity}


def _services(catalog: Any, region: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for service in catalog:
        for endpoint in service["endpoints"]:
            if endpoint["interface"] == "public" and endpoint.get("region_id", region) == region:
                found[service["type"]] = endpoint["url"].rstrip("/")
    return found
