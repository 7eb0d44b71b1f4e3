"""`ssh` and `console`: getting at one guest."""

from __future__ import annotations

import os
import time
from argparse import REMAINDER, ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from holdfast.base.errors import Conflict, NotSupported, Unavailable
from holdfast.base.limits import WATCH_S
from holdfast.cli.launch import image_of, private_of
from holdfast.cli.output import Output
from holdfast.cli.session import cloud_of, key_path, known_hosts_path
from holdfast.client.servers import addresses_of, server_console, server_fetch, server_find
from holdfast.client.shell import Reach, login_user, ssh_argv
from holdfast.client.text import console_text, one_line


def ssh_arguments(parser: ArgumentParser) -> None:
    """Which server, as whom, and what to run there."""
    parser.add_argument("--user", default="", help="who to log in as (default: what the image says, or demo)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the private key (default: launch's own)")
    parser.add_argument("name", metavar="NAME", help="name or id of a server")
    parser.add_argument("remote", metavar="-- COMMAND", nargs=REMAINDER, help="run this instead of a shell")


def ssh_run(options: Namespace, output: Output) -> int:
    """Become ssh: its exit status is the command's."""
    cloud = cloud_of(options)
    server = server_find(cloud, options.name)
    addresses = addresses_of(server, "floating") or addresses_of(server, "fixed")
    if not addresses:
        raise Conflict(f"server {one_line(server['name'])!r} has no address; next: holdfast show {server['id']}")
    command = options.remote[1:] if options.remote[:1] == ["--"] else options.remote
    user = options.user or login_user(image_of(cloud, server))
    key = private_of(options.key) if options.key else key_path(options, cloud.credentials)
    reach = Reach(server["id"], addresses[0], user, key, known_hosts_path(options, cloud.credentials))
    argv = ssh_argv(reach, command)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 (a list, and the terminal is handed over)
    except OSError as err:
        raise NotSupported(f"ssh cannot be started: {err.strerror}; next: install an ssh client") from err


def console_arguments(parser: ArgumentParser) -> None:
    """Which server, how much, and whether to go on."""
    parser.add_argument("name", metavar="NAME", help="name or id of a server")
    parser.add_argument("--lines", type=int, metavar="N", help="only the last N lines")
    parser.add_argument("--follow", action="store_true", help="go on until interrupted, or until the server is gone")


def console_run(options: Namespace, output: Output) -> int:
    """Print the console; control characters of the guest are escaped."""
    cloud = cloud_of(options)
    server = server_find(cloud, options.name)
    text = server_console(cloud, server["id"], options.lines)
    if output.as_json and not options.follow:
        output.document({"id": server["id"], "console": text})
        return 0
    if text and not options.follow and not text.endswith("\n"):
        text += "\n"  # a prompt has no end of line
    _print(output, text)
    while options.follow:
        time.sleep(WATCH_S * 2)
        with suppress(Unavailable):  # the control plane restarts; the guest does not notice
            if server_fetch(cloud, server["id"]) is None:
                break
            after = server_console(cloud, server["id"])
            _print(output, news(text, after))
            text = after or text
    return 0


def news(before: str, after: str) -> str:
    """What a console says now that it did not say before; the old beginning may have been cut off since."""
    if after.startswith(before):
        return after[len(before) :]
    for length in range(min(len(before), len(after)), 0, -1):
        if before.endswith(after[:length]):
            return after[length:]
    return after


def _print(output: Output, text: str) -> None:
    if output.as_json:
        output.event("console", text=text)
    elif text:
        output.raw(console_text(text))
