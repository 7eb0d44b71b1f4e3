"""What a server needs to be reached: a network, a security group that lets ssh in, a public address.

Each `_ensure` may be run again, and by two at once: it finds what is there and makes what is missing.
"""

from __future__ import annotations

from typing import Any

from holdfast.base.errors import Conflict, NotFound
from holdfast.client.cloud import Cloud
from holdfast.client.servers import one_of
from holdfast.client.text import one_line

SSH_GROUP = "holdfast-ssh"
MADE_BY_LAUNCH = "made by holdfast launch for "  # the description of an address; `rm` releases those only
_RULES = ({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}, {"protocol": "icmp"})


def network_choose(cloud: Cloud, name_or_id: str = "") -> dict[str, Any]:
    """The network of a new server: the one that is named, or the project's only one, or its `private`."""
    every: list[dict[str, Any]] = list(cloud.pages("network", "/networks", "networks"))
    found = [each for each in every if not each["router:external"]]
    if name_or_id:
        return one_of(found, name_or_id, "network")
    own = [each for each in found if each["project_id"] == cloud.session.project_id] or found
    private = [each for each in own if each["name"] == "private"]
    for choice in (own, private):
        if len(choice) == 1:
            return choice[0]
    if not own:
        raise NotFound(f"project {cloud.credentials.project!r} has no network; next: openstack network create private")
    names = ", ".join(sorted(one_line(each["name"]) for each in own))
    raise Conflict(f"the project has several networks; next: say which with --network, one of {names}")


def ssh_group_ensure(cloud: Cloud) -> str:
    """The id of the security group that lets ssh and ping in."""
    group = _ssh_group(cloud)
    if group is None:
        words = {"name": SSH_GROUP, "description": "ssh and ping from everywhere; made by holdfast launch"}
        cloud.post("network", "/security-groups", {"security_group": words})
        group = _ssh_group(cloud)
    if group is None:
        raise NotFound(f"security group {SSH_GROUP!r} is gone again: somebody else deletes it")
    for rule in _RULES:
        if not any(_allows(each, rule) for each in group["security_group_rules"]):
            body = {**rule, "security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4"}
            _unless_known(cloud, "/security-group-rules", {"security_group_rule": body})
    return str(group["id"])


def _ssh_group(cloud: Cloud) -> dict[str, Any] | None:
    """The oldest of that name, so that two launches at once agree on one."""
    query = {"name": SSH_GROUP, "project_id": cloud.session.project_id}
    found = list(cloud.pages("network", "/security-groups", "security_groups", query))
    return min(found, key=lambda each: (each.get("created_at", ""), each["id"]), default=None)


def _allows(rule: dict[str, Any], wanted: dict[str, Any]) -> bool:
    whole = rule["direction"] == "ingress" and rule["ethertype"] == "IPv4" and not rule.get("remote_group_id")
    anyone = rule.get("remote_ip_prefix") in (None, "0.0.0.0/0")
    return whole and anyone and all(rule.get(name) == value for name, value in wanted.items())


def _unless_known(cloud: Cloud, path: str, body: dict[str, Any]) -> None:
    """Make it, unless somebody else did in the meantime."""
    try:
        cloud.post("network", path, body)
    except Conflict:
        return


def server_port(cloud: Cloud, server_id: str) -> dict[str, Any] | None:
    """The first port of a server; None while it has none."""
    return next(cloud.pages("network", "/ports", "ports", {"device_id": server_id}), None)


def public_address_ensure(cloud: Cloud, server_id: str, port_id: str) -> str:
    """The public address that leads to a port: the one it has, or a new one, taken and attached in one call."""
    found = next(cloud.pages("network", "/floatingips", "floatingips", {"port_id": port_id}), None)
    if found is None:
        wanted = {
            "floating_network_id": external_network(cloud)["id"],
            "port_id": port_id,
            "description": MADE_BY_LAUNCH + server_id,
        }
        found = cloud.post("network", "/floatingips", {"floatingip": wanted})["floatingip"]
    return str(found["floating_ip_address"])


def external_network(cloud: Cloud) -> dict[str, Any]:
    """The network that public addresses come from."""
    query = {"router:external": "true"}
    found = [each for each in cloud.pages("network", "/networks", "networks", query) if each["router:external"]]
    if not found:
        raise NotFound("the cloud has no network with public addresses; next: holdfast launch --no-public")
    return min(found, key=lambda each: (not each.get("is_default"), each["name"]))


def public_addresses_of_launch(cloud: Cloud, server_id: str) -> list[dict[str, Any]]:
    """The public addresses that launch made for this server, attached or not."""
    found = cloud.pages("network", "/floatingips", "floatingips", {"description": MADE_BY_LAUNCH + server_id})
    return [each for each in found if each.get("description") == MADE_BY_LAUNCH + server_id]


def public_address_release(cloud: Cloud, address_id: str) -> None:
    """Give a public address back; gone already: nothing."""
    try:
        cloud.delete("network", f"/floatingips/{address_id}")
    except NotFound:
        return
