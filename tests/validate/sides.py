"""A side of the smoke test without a cloud: it does what a test says, and remembers what was asked of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.validate.steps import NothingToDo


class Paper:
    """Ten steps on paper. `fails` names steps that fail; `address` is what its guest gets."""

    def __init__(self, name: str, things: dict[str, str], fails: tuple[str, ...] = (), address: str = "") -> None:
        self.name, self.things, self.fails, self.address = name, things, fails, address or name
        self.server_id, self.key_path = "", Path("/nowhere/key")
        self.asked: list[str] = []
        self.on: Callable[[str], None] = lambda step: None

    def _do(self, step: str, make: str = "", remove: str = "") -> None:
        self.asked.append(step)
        self.on(step)
        if step in self.fails:
            raise RuntimeError(f"{step} went wrong\x1b[2J")
        if make:
            self.things[f"{make} {self.name}"] = self.name
        if remove and self.things.pop(f"{remove} {self.name}", None) is None:
            raise NothingToDo

    def key_create(self) -> None:
        self._do("key_create", make="key")

    def image_find(self) -> None:
        self._do("image_find")

    def server_run(self) -> None:
        self._do("server_run", make="server")
        self.server_id = f"id-{self.name}"

    def server_wait(self) -> None:
        self._do("server_wait")

    def port_open(self) -> None:
        self._do("port_open", make="rule")

    def address_find(self) -> list[str]:
        self._do("address_find")
        return [self.address]

    def command_run(self) -> None:
        self._do("command_run")

    def server_remove(self) -> None:
        self._do("server_remove", remove="server")

    def port_close(self) -> None:
        self._do("port_close", remove="rule")

    def key_delete(self) -> None:
        self._do("key_delete", remove="key")

    def console(self) -> str:
        return f"the console of {self.name}\x1b[2J\r\n"
