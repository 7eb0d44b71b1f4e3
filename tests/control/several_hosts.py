"""What the tests of evacuations and moves share: hosts with the same disks, servers on one of them, and time."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.base.limits import HOST_LEASE_S, LEASE_MARGIN_S
from holdfast.control.reconcilers.evacuations import Evacuations
from tests.world import CAPABILITIES, World

SHARED = msgspec.structs.replace(CAPABILITIES, disk_store="11111111-2222-4333-8444-555555555555")
LAPSED_S = HOST_LEASE_S + LEASE_MARGIN_S + 8


class Steady:
    """The automatic evacuation of a replica that has been looking for long enough."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reconciler = Evacuations(world.store, world.cloud.services.settings, world.clock)
        for _ in range(10):
            self.look(HOST_LEASE_S / 6)

    def look(self, seconds: float) -> None:
        """Let time pass in which the living hosts speak, and look."""
        while seconds > 0:
            self.world.clock.advance_s(min(seconds, 4))
            seconds -= 4
            for host in self.world.hosts:
                if not host.away:
                    host.step()
            self.reconciler.tick()


def boot_on(world: World, host: str, name: str = "web", hints: dict[str, Any] | None = None, **words: Any) -> str:
    body = {"name": name, "imageRef": "11111111-1111-4111-8111-111111111111", "flavorRef": "42", "networks": "none"}
    request: dict[str, Any] = {"server": {**body, "availability_zone": f"nova:{host}", **words}}
    request |= {"os:scheduler_hints": hints} if hints else {}
    answer = world.nova("POST", "/servers", request, world.admin)
    assert answer.status == 202, answer.body
    world.settle()
    server_id = str(answer.json["server"]["id"])
    assert world.running()[server_id] == [host]
    return server_id


def status(world: World, server_id: str) -> str:
    answer = world.nova("GET", f"/servers/{server_id}", client=world.admin)
    return "GONE" if answer.status == 404 else str(answer.json["server"]["status"])


def pass_time(world: World, seconds: float) -> None:
    """Time in which the hosts that are there go on reporting."""
    while seconds > 0:
        world.clock.advance_s(min(seconds, 4))
        seconds -= 4
        world.settle()


def evacuations(world: World) -> list[dict[str, Any]]:
    return list(world.admin.request("GET", "/operator/v1/evacuations").json["evacuations"])


def act(world: World, server: str, word: str, argument: Any = None) -> int:
    return world.nova("POST", f"/servers/{server}/action", {word: argument}, world.admin).status
