"""The entry point: read the command line, run one command, turn its failure into one line and an exit status.

0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 cloud not reachable. A traceback is never an answer to a user's
mistake or a cloud's failure; one that appears is a bug of ours.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import NoReturn

from holdfast import VERSION
from holdfast.base.errors import BadInput, Conflict, HoldfastError, NotFound
from holdfast.cli.commands import command_find, command_named, parser_of, state_default
from holdfast.cli.output import Output
from holdfast.client.connection import Unreachable
from holdfast.client.text import one_line

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, UNREACHABLE = 0, 1, 2, 3, 4, 5
INTERRUPTED = 130
_STATUSES = ((Unreachable, UNREACHABLE), (NotFound, NOT_FOUND), (Conflict, CONFLICT), (BadInput, USAGE))


def main() -> NoReturn:
    """Run the process's command line and end the process."""
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # whoever read it has gone
        status = status or FAILED
    os._exit(status)  # without taking the interpreter apart: a tenth of what `holdfast list` costs


def run(words: list[str]) -> int:
    """Run one command line and return its exit status."""
    name = command_named(words)
    try:
        if name is not None:
            command_find(name)
    except BadInput as err:
        return failed(err, Output("--json" in words))
    options = parser_of(name).parse_args(words)
    if options.version:
        print(f"holdfast {VERSION}")
        return OK
    if options.command is None:
        parser_of().print_help()
        return USAGE
    output = Output(options.json, program=program_of(options.state))
    try:
        return int(command_find(options.command).part("run")(options, output))
    except HoldfastError as err:
        return failed(err, output)
    except KeyboardInterrupt:
        print("holdfast: interrupted; nothing was taken back", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `holdfast list | head -1`
        return FAILED


def program_of(state: str) -> str:
    """The program as the next command must be typed: with the state directory, unless it is the usual one."""
    return "holdfast" if state == state_default() else f"holdfast --state {shlex.quote(state)}"


def failed(error: HoldfastError, output: Output) -> int:
    """Say what failed in one line on standard error; returns the exit status of its kind."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), FAILED)
    words = one_line(error.message)
    if status == UNREACHABLE:
        words += "; next: sudo holdfast up"
    for do in ("next: ", "(or: ", "sudo "):
        words = words.replace(f"{do}holdfast ", f"{do}{output.program} ")
    if output.as_json:
        print(json.dumps({"error": {"code": error.code, "message": words, "status": status}}), file=sys.stderr)
    else:
        print(f"holdfast: {words}", file=sys.stderr)
    return status
