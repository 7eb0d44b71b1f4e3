"""docs/cli.md, made from the parser itself: `python -m holdfast.cli.reference > docs/cli.md`. A test compares them.

Written here and not by argparse, whose help looks different in each release of Python.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from holdfast.cli.commands import COMMANDS, Command, parser_of

_HEAD = """# The command line

Made from the parser by `python -m holdfast.cli.reference > docs/cli.md`.

Every command takes `--state DIR` (the cloud's directory: HOLDFAST_STATE, or /var/lib/holdfast), `--json` (one JSON
document, or one event per line, on standard output; an error is one JSON document on standard error), `--admin`
(act as the administrator) and `--help`, before or after its name. A failure is one line on standard error that
names the object and, after `next:`, what to do.

Where it finds the cloud: in `STATE/credentials.json` when that may be read, else in OS_AUTH_URL with OS_USERNAME,
OS_PASSWORD and OS_PROJECT_NAME, or OS_TOKEN.

| exit status | meaning |
|---|---|
| 0 | done, and seen to be so |
| 1 | failed |
| 2 | the command line, or what it asks for, is wrong |
| 3 | not found |
| 4 | conflict: it is in another state, or the name is not unique |
| 5 | the cloud cannot be reached; `holdfast up` starts it |
"""
_COMMON = {"help", "state", "json", "admin"}


def reference() -> str:
    """The whole document."""
    parsers = _parsers()
    return "\n".join([_HEAD, *(line for command in COMMANDS for line in _section(command, parsers[command.name]))])


def _parsers() -> dict[str, argparse.ArgumentParser]:
    actions = parser_of()._actions
    return dict(next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction)))


def _section(command: Command, parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in parser._actions if action.dest not in _COMMON]
    yield f"## holdfast {' '.join([command.name, *map(_usage, actions)])}\n"
    yield f"{command.words[0].upper()}{command.words[1:]}.\n"
    for action in actions:
        yield f"- `{_name(action)}`: {action.help}"
    yield f"{'' if not actions else chr(10)}    {command.example}\n"


def _name(action: argparse.Action) -> str:
    metavar = str(action.metavar or "|".join(action.choices or ()) or action.dest.upper())
    if not action.option_strings:
        return metavar
    flag = action.option_strings[-1]
    return flag if action.nargs == 0 else f"{flag} {metavar}"


def _usage(action: argparse.Action) -> str:
    name = _name(action)
    if action.option_strings or action.nargs in ("?", argparse.REMAINDER):
        return f"[{name}]"
    return f"{name}..." if action.nargs == "+" else name


if __name__ == "__main__":
    sys.stdout.write(reference())
