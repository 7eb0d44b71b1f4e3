"""Servers, as the command line speaks of them: found by name or id, made, changed, deleted, listened to."""

from __future__ import annotations

import re
from typing import Any

from holdfast.base.errors import Conflict, NotFound
from holdfast.client.cloud import Cloud
from holdfast.client.text import one_line

Server = dict[str, Any]
NAMED_MAX = 5  # ids in a message about a name that several servers have


def servers_list(cloud: Cloud) -> list[Server]:
    """Every server of the project, newest first."""
    return list(cloud.pages("compute", "/servers/detail", "servers"))


def server_fetch(cloud: Cloud, server_id: str) -> Server | None:
    """The server with this id, or None."""
    try:
        found: Server = cloud.get("compute", f"/servers/{server_id}")["server"]
    except NotFound:
        return None
    return found


def servers_named(cloud: Cloud, name: str) -> list[Server]:
    """Every server that has exactly this name."""
    query = {"name": f"^{re.escape(name)}$"}
    return [server for server in cloud.pages("compute", "/servers/detail", "servers", query) if server["name"] == name]


def server_find(cloud: Cloud, name_or_id: str) -> Server:
    """The one server that this names; NotFound, or Conflict when several have the name."""
    from holdfast.base.ids import is_id  # it brings uuid, which a list does not need

    if is_id(name_or_id) and (server := server_fetch(cloud, name_or_id)) is not None:
        return server
    found = servers_named(cloud, name_or_id)
    if not found:
        raise NotFound(f"no server is named {one_line(name_or_id)!r}; next: holdfast list")
    if len(found) > 1:
        ids = ", ".join(server["id"] for server in found[:NAMED_MAX])
        raise Conflict(f"{len(found)} servers are named {one_line(name_or_id)!r}; next: use an id, one of {ids}")
    return found[0]


def server_create(cloud: Cloud, wanted: Server, key: str) -> str:
    """Ask for a server and return its id; the same `key` again gives the first one."""
    document = cloud.post("compute", "/servers", {"server": wanted}, {"Idempotency-Key": key})
    return str(document["server"]["id"])


def server_act(cloud: Cloud, server_id: str, act: str, body: Any = None) -> Any:
    """POST one of the words of /action."""
    return cloud.post("compute", f"/servers/{server_id}/action", {act: body})


def server_console(cloud: Cloud, server_id: str, lines: int | None = None) -> str:
    """What the guest said on its console, or its last lines; empty while there is nothing."""
    try:
        answer = server_act(cloud, server_id, "os-getConsoleOutput", {} if lines is None else {"length": lines})
    except (Conflict, NotFound):
        return ""
    return str(answer["output"] or "")


def addresses_of(server: Server, kind: str) -> list[str]:
    """The server's addresses that are `fixed` or `floating`."""
    every = (item for items in server["addresses"].values() for item in items)
    return [item["addr"] for item in every if item.get("OS-EXT-IPS:type", "fixed") == kind]


def failure_of(server: Server) -> str:
    """Why a server is in ERROR, in the cloud's words."""
    fault = server.get("fault") or {}
    return one_line(fault.get("message") or "no reason is recorded")


def flavor_find(cloud: Cloud, name_or_id: str) -> dict[str, Any]:
    """The flavor; NotFound names those that there are."""
    found = list(cloud.pages("compute", "/flavors/detail", "flavors"))
    return one_of(found, name_or_id, "flavor")


def one_of(found: list[dict[str, Any]], name_or_id: str, noun: str, next_command: str = "") -> dict[str, Any]:
    """The one object with this id or name; NotFound says which there are, Conflict that there are several."""
    matches = [each for each in found if each["id"] == name_or_id] or [e for e in found if e["name"] == name_or_id]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(each["id"] for each in matches[:NAMED_MAX])
        raise Conflict(f"{len(matches)} {noun}s are named {one_line(name_or_id)!r}; next: use an id, one of {ids}")
    names = ", ".join(sorted({one_line(each["name"]) for each in found})[:20]) or "none"
    more = f"; next: {next_command}" if next_command else ""
    raise NotFound(f"no {noun} is named {one_line(name_or_id)!r}; there are: {names}{more}")
