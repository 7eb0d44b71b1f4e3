"""`list`, `show`, `images`: what there is. One call each; what is shown is what the cloud says now."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from typing import Any

from holdfast.cli.output import Output, age
from holdfast.cli.session import cloud_of
from holdfast.client.servers import addresses_of, failure_of, server_find, servers_list
from holdfast.client.text import instant_s

MIB = 1 << 20


def list_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


def list_run(options: Namespace, output: Output) -> int:
    """Print the project's servers, newest first."""
    servers = servers_list(cloud_of(options))
    if output.as_json:
        output.document([_brief(server) for server in servers])
    elif servers:
        head = ("NAME", "STATUS", "ADDRESS", "PUBLIC", "FLAVOR", "AGE", "ID")
        output.table(head, [_row(server) for server in servers])
    else:
        output.line(f"no servers; next: {output.program} launch")
    return 0


def _brief(server: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": server["id"],
        "name": server["name"],
        "status": server["status"],
        "task": server.get("OS-EXT-STS:task_state"),
        "addresses": addresses_of(server, "fixed"),
        "public_addresses": addresses_of(server, "floating"),
        "flavor": server["flavor"].get("original_name", ""),
        "created": server["created"],
    }


def _row(server: dict[str, Any]) -> tuple[str, ...]:
    brief = _brief(server)
    task = f" ({brief['task']})" if brief["task"] else ""
    return (
        brief["name"],
        brief["status"] + task,
        " ".join(brief["addresses"]) or "-",
        " ".join(brief["public_addresses"]) or "-",
        brief["flavor"],
        age(time.time() - instant_s(brief["created"])),
        brief["id"],
    )


def show_arguments(parser: ArgumentParser) -> None:
    """Which server."""
    parser.add_argument("name", metavar="NAME", help="name or id of a server")


def show_run(options: Namespace, output: Output) -> int:
    """Print one server whole."""
    cloud = cloud_of(options)
    server = server_find(cloud, options.name)
    if output.as_json:
        output.document(server)
        return 0
    brief, image = _brief(server), server.get("image") or {}
    flavor = server["flavor"]
    facts = {
        "name": brief["name"],
        "id": brief["id"],
        "status": brief["status"] + (f" ({brief['task']})" if brief["task"] else ""),
        "reason": failure_of(server) if brief["status"] == "ERROR" else "",
        "addresses": " ".join(brief["addresses"]),
        "public": " ".join(brief["public_addresses"]),
        "flavor": f"{brief['flavor']}: {flavor.get('vcpus')} vcpu, {flavor.get('ram')} MiB, {flavor.get('disk')} GiB",
        "image": image.get("id", ""),
        "key pair": server.get("key_name") or "",
        "groups": " ".join(group["name"] for group in server.get("security_groups", ())),
        "zone": server.get("OS-EXT-AZ:availability_zone", ""),
        "host": server.get("OS-EXT-SRV-ATTR:host") or "",
        "created": brief["created"],
    }
    output.table(("FACT", "VALUE"), [(name, value) for name, value in facts.items() if value])
    if brief["status"] == "ERROR":
        output.line(f"next: {output.program} why {brief['name']}")
    return 0


def images_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


def images_run(options: Namespace, output: Output) -> int:
    """Print the images that servers can be made from."""
    images = list(cloud_of(options).pages("image", "/images", "images"))
    if output.as_json:
        output.document(images)
        return 0
    rows = [
        (
            image["name"] or "-",
            image["status"],
            image.get("disk_format") or "-",
            f"{(image.get('size') or 0) / MIB:.0f} MiB",
            image["visibility"],
            image["id"],
        )
        for image in images
    ]
    output.table(("NAME", "STATUS", "FORMAT", "SIZE", "VISIBLE", "ID"), rows)
    return 0
