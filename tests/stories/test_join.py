"""`join` from another machine, which is a network namespace with a wire to this one: real guests, TLS, tunnels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stories.bareguest import until
from tests.stories.livecloud import LiveCloud
from tests.stories.test_several_hosts import admin_in_demo, bare_cloud, host_of, launch_on
from tests.stories.test_up import SERVERS, audited, guest_processes, launch, said_by, simulated  # noqa: F401

WIRE, HERE, THERE = "hfjw0", "10.75.64.1", "10.75.64.2"
FLAGS = ("--prefix", "hfjo", "--private-cidr", "10.75.0.0/24", "--public-cidr", "172.24.75.0/24")


@dataclass
class Elsewhere(LiveCloud):
    """A state directory on the other machine, whose commands run there."""

    space: str = ""

    def command(self, *words: str) -> list[str]:
        inside = ["nsenter", f"--net=/run/netns/{self.space}"] if self.space else []
        return [*inside, *super().command(*words)]

    def join(self, cloud: LiveCloud, url: str, *more: str, status: int = 0) -> str:
        token = json.loads(cloud.run("token", "--json"))["token"]
        return self.run("join", url, "--token", token, *self.flags, *more, status=status)


@pytest.fixture
def space() -> Iterator[str]:
    """The other machine: it reaches this one by one wire."""
    name = f"{WIRE}-there"
    said_by("ip", "netns", "add", name)
    try:
        said_by("ip", "link", "add", WIRE, "type", "veth", "peer", "name", "eth0", "netns", name)
        for where, link, address in (((), WIRE, HERE), (("-n", name), "eth0", THERE)):
            said_by("ip", *where, "addr", "add", f"{address}/24", "dev", link)
            said_by("ip", *where, "link", "set", link, "up")
        said_by("ip", "-n", name, "link", "set", "lo", "up")
        said_by("ip", "-n", name, "route", "add", "default", "via", HERE)
        yield name
    finally:
        said_by("ip", "netns", "delete", name)


@pytest.fixture
def cloud(tmp_path: Path, space: str) -> Iterator[LiveCloud]:
    (tmp_path / "here").mkdir()
    yield from bare_cloud(tmp_path / "here", FLAGS)


@pytest.fixture
def there(tmp_path: Path, space: str) -> Iterator[Elsewhere]:
    """The other machine, which is nobody's host yet."""
    (tmp_path / "there").mkdir(mode=0o711)
    other = Elsewhere(
        tmp_path / "there", ("--name", "far", "--prefix", "hfjt"), told={"accelerator": "tcg"}, space=space
    )
    try:
        yield other
    finally:
        other.remove()


@pytest.mark.root
@pytest.mark.qemu
def test_a_machine_joins_and_its_guests_and_ours_are_one_network_and_move(cloud: LiveCloud, there: Elsewhere) -> None:
    cloud.up()
    here_id = launch(cloud, "here")
    process = guest_processes(cloud)[here_id]
    assert "next: sudo holdfast" in cloud.run("token", status=4)
    cloud.up("--hosts-listen", HERE, "--hosts-port", str(cloud.port + 1))
    assert guest_processes(cloud)[here_id] == process, "the guest goes on while the door is opened"
    assert "far holds its lease" in there.join(cloud, f"{HERE}:{cloud.port + 1}")

    session = admin_in_demo(cloud)
    first = session.get(f"{SERVERS}/{here_id}")["server"]
    far_id, inner, _ = launch_on(session, "far", "there", first)
    until(lambda: session.get(f"{SERVERS}/{far_id}")["server"]["status"] == "ACTIVE", 60)
    assert far_id in guest_processes(there) and far_id not in guest_processes(cloud)
    cloud.run("wait", "there", "--wait-s", "1")  # its ssh is behind a public address of the other machine
    assert "1 packets received" in cloud.run("ssh", "here", "--", f"until ping -c1 -W2 {inner}; do :; done")
    audited(cloud)
    audited(there)
    shown = json.loads(cloud.run("host", "show", "far", "--json"))
    assert shown["joined_at"] and shown["certificate_until"] > shown["joined_at"]

    session.post(f"{SERVERS}/{far_id}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}})
    until(lambda: host_of(session, far_id) != "far" and far_id in guest_processes(cloud), 60)
    until(lambda: far_id not in guest_processes(there), 60)
    assert "1 packets received" in cloud.run("ssh", "here", "--", f"until ping -c1 -W2 {inner}; do :; done")
    there.run("down")
    assert "holds its lease" in there.run("up") and "lease for" in there.run("status")
    there.run("destroy", "--yes")
    assert there.processes() == []
    cloud.run("host", "forget", "far")
    assert [host["name"] for host in json.loads(cloud.run("host", "list", "--json"))["hosts"]] != ["far"]
    audited(cloud)


@pytest.mark.root
@pytest.mark.qemu
def test_a_joined_host_that_is_cut_off_is_evacuated_once_and_comes_back_to_be_drained(
    cloud: LiveCloud, there: Elsewhere, tmp_path: Path
) -> None:
    """EVA-02, EVA-07 over the wire: disks are shared, the other machine is alive but nobody hears it."""
    for machine in (cloud, there):
        machine.told["shared"] = str(tmp_path / "shared")
    cloud.up("--hosts-listen", HERE, "--hosts-port", str(cloud.port + 1))
    here_id = launch(cloud, "here")
    there.join(cloud, f"{HERE}:{cloud.port + 1}")
    session = admin_in_demo(cloud)
    far_id, _, _ = launch_on(session, "far", "there", session.get(f"{SERVERS}/{here_id}")["server"])
    until(lambda: session.get(f"{SERVERS}/{far_id}")["server"]["status"] == "ACTIVE", 60)
    first = guest_processes(there)[far_id]
    until(lambda: host_shown(cloud)["lease_enforced"], 120)

    said_by("ip", "link", "set", WIRE, "down")
    until(lambda: far_id in guest_processes(cloud), 120)
    assert not Path(f"/proc/{first}").exists(), "its keeper had ended it before it ran here"
    assert guest_processes(there) == {}
    assert host_shown(cloud)["phase"] == "fenced"
    said_by("ip", "link", "set", WIRE, "up")
    until(lambda: (host_shown(cloud)["state"], host_shown(cloud)["phase"]) == ("up", "member"), 120)
    assert guest_processes(there) == {} and far_id in guest_processes(cloud)
    audited(cloud)
    audited(there)

    next_id, _, _ = launch_on(session, "far", "next", session.get(f"{SERVERS}/{here_id}")["server"])
    until(lambda: session.get(f"{SERVERS}/{next_id}")["server"]["status"] == "ACTIVE", 60)
    assert next_id in guest_processes(there)
    cloud.run("host", "drain", "far")
    assert next_id in guest_processes(cloud) and guest_processes(there) == {}
    assert {host_of(session, server_id) for server_id in (far_id, next_id)} == {host_of(session, here_id)}
    audited(cloud)
    audited(there)


def host_shown(cloud: LiveCloud) -> Any:
    return json.loads(cloud.run("host", "show", "far", "--json"))


def test_a_refused_machine_is_nobodys_host_and_joins_once_what_was_wrong_is_mended(
    simulated: LiveCloud,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    machine = Elsewhere(tmp_path / "there", ("--hypervisor", "simulated"))
    door = f"127.0.0.1:{simulated.port + 1}"
    simulated.up("--hosts-listen", "127.0.0.1", "--hosts-port", str(simulated.port + 1))
    own = json.loads(simulated.run("host", "list", "--json"))["hosts"][0]["name"]
    token = json.loads(simulated.run("token", "--json"))["token"]
    try:
        for wrong, status, words in (
            ("0" * 64 + token[64:], 4, "is not the cloud that the token is for"),
            (token[:65] + "secret", 2, "lets nobody in"),
            ("x", 2, "no join token"),
        ):
            said = machine.run("join", door, "--token", wrong, *machine.flags, status=status)
            assert words in said and token[65:] not in said
        assert "holdfast host forget" in machine.join(simulated, door, "--name", own, status=4)
        assert "has a cloud of its own" in simulated.run("join", door, "--token", token, status=4)
        assert not list((machine.state / "hosts").iterdir()) and machine.processes() == []

        began = machine.start("join", door, "--token", token, "--name", "far", *machine.flags)
        until(lambda: (machine.state / "joining" / "key.pem").exists() or list((machine.state / "hosts").iterdir()), 60)
        began.kill()
        began.communicate()
        assert "far holds its lease" in machine.join(simulated, door, "--name", "far")
        hosts = json.loads(simulated.run("host", "list", "--json"))["hosts"]
        assert sorted(host["name"] for host in hosts) == sorted([own, "far"]), "it is one host, whenever it was killed"
        assert "for it. Settings are in" in machine.run("up", "--port", "7", status=2)
        before = machine.pids()["agent"]
        assert "far holds its lease" in machine.join(simulated, door, "--name", "other"), "it stays who it is"
        assert machine.pids()["agent"] != before, "what runs has the settings of now"
        (machine.state / "hosts" / "far" / "authority.pem").write_text("of another cloud")
        assert "is host far of another cloud" in machine.join(simulated, door, status=4)
    finally:
        machine.remove()
