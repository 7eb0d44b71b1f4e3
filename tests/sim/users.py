"""Users with dice: they ask through the real API, lose answers, repeat themselves, and remember what was accepted."""

from __future__ import annotations

import json
from typing import Any

from holdfast.base.errors import Unavailable
from tests.client import Answer
from tests.sim.clockwork import Process, loop
from tests.sim.stores import Ground
from tests.sim.wire import Wire
from tests.world import IMAGE

SMALL, LARGE = "42", "84"
CALL_S = 10.0
ACTS = ("create", "create", "create", "delete", "stop", "start", "reboot", "pause", "unpause", "resize", "volume")
BODIES: dict[str, Any] = {
    "stop": {"os-stop": None},
    "start": {"os-start": None},
    "pause": {"pause": None},
    "unpause": {"unpause": None},
    "confirm": {"confirmResize": None},
    "revert": {"revertResize": None},
    "rebuild": {"rebuild": {"imageRef": IMAGE}},
}


class Users:
    """Everybody who asks for something."""

    def __init__(self, wire: Wire, ground: Ground, ranked: bool = False) -> None:
        """`ranked`: their servers are of different priorities, so that some give their room to others."""
        self.wire, self.ground, self.ranked = wire, ground, ranked
        self.process = Process("users")
        self.servers: list[str] = []
        self.volumes: list[str] = []
        self.group_id = ""
        self.asked = self.accepted = self.repeated = 0
        self.asking = 0  # wishes that have no answer yet, and may be repeated

    def live(self, until_s: float, pause_s: float) -> None:
        """Ask again and again."""
        dice = loop().dice

        def one() -> None:
            self.group_id = self.group_id or self._group()
            while loop().seconds < until_s:
                self.asking += 1
                try:
                    self.act(dice.choice(ACTS))
                finally:
                    self.asking -= 1
                loop().sleep(dice.random() * 2 * pause_s)

        for number in range(2):
            self.process.spawn(one, f"user {number}")

    def act(self, word: str) -> None:
        """One wish, as it comes to mind; what it is about may not allow it."""
        dice = loop().dice
        if word == "create" or not self.servers:
            return self._create()
        server_id = dice.choice(self.servers)
        loop().note(f"a user wants: {word} {server_id[:8]}")
        if word == "delete":
            self.delete(server_id)
        elif word == "reboot":
            kind = dice.choice(("SOFT", "HARD"))
            self.call("POST", f"/compute/v2.1/servers/{server_id}/action", {"reboot": {"type": kind}})
        elif word == "resize":
            self._resize(server_id)
        elif word == "volume":
            self._volume(server_id)
        else:
            self.call("POST", f"/compute/v2.1/servers/{server_id}/action", BODIES[word])

    def delete(self, server_id: str) -> None:
        answer = self.call("DELETE", f"/compute/v2.1/servers/{server_id}")
        if answer is not None and answer.status in (204, 404) and server_id in self.servers:
            self.servers.remove(server_id)

    def call(self, method: str, url: str, body: Any = None, **headers: str) -> Answer | None:
        """Ask once; None when no answer came: it may have been done or not."""
        self.asked += 1
        named = {"x-auth-token": self.ground.token, "openstack-api-version": "compute 2.96, volume 3.59", **headers}
        named["openstack-api-version"] = "volume 3.59" if "/volume/" in url else "compute 2.96"
        data = b"" if body is None else json.dumps(body).encode()
        try:
            answer = self.wire.call("users", "users", method, url, data, named, CALL_S)
        except Unavailable:
            return None
        self.accepted += answer.status in (200, 201, 202, 204)
        loop().note(f"a user was told {answer.status}")
        return answer if answer.status not in (500, 503) else None

    def _create(self) -> None:
        """With a key, repeated until there is an answer: it must be one server."""
        dice = loop().dice
        name = f"s{self.asked}"
        server: dict[str, Any] = {"name": name, "imageRef": IMAGE, "flavorRef": SMALL, "networks": "auto"}
        if self.ranked:
            server["metadata"] = {"holdfast:priority": str(self.asked * 37 % 51)}
        hints = {"group": self.group_id} if self.group_id and dice.random() < 0.4 else {}
        loop().note(f"a user wants: create {name} {hints}")
        for number in range(4):
            body = {"server": server, "os:scheduler_hints": hints}
            answer = self.call("POST", "/compute/v2.1/servers", body, **{"idempotency-key": name})
            if answer is not None:
                if answer.status == 202 and answer.json["server"]["id"] not in self.servers:
                    self.servers.append(answer.json["server"]["id"])
                self.repeated += number > 0
                return
            loop().sleep(2)

    def _group(self) -> str:
        body = {"server_group": {"name": "apart", "policy": "anti-affinity"}}
        answer = self.call("POST", "/compute/v2.1/os-server-groups", body)
        return str(answer.json["server_group"]["id"]) if answer is not None and answer.status == 200 else ""

    def _resize(self, server_id: str) -> None:
        dice = loop().dice
        url = f"/compute/v2.1/servers/{server_id}/action"
        words: list[Any] = [{"resize": {"flavorRef": LARGE}}, BODIES["confirm"], BODIES["revert"], BODIES["rebuild"]]
        self.call("POST", url, dice.choice(words))

    def _volume(self, server_id: str) -> None:
        dice = loop().dice
        if len(self.volumes) < 2:
            answer = self.call("POST", "/volume/v3/volumes", {"volume": {"size": 1}})
            if answer is not None and answer.status == 202:
                self.volumes.append(answer.json["volume"]["id"])
            return
        volume_id = dice.choice(self.volumes)
        url = f"/compute/v2.1/servers/{server_id}/os-volume_attachments"
        if dice.random() < 0.6:
            self.call("POST", url, {"volumeAttachment": {"volumeId": volume_id}})
        else:
            self.call("DELETE", f"{url}/{volume_id}")
