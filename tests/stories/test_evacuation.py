"""A guest moves while it runs, its host is drained, and at last its host's plug is pulled: it runs elsewhere, once,
with data and address, and the host comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.client.session import Session
from tests.stories.bareguest import until
from tests.stories.livecloud import LiveCloud
from tests.stories.test_several_hosts import admin_in_demo, bare_cloud, host_of
from tests.stories.test_up import SERVERS, audited, launch

VOLUMES = "/volume/v3/volumes"
FLAGS = ("--prefix", "hfse", "--private-cidr", "10.73.0.0/24", "--public-cidr", "172.24.73.0/24")
FLAGS = (*FLAGS, "--underlay-cidr", "10.73.64.0/20")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    yield from bare_cloud(tmp_path, FLAGS)


@pytest.mark.qemu
def test_a_guest_outlives_its_host(cloud: LiveCloud) -> None:
    cloud.up("--hosts", "2")
    server_id = launch(cloud, "web")
    cloud.run("ssh", "web", "--", "echo kept > note; sync")
    session = admin_in_demo(cloud)
    moves_without_a_restart(cloud, session, server_id)
    source, volume_id = host_of(session, server_id), volume_attached(session, server_id)
    until(lambda: all(host["lease_enforced"] for host in hosts(cloud).values()), 60)  # and the keepers know it
    killed = cloud.run("host", "kill", source)
    assert "with 1 guests" in killed

    until(lambda: host_of(session, server_id) != source, 90)
    until(lambda: answers_with_its_data(cloud), 60)
    assert len(processes_of_guest(server_id)) == 1
    assert volume_id[:20] in cloud.run("ssh", "web", "--", "cat /sys/block/*/serial"), "it has its volume"
    assert who_has_open(volume_id) == processes_of_guest(server_id)
    volume = session.get(f"{VOLUMES}/{volume_id}")["volume"]
    assert [each["server_id"] for each in volume["attachments"]] == [server_id]
    cloud.run("host", "start", source)
    until(lambda: (hosts(cloud)[source]["state"], hosts(cloud)[source]["phase"]) == ("up", "member"), 60)
    assert len(processes_of_guest(server_id)) == 1
    audited(cloud)


def moves_without_a_restart(cloud: LiveCloud, session: Session, server_id: str) -> None:
    """Asked for in Nova's words, then by a drain of the host that it came to."""
    boot, first = cloud.run("ssh", "web", "--", "cat /proc/sys/kernel/random/boot_id"), host_of(session, server_id)
    session.post(f"{SERVERS}/{server_id}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}})
    until(lambda: host_of(session, server_id) != first and settled(session, server_id), 60)
    second = host_of(session, server_id)
    assert cloud.run("ssh", "web", "--", "cat /proc/sys/kernel/random/boot_id") == boot
    until(lambda: len(processes_of_guest(server_id)) == 1, 30)  # the one that sent it ends
    assert f"web  moved  {first}" in cloud.run("host", "drain", second)
    assert cloud.run("ssh", "web", "--", "cat /proc/sys/kernel/random/boot_id") == boot
    until(lambda: len(processes_of_guest(server_id)) == 1, 30)
    cloud.run("host", "enable", second)


def volume_attached(session: Session, server_id: str) -> str:
    """A new volume that the server has plugged in."""
    volume_id = str(session.post(VOLUMES, {"volume": {"size": 1}})["volume"]["id"])
    until(lambda: session.get(f"{VOLUMES}/{volume_id}")["volume"]["status"] == "available", 30)
    session.post(f"{SERVERS}/{server_id}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume_id}})
    until(lambda: session.get(f"{VOLUMES}/{volume_id}")["volume"]["status"] == "in-use", 30)
    return volume_id


def who_has_open(volume_id: str) -> list[str]:
    """The processes that hold the volume's file, as the kernel has them."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if volume_id in os.readlink(path):
                found.add(path.parts[2])
    return sorted(found)


def settled(session: Session, server_id: str) -> bool:
    return bool(session.get(f"{SERVERS}/{server_id}")["server"]["status"] == "ACTIVE")


def hosts(cloud: LiveCloud) -> dict[str, Any]:
    return {host["name"]: host for host in json.loads(cloud.run("host", "list", "--json"))["hosts"]}


def answers_with_its_data(cloud: LiveCloud) -> bool:
    ssh = cloud.start("ssh", "web", "--", "cat note")
    return b"kept" in ssh.communicate(timeout=60)[0]


def processes_of_guest(server_id: str) -> list[str]:
    """The QEMU processes that run a guest, whoever's they are, as the kernel has them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"-uuid" in words and server_id.encode() in words and words[0].endswith(b"qemu-system-x86_64"):
            found.append(path.parent.name)
    return found
