"""What a kind of fencing is: how a program is asked, and what its answer means.

Drivers are data that was validated; they start nothing and wait for nothing. Every bound, every retry and every
judgement is in `power`, the same for all kinds. "unknown" is never "off".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Action(StrEnum):
    """What a machine's switch is asked."""

    OFF = "off"  # cut the power now; a guest's grace is over
    STATUS = "status"  # say what it is


class Power(StrEnum):
    """What was seen of a machine."""

    OFF = "off"  # it answered that it is off
    ON = "on"  # it answered that it is on, or on its way
    UNKNOWN = "unknown"  # no answer, or one that means neither


class Secret:
    """A text that shows itself to nobody by accident: not in a repr, a log, a traceback or JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Program:
    """One process to run. `argv` is for every eye on the machine; secrets are in `env` or `stdin`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stdin: bytes = field(default=b"", repr=False)


class Driver(Protocol):
    """The configuration of one host's switch, of one kind."""

    def program(self, host: str, action: Action) -> Program:
        """What to run. Its exit status 0 says that the question was taken, and nothing about the machine."""

    def power(self, words: str) -> Power:
        """What the standard output of a `status` that ended well says."""

    def missing(self) -> str:
        """What has to be installed first, as a sentence; empty when it is all there."""

    def secrets(self) -> tuple[str, ...]:
        """Every form in which its secret might be repeated by a tool."""


def environment(**more: str) -> dict[str, str]:
    """What every tool gets: no proxies, no variables of ours, one language."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **more}


def word_power(words: str) -> Power:
    """The answer of a program that says `on` or `off` and nothing else."""
    word = words.strip().lower()
    return Power(word) if word in (Power.ON, Power.OFF) else Power.UNKNOWN


def address_problem(address: str) -> str:
    """Why this is no host name or address; empty when it is one."""
    if not address or len(address) > 253 or address.startswith("-"):
        return "address: a host name or an IP address, of 1 to 253 characters"
    if not all(c.isascii() and (c.isalnum() or c in ".-:_") for c in address):
        return "address: letters, digits, '.', '-', ':' and '_' only"
    return ""


def secret_problem(secret: Secret, most_bytes: int) -> str:
    """Why this cannot be a password, without repeating it; empty when it can."""
    text = secret.reveal()
    if not 1 <= len(text.encode()) <= most_bytes:
        return f"secret: 1 to {most_bytes} bytes"
    return "" if text.isprintable() else "secret: printable characters only"
