"""`rm`: delete servers, with the public address and the key pair that launch made for them, and see them gone.

What launch did not make stays: an address that somebody attached is only let go of. Repeated after a kill, it
removes what is left.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from typing import Any

from holdfast.base.errors import HoldfastError, NotFound, Unavailable
from holdfast.base.limits import REMOVE_S, WATCH_S
from holdfast.cli.launch import OWN_KEY
from holdfast.cli.output import Output
from holdfast.cli.session import cloud_of, known_hosts_path
from holdfast.client.cloud import Cloud
from holdfast.client.keys import key_pair_delete
from holdfast.client.networks import public_address_release, public_addresses_of_launch
from holdfast.client.servers import server_fetch, server_find
from holdfast.client.shell import known_host_forget
from holdfast.client.text import one_line


def rm_arguments(parser: ArgumentParser) -> None:
    """Which servers."""
    parser.add_argument("names", metavar="NAME", nargs="+", help="name or id of a server")
    parser.add_argument("--wait-s", type=float, default=REMOVE_S, metavar="N", help=f"until gone (default: {REMOVE_S})")


def rm_run(options: Namespace, output: Output) -> int:
    """Find all of them first: a name that is wrong deletes nothing."""
    cloud = cloud_of(options)
    servers = [server_find(cloud, name) for name in options.names]
    started_s = time.monotonic()
    for server in servers:
        _delete(cloud, server)
    hosts = known_hosts_path(options, cloud.credentials)
    for server in servers:
        _gone(cloud, server, started_s + options.wait_s)
        known_host_forget(hosts, server["id"])
        took_s = time.monotonic() - started_s
        output.event("removed", server=server["name"], id=server["id"], elapsed_s=round(took_s, 2))
        output.line(f"removed {server['name']}  {took_s:.1f}s")
    return 0


def _delete(cloud: Cloud, server: dict[str, Any]) -> None:
    for address in public_addresses_of_launch(cloud, server["id"]):
        public_address_release(cloud, address["id"])
    with suppress(NotFound):  # somebody else deleted it in the meantime: that is what was asked for
        cloud.delete("compute", f"/servers/{server['id']}")
    if name := server["metadata"].get(OWN_KEY):
        key_pair_delete(cloud, name)


def _gone(cloud: Cloud, server: dict[str, Any], deadline_s: float) -> None:
    while True:
        try:
            if server_fetch(cloud, server["id"]) is None:
                return
        except Unavailable:
            pass  # the control plane restarts; the deletion is a row and goes on
        if time.monotonic() > deadline_s:
            name = one_line(server["name"])
            raise HoldfastError(f"server {name!r} is still being deleted; next: holdfast why {server['id']}")
        time.sleep(WATCH_S)
