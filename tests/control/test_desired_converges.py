"""What an agent put together from updates is what a new agent would be told: nothing that it must know is left out.

Random acts through the public API, on two hosts; after each one every host's desk is compared with a fresh one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.control.operations.host_desired import host_update_since
from holdfast.domain.desired import DesiredHost
from holdfast.host.agent.desk import Desk
from tests.client import Answer
from tests.conftest import Cloud
from tests.world import IMAGE, HostStandIn, World

ACTS = 40


def told_anew(world: World, host: HostStandIn) -> DesiredHost:
    """What an agent that knows nothing is told."""
    update = world.store.read(lambda tx: host_update_since(tx, host.host_id, 0))
    desk = Desk(host.host_id)
    assert update is not None
    desk.apply(update)
    return desk.whole()


def same(world: World, host: HostStandIn) -> None:
    mine, anew = in_order(host.desk.whole()), in_order(told_anew(world, host))
    for field in ("machines", "networks", "routers", "externals", "security_groups"):
        assert getattr(mine, field) == getattr(anew, field), f"{host.name}: {field}"


def in_order(state: DesiredHost) -> DesiredHost:
    networks = [msgspec.structs.replace(n, ports=tuple(sorted(n.ports, key=lambda p: p.id))) for n in state.networks]
    # that a disk was made comes with the next change: until then the host that made it knows best
    made = [msgspec.structs.replace(machine, disk_made=0) for machine in state.machines]
    machines = sorted(made, key=lambda machine: machine.instance_id)
    return msgspec.structs.replace(state, machines=tuple(machines), networks=tuple(networks))


class Tenant:
    """Does what comes to its mind, and remembers what it made."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.mind = world, random.Random(seed)
        self.made: dict[str, list[str]] = {}

    def act(self) -> str:
        acts: list[Callable[[], object]] = [
            *(self.server, self.server, self.server_delete, self.server_delete, self.network, self.group, self.rule),
            *(self.rule_delete, self.floating, self.floating_delete, self.router, self.port_groups, self.plug),
            self.port_address,
        ]
        act = self.mind.choice(acts)
        act()
        return act.__name__

    def one(self, kind: str) -> str:
        return self.mind.choice(self.made.get(kind) or [""])

    def keep(self, kind: str, answer: Answer, noun: str) -> None:
        assert answer.status < 500, answer.body
        if answer.status in (200, 201, 202):
            self.made.setdefault(kind, []).append(answer.json[noun]["id"])

    def neutron(self, method: str, path: str, body: Any = None) -> Answer:
        return self.world.demo.request(method, f"/network/v2.0/{path}", body)

    def server(self) -> None:
        cards = [{"uuid": self.one("networks")}] if self.one("networks") else "auto"
        body: dict[str, Any] = {"name": "s", "imageRef": IMAGE, "flavorRef": "42", "networks": cards}
        if group := self.one("groups"):
            body["security_groups"] = [{"name": group}]
        self.keep("servers", self.world.nova("POST", "/servers", {"server": body}), "server")

    def server_delete(self) -> None:
        if server := self.one("servers"):
            self.made["servers"].remove(server)
            assert self.world.nova("DELETE", f"/servers/{server}").status == 204

    def network(self) -> None:
        answer = self.neutron("POST", "networks", {"network": {"name": "n"}})
        cidr = f"10.{self.mind.randrange(100, 200)}.0.0/24"
        subnet = {"network_id": answer.json["network"]["id"], "ip_version": 4, "cidr": cidr}
        self.keep("subnets", self.neutron("POST", "subnets", {"subnet": subnet}), "subnet")
        self.keep("networks", answer, "network")

    def group(self) -> None:
        name = f"g{self.mind.randrange(10**9)}"
        self.keep(
            "groups", self.neutron("POST", "security-groups", {"security_group": {"name": name}}), "security_group"
        )

    def rule(self) -> None:
        if group := self.one("groups"):
            rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp"}
            rule |= {"remote_group_id": self.one("groups")} if self.mind.random() < 0.5 else {}
            low = self.mind.randrange(1, 60_000)
            rule |= {"port_range_min": low, "port_range_max": low}
            answer = self.neutron("POST", "security-group-rules", {"security_group_rule": rule})
            self.keep("rules", answer, "security_group_rule")

    def rule_delete(self) -> None:
        if rule := self.one("rules"):
            self.made["rules"].remove(rule)
            self.neutron("DELETE", f"security-group-rules/{rule}")

    def floating(self) -> None:
        if ports := self._ports():
            public = self.neutron("GET", "networks?router:external=true").json["networks"][0]["id"]
            body = {"floating_network_id": public, "port_id": self.mind.choice(ports)}
            self.keep("floatingips", self.neutron("POST", "floatingips", {"floatingip": body}), "floatingip")

    def floating_delete(self) -> None:
        if address := self.one("floatingips"):
            self.made["floatingips"].remove(address)
            self.neutron("DELETE", f"floatingips/{address}")

    def router(self) -> None:
        if subnet := self.one("subnets"):
            answer = self.neutron("POST", "routers", {"router": {"name": "r"}})
            body = {"subnet_id": subnet}
            self.neutron("PUT", f"routers/{answer.json['router']['id']}/add_router_interface", body)

    def port_groups(self) -> None:
        if ports := self._ports():
            groups = [self.one("groups")] if self.one("groups") else []
            self.neutron("PUT", f"ports/{self.mind.choice(ports)}", {"port": {"security_groups": groups}})

    def port_address(self) -> None:
        if ports := self._ports():
            port = self.neutron("GET", f"ports/{self.mind.choice(ports)}").json["port"]
            fixed = [{"subnet_id": port["fixed_ips"][0]["subnet_id"]}]
            more = fixed * self.mind.randrange(1, 3)
            self.neutron("PUT", f"ports/{port['id']}", {"port": {"fixed_ips": more}})

    def plug(self) -> None:
        if (server := self.one("servers")) and (network := self.one("networks")):
            body = {"interfaceAttachment": {"net_id": network}}
            self.world.nova("POST", f"/servers/{server}/os-interface", body)

    def _ports(self) -> list[str]:
        return [port["id"] for port in self.neutron("GET", "ports?device_owner=compute:nova").json["ports"]]


@pytest.mark.parametrize("seed", range(8))
def test_updates_add_up_to_what_a_new_agent_is_told(seed: int, cloud: Cloud, tmp_path: Path) -> None:
    world = World(cloud, tmp_path, hosts=2)
    tenant, story = Tenant(world, seed), []
    for _ in range(ACTS):
        story.append(tenant.act())
        world.settle()
        for host in world.hosts:
            try:
                same(world, host)
            except AssertionError as err:
                raise AssertionError(f"seed {seed}, after {story}: {err}") from err
