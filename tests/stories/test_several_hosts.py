"""`up --hosts N` on a real machine: real guests on different hosts, one network, and nothing left in the end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.client.session import Session
from tests.stories.bareguest import until
from tests.stories.livecloud import LiveCloud
from tests.stories.test_up import SERVERS, audited, guest_processes, launch, said_by

PREFIX, PRIVATE, PUBLIC, UNDERLAY = "hfsh", "10.72.0.0/24", "172.24.72.0/24", "10.72.64.0/20"
FLAGS = ("--prefix", PREFIX, "--private-cidr", PRIVATE, "--public-cidr", PUBLIC, "--underlay-cidr", UNDERLAY)


def bare_cloud(tmp_path: Path, flags: tuple[str, ...]) -> Iterator[LiveCloud]:
    """A cloud with real guests that is not up yet; which accelerator works and its first guest are another story's."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o711)
    live = LiveCloud(tmp_path, flags)
    (live.state / "run").mkdir(parents=True)
    (live.state / "run" / "proved").touch()
    (live.state / "holdfast.toml").write_text('accelerator = "tcg"\n')
    try:
        yield live
    finally:
        live.remove()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    yield from bare_cloud(tmp_path, FLAGS)


def kernel_remains() -> list[str]:
    """Whatever carries one of our prefixes or is in one of our ranges, as the kernel has it."""
    commands = (
        ("ip", "-o", "link"),
        ("ip", "netns"),
        ("nft", "list", "ruleset"),
        ("ip", "-o", "addr"),
        ("ip", "route"),
    )
    lines = [line for command in commands for line in said_by(*command).splitlines()]
    ours = [line for line in lines if PREFIX in line or "172.24.72." in line or "10.72." in line]
    return ours + [path.name for path in Path("/run").iterdir() if path.name.startswith(PREFIX)]


def admin_in_demo(cloud: LiveCloud) -> Session:
    """The administrator, who may choose a host, in the project and with the key pair of the first user."""
    known = json.loads((cloud.state / "credentials.json").read_text())["users"]["admin"]
    session, demo = Session(f"http://127.0.0.1:{cloud.port}"), cloud.session()
    session.login("admin", known["password"], "demo")
    for each in demo.get("/compute/v2.1/os-keypairs")["keypairs"]:
        pair = {name: each["keypair"][name] for name in ("name", "public_key")}
        session.post("/compute/v2.1/os-keypairs", {"keypair": pair})
    demo.close()
    return session


def host_of(session: Session, server_id: str) -> str:
    return str(session.get(f"{SERVERS}/{server_id}")["server"]["OS-EXT-SRV-ATTR:host"])


def launch_on(session: Session, host: str, name: str, like: dict[str, Any]) -> tuple[str, str, str]:
    """A server on that host with a public address; its id and both addresses."""
    group = like["security_groups"][0]["name"]
    network = session.get("/network/v2.0/networks?name=private")["networks"][0]["id"]
    body = {"name": name, "imageRef": like["image"]["id"], "flavorRef": "42", "networks": [{"uuid": network}]}
    body |= {"security_groups": [{"name": group}], "availability_zone": f"nova:{host}", "key_name": like["key_name"]}
    server_id = session.post(SERVERS, {"server": body})["server"]["id"]
    port = session.get(f"/network/v2.0/ports?device_id={server_id}")["ports"][0]
    outside = session.get("/network/v2.0/networks?router:external=true")["networks"][0]["id"]
    wanted = {"floating_network_id": outside, "port_id": port["id"]}
    public = session.post("/network/v2.0/floatingips", {"floatingip": wanted})["floatingip"]["floating_ip_address"]
    return server_id, port["fixed_ips"][0]["ip_address"], public


def pings(address: str) -> bool:
    return subprocess.run(("ping", "-n", "-c1", "-W1", address), capture_output=True).returncode == 0


@pytest.mark.root
@pytest.mark.qemu
def test_a_second_host_joins_and_guests_on_both_are_one_network(cloud: LiveCloud) -> None:
    assert kernel_remains() == [], "another test left its objects"
    cloud.up()
    first_id = launch(cloud, "one")
    process = guest_processes(cloud)[first_id]
    said = cloud.run("up", "--hosts", "2")
    assert "h2 join" in said
    assert guest_processes(cloud)[first_id] == process, "the guest goes on while its host moves"

    session = admin_in_demo(cloud)
    first = session.get(f"{SERVERS}/{first_id}")["server"]
    card = first["addresses"]["private"]
    inner, public = (next(a["addr"] for a in card if a["OS-EXT-IPS:type"] == kind) for kind in ("fixed", "floating"))
    second_id, second_inner, second_public = launch_on(session, "h2", "two", first)
    until(lambda: session.get(f"{SERVERS}/{second_id}")["server"]["status"] == "ACTIVE", 60)
    assert host_of(session, second_id) == "h2" != host_of(session, first_id)
    until(lambda: pings(public) and pings(second_public), 60)
    cloud.run("wait", "two")
    for name, there in (("one", second_inner), ("two", inner), ("two", public), ("two", "172.24.72.1")):
        assert "1 packets received" in cloud.run("ssh", name, "--", f"ping -c1 -W5 {there}"), (name, there)
    audited(cloud)
    refusal = cloud.run("up", "--hosts", "1", status=2)
    assert "has 2 hosts" in refusal and "removes none" in refusal

    session.close()
    cloud.run("destroy", "--yes")
    assert kernel_remains() == [] and cloud.processes() == []
