"""Ask a machine's switch, and say what was seen. Nothing here raises for what the world does, or waits for ever.

A machine is off when it said so itself after it was told to, never because a tool ended well. A tool that hangs is
killed with its process group; one that this process cannot kill, because it died itself, is killed by timeout(1).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from holdfast.base import log as logs
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import (
    FENCE_ANSWER_CHARS,
    FENCE_ASK_S,
    FENCE_OUTPUT_BYTES,
    FENCE_PAUSE_S,
    FENCE_SETTLE_S,
    FENCE_TRIES,
)
from holdfast.base.run import Ended, run_group
from holdfast.control.fencing.config import Config
from holdfast.control.fencing.driver import Action, Power

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often. All of `machine_off` ends within tries x (3 x ask + settle + 2 x pause) seconds."""

    ask_s: float = FENCE_ASK_S
    tries: int = FENCE_TRIES
    settle_s: float = FENCE_SETTLE_S
    pause_s: float = FENCE_PAUSE_S


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it: evidence for a fence proof, safe to show and to store."""

    kind: str
    asked: Action
    power: Power
    answer: str  # the last words of the tool, bounded, without secrets
    tries: int  # times that the machine was told to go off
    took_ms: int


def machine_off(config: Config, host: str, patience: Patience = Patience()) -> Seen:
    """Switch a host's machine off and look until it says that it is; already off is off.

    Blocks. `power` is OFF only if the last answer said so; ON where the tool takes the order and nothing happens.
    """
    began = time.monotonic()
    power, answer, tries = Power.UNKNOWN, "", 0
    while tries < patience.tries and power is not Power.OFF:
        if tries:
            time.sleep(patience.pause_s)
        tries += 1
        taken, refusal = _ask(config, host, Action.OFF, patience)
        power, answer = _settle(config, host, patience, patience.settle_s if taken else 0)
        if refusal and power is not Power.OFF:
            answer = _bounded(f"{refusal}; then: {answer}")
    return _seen(config, host, Action.OFF, power, answer, tries, began)


def machine_power(config: Config, host: str, patience: Patience = Patience()) -> Seen:
    """Ask once what a host's machine is, and change nothing."""
    began = time.monotonic()
    power, answer = _settle(config, host, patience, 0)
    return _seen(config, host, Action.STATUS, power, answer, 0, began)


def _settle(config: Config, host: str, patience: Patience, settle_s: float) -> tuple[Power, str]:
    """Ask for the status until it is off or the time is over, once at least."""
    until = time.monotonic() + settle_s
    while True:
        ended, words = _run(config, host, Action.STATUS, patience)
        power = config.power(_text(ended.stdout)) if ended and _whole(ended) else Power.UNKNOWN
        if power is Power.OFF or time.monotonic() >= until:
            return power, words
        time.sleep(patience.pause_s)


def _ask(config: Config, host: str, action: Action, patience: Patience) -> tuple[bool, str]:
    """Whether the tool took the order, and what it said when it did not."""
    ended, words = _run(config, host, action, patience)
    taken = ended is not None and ended.status == 0
    return taken, "" if taken else words


def _run(config: Config, host: str, action: Action, patience: Patience) -> tuple[Ended | None, str]:
    if problem := config.missing():
        return None, problem
    program = config.program(host, action)
    # our own bound comes first; timeout(1) is for the case that we are no more
    argv = ["timeout", "--signal=KILL", f"{patience.ask_s + 1}", *program.argv]
    try:
        ended = run_group(
            argv, timeout_s=patience.ask_s, most_bytes=FENCE_OUTPUT_BYTES, stdin=program.stdin, env=program.env
        )
    except HoldfastError as err:
        return None, _bounded(err.message)
    how = "did not end in time" if ended.status is None else f"status {ended.status}"
    said = [_shown(config, stream, ended.status is None) for stream in (ended.stdout, ended.stderr)]
    return ended, _bounded(": ".join([how, *(words for words in said if words)]))


def _whole(ended: Ended) -> bool:
    """Whether an answer ended well and was heard to its end."""
    return ended.status == 0 and len(ended.stdout) < FENCE_OUTPUT_BYTES


def _shown(config: Config, stream: bytes, killed: bool) -> str:
    """A tool's words without secrets, nor the beginning of one at the end of a stream that was cut."""
    text = _text(stream)
    secrets = sorted(config.secrets(), key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, "***")
    if killed or len(stream) >= FENCE_OUTPUT_BYTES:
        text = text.rstrip("\ufffd")  # half a character
        ends = (n for secret in secrets for n in range(len(secret), 0, -1) if text.endswith(secret[:n]))
        text = text[: len(text) - max(ends, default=0)]
    return text.strip()


def _text(stream: bytes) -> str:
    return stream.decode("utf-8", "replace")


def _bounded(text: str) -> str:
    return text if len(text) <= FENCE_ANSWER_CHARS else text[:FENCE_ANSWER_CHARS] + "..."


def _seen(config: Config, host: str, asked: Action, power: Power, answer: str, tries: int, began: float) -> Seen:
    kind = str(config.__struct_config__.tag)
    took_ms = int((time.monotonic() - began) * 1000)
    log.info("fence_asked", host=host, kind=kind, asked=asked, power=power, answer=answer, tries=tries, took_ms=took_ms)
    return Seen(kind, asked, power, answer, tries, took_ms)
