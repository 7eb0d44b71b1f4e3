"""What tests of volumes share: the verbs of a client of Cinder and Nova, and the files on a host's disk."""

from __future__ import annotations

from typing import Any

from tests.client import Answer, Client
from tests.world import World

GIB = 1 << 30


class Cinder:
    """A client of the volume service of one world, as the demo project unless it is told otherwise."""

    def __init__(self, world: World, client: Client | None = None) -> None:
        self.world, self.client = world, client or world.demo

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        return self.client.request(method, f"/volume/v3{path}", body, {"openstack-api-version": "volume 3.59"})

    def create(self, size_gib: int = 1, **words: Any) -> str:
        """Ask for a volume, accepted and no more."""
        answer = self.call("POST", "/volumes", {"volume": {"size": size_gib, **words}})
        assert answer.status == 202, answer.body
        return str(answer.json["volume"]["id"])

    def made(self, size_gib: int = 1, **words: Any) -> str:
        volume_id = self.create(size_gib, **words)
        self.world.settle()
        assert self.status(volume_id) == "available", self.show(volume_id)
        return volume_id

    def show(self, volume_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/volumes/{volume_id}")
        assert answer.status == 200, answer.body
        return dict(answer.json["volume"])

    def status(self, volume_id: str) -> str:
        answer = self.call("GET", f"/volumes/{volume_id}")
        return "GONE" if answer.status == 404 else str(answer.json["volume"]["status"])

    def act(self, volume_id: str, word: str, argument: Any = None) -> Answer:
        return self.call("POST", f"/volumes/{volume_id}/action", {word: argument})

    def delete(self, volume_id: str) -> Answer:
        return self.call("DELETE", f"/volumes/{volume_id}")

    def snapshot(self, volume_id: str, **words: Any) -> str:
        answer = self.call("POST", "/snapshots", {"snapshot": {"volume_id": volume_id, **words}})
        assert answer.status == 202, answer.body
        return str(answer.json["snapshot"]["id"])

    def snapshot_status(self, snapshot_id: str) -> str:
        answer = self.call("GET", f"/snapshots/{snapshot_id}")
        return "GONE" if answer.status == 404 else str(answer.json["snapshot"]["status"])

    def attach(self, server_id: str, volume_id: str, **words: Any) -> Answer:
        body = {"volumeAttachment": {"volumeId": volume_id, **words}}
        return self.world.nova("POST", f"/servers/{server_id}/os-volume_attachments", body, client=self.client)

    def detach(self, server_id: str, volume_id: str) -> Answer:
        path = f"/servers/{server_id}/os-volume_attachments/{volume_id}"
        return self.world.nova("DELETE", path, client=self.client)

    def attached(self, server_id: str, volume_id: str, **words: Any) -> None:
        answer = self.attach(server_id, volume_id, **words)
        assert answer.status == 200, answer.body
        self.world.settle()
        assert self.status(volume_id) == "in-use", self.show(volume_id)


def server(world: World, name: str = "web", **words: Any) -> str:
    """A server that runs."""
    server_id = world.boot(name, **words)
    world.settle()
    assert world.status(server_id) == "ACTIVE"
    return server_id


def files(world: World) -> dict[str, tuple[str, int]]:
    """Every file of a volume or snapshot, by id: its host and its size, from the hosts' disks."""
    found = {}
    for host in world.hosts:
        for path in (host.home / "volumes").iterdir():
            found[path.name.removesuffix(".raw")] = (host.name, path.stat().st_size)
    return found


def plugged(world: World, server_id: str) -> set[str]:
    """The volumes that a machine has, from its hypervisor."""
    return {volume_id for host in world.hosts for volume_id in host.hypervisor.volumes(server_id)}
