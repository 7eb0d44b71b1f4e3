"""Which cloud, and who we are there: from the state directory when it may be read, else from the environment.

`up` writes STATE/credentials.json (0600), so on the cloud's own host nobody needs to set anything. Elsewhere the
variables of OpenStack's own clients are used. A secret is never part of a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.base.errors import BadInput, NotFound, Unauthenticated
from holdfast.client.connection import Unreachable

ADMIN, DEMO = "admin", "demo"


class Credentials(NamedTuple):
    """What a client logs in with. Either a token, or a user and a password."""

    auth_url: str  # of identity, with its version: http://127.0.0.1:5000/identity/v3
    user: str = ""
    password: str = ""
    project: str = ""
    user_domain: str = "Default"
    project_domain: str = "Default"
    token: str = ""
    region: str = "RegionOne"
    ec2_access: str = ""
    ec2_secret: str = ""
    local: bool = False  # from the state directory: this is the cloud's own host

    @property
    def base(self) -> str:
        """The address before the services, where this is a Holdfast."""
        return self.auth_url.rpartition("/identity")[0] or self.auth_url


def credentials_find(state: Path, admin: bool, environment: Mapping[str, str]) -> Credentials:
    """Return the credentials to use; raises Unreachable when there are none."""
    path = state / "credentials.json"
    try:
        document = json.loads(path.read_bytes())
        return _of_state(document, ADMIN if admin else DEMO, path)
    except FileNotFoundError:
        reason = f"{path} is not there"
    except PermissionError:
        reason = f"{path} may be read by its owner only"
    except (OSError, ValueError) as err:
        raise BadInput(f"{path} cannot be read: {type(err).__name__}; 'holdfast up' writes it again") from err
    if environment.get("OS_AUTH_URL"):
        return _of_environment(environment, admin)
    raise Unreachable(f"no cloud to speak to: {reason}, and OS_AUTH_URL is not set")


def _of_state(document: Any, who: str, path: Path) -> Credentials:
    try:
        user = document["users"][who]
        ec2 = user.get("ec2") or {}
        return Credentials(
            auth_url=f"{str(document['endpoint']).rstrip('/')}/identity/v3",
            user=who,
            password=user["password"],
            project=user.get("project", who),
            region=document.get("region", "RegionOne"),
            ec2_access=ec2.get("access", ""),
            ec2_secret=ec2.get("secret", ""),
            local=True,
        )
    except KeyError as err:
        raise NotFound(f"{path} has no {err.args[0]!r}; 'holdfast up' writes it again") from err
    except (TypeError, AttributeError) as err:
        raise BadInput(f"{path} is not what 'holdfast up' writes; it writes it again") from err


def _of_environment(environment: Mapping[str, str], admin: bool) -> Credentials:
    if admin:
        raise Unauthenticated("--admin needs the cloud's state directory; elsewhere set OS_USERNAME and OS_PASSWORD")
    found = Credentials(
        auth_url=environment["OS_AUTH_URL"].rstrip("/"),
        user=environment.get("OS_USERNAME", ""),
        password=environment.get("OS_PASSWORD", ""),
        project=environment.get("OS_PROJECT_NAME", ""),
        user_domain=environment.get("OS_USER_DOMAIN_NAME") or "Default",
        project_domain=environment.get("OS_PROJECT_DOMAIN_NAME") or "Default",
        token=environment.get("OS_TOKEN", ""),
        region=environment.get("OS_REGION_NAME") or "RegionOne",
        ec2_access=environment.get("AWS_ACCESS_KEY_ID", ""),
        ec2_secret=environment.get("AWS_SECRET_ACCESS_KEY", ""),
    )
    if not found.token and not (found.user and found.password and found.project):
        missing = "OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, or OS_TOKEN"
        raise Unauthenticated(f"OS_AUTH_URL is set; next: set {missing} too")
    last = found.auth_url.rpartition("/")[2]
    return found if last == "v3" else found._replace(auth_url=f"{found.auth_url}/v3")
