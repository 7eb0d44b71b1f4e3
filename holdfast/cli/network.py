"""`net`: the operator's looks at the network. All act as the administrator."""

from __future__ import annotations

import ipaddress
from argparse import ArgumentParser, Namespace
from typing import Any
from urllib.parse import urlencode

from holdfast.cli.output import Output
from holdfast.cli.session import admin_cloud_of
from holdfast.client.cloud import Cloud

ACTIONS = ("pools",)
_KINDS = {"network:router_gateway": "router", "network:floatingip": "floating ip", "network:dhcp": "dhcp"}


def net_arguments(parser: ArgumentParser) -> None:
    """What to look at."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help="pools: public addresses, and who has which")


def net_run(options: Namespace, output: Output) -> int:
    """Print the pools and every address that is held or cools down."""
    pools, addresses = _whole(admin_cloud_of(options))
    if output.as_json:
        output.document({"pools": pools, "addresses": addresses})
        return 0
    if not pools:
        output.line("no network is external; next: openstack network create --external NAME")
        return 0
    head = ("NETWORK", "SUBNET", "TOTAL", "HELD", "COOLING", "FREE")
    output.table(
        head, [tuple(p[name] for name in ("network", "cidr", "total", "held", "cooling", "free")) for p in pools]
    )
    rows = [_row(each) for each in addresses if each["state"] != "free"]
    if rows:
        output.line()
        output.table(("ADDRESS", "STATE", "SINCE", "HOLDER", "PROJECT", "SERVER", "PATH"), rows)
    return 0


def _whole(cloud: Cloud) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pools as the last page has them, and the addresses of all pages in their order."""
    marker, addresses = "", []
    while True:
        page = cloud.get("holdfast", f"/operator/v1/public-addresses?{urlencode({'marker': marker})}")
        addresses += page["addresses"]
        marker = page["next"]
        if not marker:
            return page["pools"], sorted(addresses, key=lambda each: _number(each["address"]))


def _number(address: str) -> tuple[int, int]:
    found = ipaddress.ip_address(address)
    return found.version, int(found)


def _row(each: dict[str, Any]) -> tuple[object, ...]:
    if each["state"] == "cooling":
        return each["address"], f"cooling until {each['cooling_until']}", each["since"], "", "", "", ""
    kind = _KINDS.get(each["holder_kind"], each["holder_kind"] or "port")
    path = ""
    if each["floating_ip_id"]:
        path = "not associated" if not each["port_id"] else "up" if each["up"] else each["reason"] or "not seen yet"
    holder = f"{kind} {each['floating_ip_id'] or each['holder_id']}"
    return each["address"], "held", each["since"], holder, each["project"], each["server"] or each["server_id"], path
