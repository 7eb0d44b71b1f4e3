"""The ten steps over the OpenStack API: compute, network and image.

Each client has a security group of its own. The public address is taken and attached in one call; where a client
of the EC2 side could be robbed between two calls, there is nothing between them here (seed 001).
"""

from __future__ import annotations

import uuid
from typing import Any

from holdfast.base.errors import HoldfastError, NotFound
from holdfast.base.limits import SMOKE_GONE_S, SMOKE_RUNNING_S, SMOKE_SSH_S, WATCH_S
from holdfast.client.cloud import Cloud
from holdfast.client.networks import external_network, network_choose, server_port
from holdfast.client.servers import (
    addresses_of,
    failure_of,
    flavor_find,
    one_of,
    server_console,
    server_create,
    server_fetch,
)
from holdfast.client.shell import login_user
from holdfast.validate.guest_key import GuestKey, command_answers
from holdfast.validate.steps import NothingToDo, wait_until


class OpenStackSide:
    """One client with its own names; remembers what it made, so that it can be removed in any state."""

    def __init__(self, cloud: Cloud, name: str, image: str, flavor: str, user: str) -> None:
        self._cloud, self._name, self._image_name, self._flavor_name, self._user = cloud, name, image, flavor, user
        self._key = GuestKey()
        self.key_path = self._key.path
        self._image: dict[str, Any] = {}
        self._has_key_pair = False
        self.server_id = self._group_id = self._rule_id = self._public_id = self._address = ""

    def key_create(self) -> None:
        wanted = {"name": self._name, "public_key": self._key.make()}
        self._cloud.post("compute", "/os-keypairs", {"keypair": wanted})
        self._has_key_pair = True
        found = self._cloud.get("compute", f"/os-keypairs/{self._name}")["keypair"]
        _require(found["public_key"].split()[:2] == wanted["public_key"].split()[:2], "the key pair is another one")

    def image_find(self) -> None:
        images = list(self._cloud.pages("image", "/images", "images"))
        self._image = one_of(images, self._image_name, "image")
        _require(self._image["status"] == "active", f"image {self._image['id']} is {self._image['status']}")

    def server_run(self) -> None:
        cloud = self._cloud
        group = cloud.post("network", "/security-groups", {"security_group": {"name": self._name}})["security_group"]
        self._group_id = group["id"]
        wanted = {
            "name": self._name,
            "imageRef": self._image["id"],
            "flavorRef": flavor_find(cloud, self._flavor_name)["id"],
            "networks": [{"uuid": network_choose(cloud)["id"]}],
            "security_groups": [{"name": self._group_id}],
            "key_name": self._name,
        }
        self.server_id = server_create(cloud, wanted, str(uuid.uuid4()))

    def server_wait(self) -> None:
        wait_until(self._runs, SMOKE_RUNNING_S, WATCH_S, f"server {self.server_id} is not ACTIVE")

    def _runs(self) -> bool:
        server = self._server()
        if server["status"] == "ERROR":
            raise HoldfastError(failure_of(server), code="server_failed")
        return bool(server["status"] == "ACTIVE")

    def port_open(self) -> None:
        rule = {
            "security_group_id": self._group_id,
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": "tcp",
            "port_range_min": 22,
            "port_range_max": 22,
        }
        made = self._cloud.post("network", "/security-group-rules", {"security_group_rule": rule})
        self._rule_id = made["security_group_rule"]["id"]

    def address_find(self) -> list[str]:
        port = server_port(self._cloud, self.server_id)
        if port is None:
            raise NotFound(f"server {self.server_id} has no port")
        wanted = {
            "floating_network_id": external_network(self._cloud)["id"],
            "port_id": port["id"],
            "description": self._name,
        }
        made = self._cloud.post("network", "/floatingips", {"floatingip": wanted})["floatingip"]
        self._public_id, self._address = made["id"], made["floating_ip_address"]
        _require(made["port_id"] == port["id"], "the address does not lead to the server's port")
        shown = addresses_of(self._server(), "floating")
        _require(shown == [self._address], f"the server shows the addresses {shown}")
        return [*(fixed["ip_address"] for fixed in port["fixed_ips"]), self._address]

    def command_run(self) -> None:
        user = self._user or login_user(self._image)
        reach = self._key.reach(self.server_id, self._address, user)
        words = f"ssh to {user}@{self._address} does not work"
        wait_until(lambda: command_answers(reach, self._name), SMOKE_SSH_S, WATCH_S, words)

    def server_remove(self) -> None:
        if self._public_id:
            self._cloud.delete("network", f"/floatingips/{self._public_id}")
            self._public_id = ""
        if not self.server_id:
            raise NothingToDo
        self._cloud.delete("compute", f"/servers/{self.server_id}")
        gone = f"server {self.server_id} is not gone"
        wait_until(lambda: server_fetch(self._cloud, self.server_id) is None, SMOKE_GONE_S, WATCH_S, gone)

    def port_close(self) -> None:
        if not self._group_id:
            raise NothingToDo
        if self._rule_id:
            self._cloud.delete("network", f"/security-group-rules/{self._rule_id}")
            group = self._cloud.get("network", f"/security-groups/{self._group_id}")["security_group"]
            left = [rule["id"] for rule in group["security_group_rules"]]
            _require(self._rule_id not in left, "the rule is still in the group")
        self._cloud.delete("network", f"/security-groups/{self._group_id}")
        self._group_id = ""

    def key_delete(self) -> None:
        self._key.forget()
        if not self._has_key_pair:
            raise NothingToDo
        self._cloud.delete("compute", f"/os-keypairs/{self._name}")
        try:
            self._cloud.get("compute", f"/os-keypairs/{self._name}")
        except NotFound:
            return
        raise HoldfastError("the key pair is still there", code="not_deleted")

    def console(self) -> str:
        return server_console(self._cloud, self.server_id)

    def _server(self) -> dict[str, Any]:
        server = server_fetch(self._cloud, self.server_id)
        if server is None:
            raise NotFound(f"server {self.server_id} is gone")
        return server


_KINDS = (  # (service, path, noun, what it is called)
    ("compute", "/servers", "servers", "server"),
    ("network", "/floatingips", "floatingips", "address"),
    ("network", "/security-groups", "security_groups", "security group"),
)


def openstack_inventory(cloud: Cloud) -> dict[str, str]:
    """Everything that the project has of what a loop makes: `kind id` -> whose it is, by its name."""
    found: dict[str, str] = {}
    for service, path, noun, kind in _KINDS:
        for each in cloud.pages(service, path, noun):
            found[f"{kind} {each['id']}"] = each.get("name") or each.get("description") or ""
    for port in cloud.pages("network", "/ports", "ports"):
        found[f"port {port['id']}"] = found.get(f"server {port['device_id']}", "")
    for pair in cloud.pages("compute", "/os-keypairs", "keypairs"):
        found[f"key pair {pair['keypair']['name']}"] = pair["keypair"]["name"]
    return found


def _require(condition: bool, words: str) -> None:
    if not condition:
        raise HoldfastError(words, code="wrong_answer")
