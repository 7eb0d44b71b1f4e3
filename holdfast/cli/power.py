"""`start`, `stop`, `reboot`: asked for, then seen to be so."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from holdfast.base.errors import HoldfastError, NotFound, Unavailable
from holdfast.base.limits import SETTLE_S, WATCH_S
from holdfast.cli.output import Output
from holdfast.cli.session import cloud_of
from holdfast.client.cloud import Cloud
from holdfast.client.servers import failure_of, server_act, server_fetch, server_find
from holdfast.client.text import one_line

RUNNING, STOPPED = "ACTIVE", "SHUTOFF"


def start_arguments(parser: ArgumentParser) -> None:
    """Which servers."""
    _names(parser)


def start_run(options: Namespace, output: Output) -> int:
    """Start those that do not run."""
    return _each(options, output, "started", RUNNING, lambda cloud, server_id: server_act(cloud, server_id, "os-start"))


def stop_arguments(parser: ArgumentParser) -> None:
    """Which servers."""
    _names(parser)


def stop_run(options: Namespace, output: Output) -> int:
    """Stop those that run; the guest may end its work first."""
    return _each(options, output, "stopped", STOPPED, lambda cloud, server_id: server_act(cloud, server_id, "os-stop"))


def reboot_arguments(parser: ArgumentParser) -> None:
    """Which servers, and how."""
    _names(parser)
    parser.add_argument("--hard", action="store_true", help="without asking the guest")


def reboot_run(options: Namespace, output: Output) -> int:
    """Reboot them."""
    body = {"type": "HARD" if options.hard else "SOFT"}
    return _each(options, output, "rebooted", "", lambda cloud, server_id: server_act(cloud, server_id, "reboot", body))


def _names(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="name or id of a server")
    words = f"until it is so (default: {SETTLE_S})"
    parser.add_argument("--wait-s", type=float, default=SETTLE_S, metavar="N", help=words)


def _each(options: Namespace, output: Output, done: str, wanted: str, act: Callable[[Cloud, str], Any]) -> int:
    """Act on all, then wait for all. `wanted` is the status that makes the act unnecessary; empty: none does."""
    cloud = cloud_of(options)
    servers = [server_find(cloud, name) for name in options.names]
    started_s = time.monotonic()
    for server in servers:
        if server["status"] != wanted:
            act(cloud, server["id"])
    for server in servers:
        _settled(cloud, server, wanted or RUNNING, started_s + options.wait_s)
        took_s = time.monotonic() - started_s
        output.event(done, server=server["name"], id=server["id"], elapsed_s=round(took_s, 2))
        output.line(f"{done} {server['name']}  {took_s:.1f}s")
    return 0


def _settled(cloud: Cloud, server: dict[str, Any], wanted: str, deadline_s: float) -> None:
    name = one_line(server["name"])
    while True:
        try:
            now = server_fetch(cloud, server["id"])
        except Unavailable:
            now = server  # the control plane restarts; what was asked for is a row and goes on
        if now is None:
            raise NotFound(f"server {name!r} is gone: somebody deleted it")
        if now["status"] == "ERROR":
            raise HoldfastError(f"server {name!r} failed: {failure_of(now)}; next: holdfast why {server['id']}")
        if now["status"] == wanted and not now.get("OS-EXT-STS:task_state"):
            return
        if time.monotonic() > deadline_s:
            raise HoldfastError(f"server {name!r} is still {now['status']}; next: holdfast why {server['id']}")
        time.sleep(WATCH_S)
