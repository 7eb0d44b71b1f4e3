"""The trimmed service model: which actions, parameters and answers of EC2 there are.

Loaded at the first EC2 call and then never changed: whoever changes a loaded model changes the wire for
every thread. `trim_model` wrote the file and explains its form.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from holdfast.base.errors import BadInput


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A member of a structure: `type` is a scalar's word, a structure's name, or either after `[`."""

    name: str
    wire: str
    type: str
    required: bool = False


class Action(msgspec.Struct, frozen=True, array_like=True):
    """The structures of an action; no output means that EC2 answers `<return>true</return>`."""

    input: str
    output: str


class Model(msgspec.Struct, frozen=True):
    source: str
    version: str  # of EC2's API
    actions: dict[str, Action]
    input: dict[str, tuple[Member, ...]]
    output: dict[str, tuple[Member, ...]]

    def action(self, name: str) -> Action:
        """Raises BadInput with EC2's code for a word that is none of our actions."""
        try:
            return self.actions[name]
        except KeyError as err:
            raise BadInput(f"The action {name[:64]} is not valid for this web service.", code="InvalidAction") from err


@cache
def load() -> Model:
    """The model, read once."""
    return msgspec.json.decode(Path(__file__).with_name("model.json").read_bytes(), type=Model)
