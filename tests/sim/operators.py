"""Operators with dice: they move servers, drain hosts, change their minds, and open the hosts again in the end."""

from __future__ import annotations

import random
from typing import Any

from tests.sim.clockwork import loop
from tests.sim.users import Users

LIVE = {"os-migrateLive": {"host": None, "block_migration": "auto"}}


class Operators:
    """Their dice are their own, so that the users' do not fall otherwise because of them."""

    def __init__(self, users: Users, seed: int, hosts: list[str]) -> None:
        self.users, self.hosts = users, hosts
        self.dice = random.Random(f"operators of {seed}")
        self.closed: set[str] = set()

    def work(self, until_s: float) -> None:
        """Move something again and again."""
        pause_s = self.dice.choice((4.0, 8.0, 20.0))

        def one() -> None:
            self.users.asking += 1
            while loop().seconds < until_s:
                self.act()
                loop().sleep(self.dice.random() * 2 * pause_s)
            while self.closed:
                self.open(min(self.closed))
                loop().sleep(2)
            self.users.asking -= 1

        self.users.process.spawn(one, "an operator")

    def act(self) -> None:
        word = self.dice.choice(("live", "live", "cold", "cold", "confirm", "revert", "drain", "cancel", "open"))
        if word in ("drain", "cancel", "open"):
            name = self.dice.choice(self.hosts)
            loop().note(f"an operator wants: {word} {name}")
            getattr(self, word)(name)
        elif self.users.servers:
            server_id = self.dice.choice(self.users.servers)
            loop().note(f"an operator wants: {word} {server_id[:8]}")
            bodies: dict[str, Any] = {"live": LIVE, "cold": {"migrate": None}, "confirm": {"confirmResize": None}}
            body = bodies.get(word, {"revertResize": None})
            self.ask("POST", f"/compute/v2.1/servers/{server_id}/action", body)

    def drain(self, name: str) -> None:
        self.closed.add(name)
        words = {"timeout_s": self.dice.choice((5, 30, 120)), "live_only": self.dice.random() < 0.3}
        self.ask("POST", f"/operator/v1/hosts/{name}/drain", words)

    def cancel(self, name: str) -> None:
        self.ask("DELETE", f"/operator/v1/hosts/{name}/drain")

    def open(self, name: str) -> None:
        """Let a host have servers again."""
        if self.ask("POST", f"/operator/v1/hosts/{name}/enable", {}):
            self.closed.discard(name)

    def ask(self, method: str, url: str, body: Any = None) -> bool:
        return self.users.call(method, url, body, **{"x-auth-token": self.users.ground.admin_token}) is not None
