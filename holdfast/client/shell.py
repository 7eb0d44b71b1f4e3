"""Reaching a guest through the system's ssh, and knowing when it may be tried.

A guest's host key is known by the guest's id, not by its address: addresses are handed out again, and the next
guest there is another machine. A key is learnt once and must stay; nothing of it reaches ~/.ssh/known_hosts.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.base.limits import SSH_COMMAND_S, SSH_CONNECT_S
from holdfast.base.run import CommandFailed, run

SSH_PORT = 22
USER = "demo"
GREETING = b"SSH-"


class Reach(NamedTuple):
    """Who is asked, where, and with which key."""

    server_id: str
    address: str
    user: str
    key: Path
    known_hosts: Path


def login_user(image: dict[str, Any]) -> str:
    """Who an image's guests let in, as the image says itself; only a plain name is believed."""
    user = str(image.get("login_user") or image.get("os_admin_user") or "")
    return user if user.isascii() and user.replace("-", "").replace("_", "").isalnum() and user[0].isalpha() else USER


def ssh_argv(reach: Reach, command: Sequence[str] = (), *, batch: bool = False) -> list[str]:
    """The command line of ssh; `batch` never asks and never waits long."""
    options = {
        "HostKeyAlias": reach.server_id,
        "UserKnownHostsFile": str(reach.known_hosts),
        "StrictHostKeyChecking": "accept-new",
        "HashKnownHosts": "no",  # `rm` finds the guest's line again
        "IdentitiesOnly": "yes",
        "ConnectTimeout": str(SSH_CONNECT_S if batch else SSH_COMMAND_S),
        "LogLevel": "ERROR",
    }
    if batch:
        options |= {"BatchMode": "yes", "ConnectionAttempts": "1"}
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-i", str(reach.key), *flags, "-l", reach.user, "--", reach.address, *command]


def ssh_run(reach: Reach, command: Sequence[str], timeout_s: float = SSH_COMMAND_S) -> bytes:
    """Run one command in the guest and return what it printed; raises CommandFailed."""
    return run(ssh_argv(reach, command, batch=True), timeout_s=timeout_s)


def ssh_answers(reach: Reach) -> bool:
    """Say whether the guest lets the key in: it greets, and then runs `true`."""
    if not greets(reach.address):
        return False
    try:
        ssh_run(reach, ["true"])
    except CommandFailed:
        return False
    return True


def greets(address: str, timeout_s: float = SSH_CONNECT_S) -> bool:
    """Say whether an ssh server speaks there: cheaper to ask than to start ssh for a guest that still boots."""
    try:
        with socket.create_connection((address, SSH_PORT), timeout_s) as connection:
            connection.settimeout(timeout_s)
            return connection.recv(len(GREETING)) == GREETING
    except OSError:
        return False


def known_host_forget(path: Path, server_id: str) -> None:
    """Forget the host key of a guest that is gone."""
    try:
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.split(" ", 1)[0] != server_id]
        if len(kept) < len(lines):
            path.write_text("".join(kept))
    except OSError:
        return
