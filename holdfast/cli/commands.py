"""Every command: its name, what it is for, and the module that has it. A table, so that the parser, the help and
docs/cli.md cannot differ.

A command's module is imported when the command is used and not before: `holdfast list` pays for `list` alone. The
module has `NAME_arguments(parser)` and `NAME_run(options, output) -> int` (the exit status).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from holdfast.base.errors import BadInput

STATE = "/var/lib/holdfast"
HELP_CHARS = 100  # of one line of help


class Command(NamedTuple):
    """One command. The example is a line that works."""

    name: str
    module: str  # below holdfast.cli
    words: str
    example: str

    def part(self, which: str) -> Callable[..., Any]:
        """`arguments` or `run` of this command."""
        found: Callable[..., Any] = getattr(import_module(f"holdfast.cli.{self.module}"), f"{self.name}_{which}")
        return found


COMMANDS = (
    Command("up", "daemons", "bring up the cloud of this machine", "sudo holdfast up"),
    Command("down", "daemons", "stop the cloud and keep everything", "sudo holdfast down"),
    Command("destroy", "daemons", "remove every trace of the cloud", "sudo holdfast destroy --yes"),
    Command("audit", "daemons", "compare what is meant with what is there", "sudo holdfast audit"),
    Command("status", "daemons", "say what runs on this machine", "sudo holdfast status"),
    Command("launch", "launch", "make a server and wait until ssh answers", "holdfast launch web --flavor m1.small"),
    Command("wait", "launch", "go on waiting for a server that was launched", "holdfast wait web"),
    Command("list", "servers", "list the servers", "holdfast list --json"),
    Command("show", "servers", "show one server whole", "holdfast show web"),
    Command("ssh", "reach", "log in to a server, or run a command there", "holdfast ssh web -- uname -a"),
    Command("console", "reach", "print what a server said on its console", "holdfast console web --follow"),
    Command("why", "explain", "say why a server is in its state", "holdfast why web"),
    Command("logs", "explain", "print every log line about a server", "sudo holdfast logs web"),
    Command("start", "power", "start servers", "holdfast start web"),
    Command("stop", "power", "stop servers, with their power buttons", "holdfast stop web db"),
    Command("reboot", "power", "reboot servers", "holdfast reboot web --hard"),
    Command("rm", "remove", "delete servers, and what launch made for them", "holdfast rm web db"),
    Command("smoke", "smoke", "prove the cloud: ten steps, timed", "holdfast smoke --clients 2 --loops 5"),
    Command("host", "hosts", "list hosts; act on one: show, disable, fence, kill, ...", "holdfast host list"),
    Command("token", "joining", "let other machines join as hosts, for a while", "sudo holdfast token"),
    Command("join", "joining", "make this machine a host of a cloud elsewhere", "sudo holdfast join lab1 --token T"),
    Command("evacuate", "hosts", "start a dead host's servers elsewhere", "holdfast evacuate h2 --dry-run"),
    Command("evacuations", "hosts", "list evacuations, or watch them", "holdfast evacuations --watch"),
    Command("net", "network", "say who has which public address, and since when", "holdfast net pools"),
    Command("images", "servers", "list the images", "holdfast images"),
    Command("build", "daemons", "build a guest image and upload it", "sudo holdfast build debian"),
    Command("openrc", "environment", "print the variables of OpenStack clients", "holdfast openrc > openrc"),
    Command("env", "environment", "print what other clients need, for the shell", 'eval "$(holdfast env --aws)"'),
)
_BY_NAME = {command.name: command for command in COMMANDS}
_EPILOG = """first steps:
  sudo holdfast up        a cloud on this machine
  holdfast launch         a server in it, with a public address and ssh
  holdfast smoke          the proof that it works

exit status: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 cloud not reachable"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help of one width on every terminal. Without a width argparse asks the terminal at each argument."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=HELP_CHARS)


class _Parser(argparse.ArgumentParser):
    """Its errors are one line that names the help."""

    def error(self, message: str) -> Any:
        self.exit(2, f"holdfast: {message}; next: {self.prog} --help\n")


def parser_of(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with every command's name, and the arguments of `only` that one (None: of all)."""
    parser = _Parser(
        prog="holdfast",
        description="A compute cloud that does not let go.",
        epilog=_EPILOG,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    _common(parser, state=state_default(), flag=False)
    parser.add_argument("--version", action="store_true", help="print the version and end")
    under = parser.add_subparsers(dest="command", prog="holdfast", metavar="COMMAND", parser_class=_Parser)
    for command in COMMANDS:
        if only is None or command.name == only:
            _add(under, command)
    return parser


def state_default() -> str:
    """The state directory where none is named."""
    return os.environ.get("HOLDFAST_STATE") or STATE


def _add(under: Any, command: Command) -> None:
    parser = under.add_parser(
        command.name,
        help=command.words,
        description=f"{command.words[0].upper()}{command.words[1:]}.",
        epilog=f"example:\n  {command.example}",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    command.part("arguments")(parser)
    _common(parser, state=argparse.SUPPRESS, flag=argparse.SUPPRESS)


def _common(parser: argparse.ArgumentParser, state: str, flag: Any) -> None:
    """The options of every command, before or after its name."""
    words = f"the cloud's directory (default: HOLDFAST_STATE, or {STATE})"
    parser.add_argument("--state", metavar="DIR", default=state, help=words)
    parser.add_argument("--json", action="store_true", default=flag, help="answer in JSON, for programs")
    parser.add_argument("--admin", action="store_true", default=flag, help="act as the administrator of the cloud")


def command_named(words: list[str]) -> str | None:
    """The command in a command line, so that only its module is imported; None: there is none."""
    rest = iter(words)
    for word in rest:
        if word == "--state":
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


def command_find(name: str) -> Command:
    """The command of this name; BadInput suggests the nearest."""
    if name not in _BY_NAME:
        from difflib import get_close_matches

        near = get_close_matches(name, _BY_NAME, 1)
        raise BadInput(f"there is no command {name!r}; next: holdfast {near[0] if near else '--help'}")
    return _BY_NAME[name]
