"""An image service for tests: tokens name a project and its roles, so that no identity service is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.api.http.application import Application
from holdfast.api.http.services import Services
from holdfast.base.config import Settings
from holdfast.base.errors import Unauthenticated
from holdfast.control.operations.image_file import MARK
from holdfast.control.store.image import image_fetch
from holdfast.daemon.composition import make_application, make_services
from holdfast.domain.credentials import Credentials, imply
from tests.client import Answer, Client
from tests.conftest import HeldClock, open_store

PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}
OCTETS = {"content-type": "application/octet-stream"}


def credentials_of(token: str) -> Credentials:
    """`blue:member` is a member of the project blue."""
    project, _, role = token.partition(":")
    if role not in ("admin", "member", "reader"):
        raise Unauthenticated("The request you have made requires authentication.")
    return Credentials("user", "user", "default", project_id=project, roles=imply(frozenset({role})))


@dataclasses.dataclass
class ImageCloud:
    """The image service with its directory, and clients of a few projects."""

    services: Services
    application: Application
    client: Client
    clock: HeldClock

    def as_project(self, project: str, role: str = "member") -> Client:
        return self.client.as_token(f"{project}:{role}")

    @property
    def blue(self) -> Client:
        return self.as_project("blue")

    @property
    def red(self) -> Client:
        return self.as_project("red")

    @property
    def admin(self) -> Client:
        return self.as_project("admin", "admin")

    def create(self, client: Client, **words: Any) -> dict[str, Any]:
        body = {"name": "tiny", "disk_format": "raw", "container_format": "bare", **words}
        answer = client.post("/image/v2/images", body)
        assert answer.status == 201, answer.body
        return dict(answer.json)

    def upload(self, client: Client, image_id: str, data: bytes) -> Answer:
        return client.put(f"/image/v2/images/{image_id}/file", data, headers=OCTETS)

    def active(self, client: Client, data: bytes = b"bytes" * 1000, **words: Any) -> dict[str, Any]:
        image = self.create(client, **words)
        answer = self.upload(client, image["id"], data)
        assert answer.status == 204, answer.body
        self.clock.advance_s(1)
        return image

    def show(self, client: Client, image_id: str) -> dict[str, Any]:
        return dict(client.get(f"/image/v2/images/{image_id}").json)

    def show_status(self, image_id: str) -> str:
        """What the store says, from inside a running event loop."""
        found = self.services.store.read(lambda tx: image_fetch(tx, image_id))
        return found.status.value if found else "deleted"

    def files(self) -> list[str]:
        return sorted(path.name for path in self.services.images.iterdir() if path.name != MARK)


@contextmanager
def image_cloud(state: Path, clock: HeldClock) -> Iterator[ImageCloud]:
    settings = Settings(state=str(state))
    database = open_store(settings.store_url, clock)
    services = make_services(settings, database, clock)
    application = make_application(services)
    application._credentials_of = credentials_of
    yield ImageCloud(services, application, Client(application), clock)
    application.close()
    database.close()
