"""The operator's own program: a power strip, a cloud's API, a smart plug, a colleague."""

from __future__ import annotations

import msgspec

from holdfast.base.limits import FENCE_ARGUMENTS
from holdfast.control.fencing.driver import Action, Power, Program, environment, word_power


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="command"):
    """`argv` with HOLDFAST_FENCE_HOST and HOLDFAST_FENCE_ACTION in its environment; `status` prints on or off."""

    argv: list[str]

    def __post_init__(self) -> None:
        if not 1 <= len(self.argv) <= FENCE_ARGUMENTS or "\0" in "".join(self.argv):
            raise ValueError(f"argv: a program and its arguments, 1 to {FENCE_ARGUMENTS} texts")
        if not self.argv[0].startswith("/"):
            raise ValueError("argv: the program is an absolute path: replicas differ in what is on PATH")

    def program(self, host: str, action: Action) -> Program:
        named = environment(HOLDFAST_FENCE_HOST=host, HOLDFAST_FENCE_ACTION=action.value)
        return Program(tuple(self.argv), named)

    def power(self, words: str) -> Power:
        return word_power(words)

    def missing(self) -> str:
        return ""  # it may be on another replica than this one; a status says

    def secrets(self) -> tuple[str, ...]:
        return ()
