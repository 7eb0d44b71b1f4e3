"""A Debian with the real cloud-init, built from nothing and booted: minutes, so only where it is asked for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.host.imagebuild.debian import DebianImage, build_debian
from holdfast.host.network.metadata.config_drive import iso_image
from tests.stories.bareguest import Guest, package_cache

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.root,
    pytest.mark.skipif(os.environ.get("HOLDFAST_SLOW") != "1", reason="takes three minutes: HOLDFAST_SLOW=1 runs it"),
]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> DebianImage:
    return build_debian(tmp_path_factory.mktemp("images"), package_cache(), "bookworm", print)


@pytest.fixture
def guest(tmp_path: Path, image: DebianImage) -> Iterator[Guest]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    machine = Guest(tmp_path, image, "", memory_mib=512, vcpus=2, bound_s=600)
    yield machine
    machine.kill()


def test_the_real_cloud_init_takes_a_config_drive_and_lets_its_owner_in(guest: Guest) -> None:
    document = {
        "uuid": "0f0e0d0c-1111-4222-8333-444455556666",
        "name": "web-1",
        "hostname": "web-1",
        "public_keys": {"mine": (guest.room / "key.pub").read_text()},
    }
    files = {
        "openstack/latest/meta_data.json": json.dumps(document).encode(),
        "openstack/latest/user_data": b"#!/bin/sh\necho from user data > /root/marker\n",
    }
    guest.drive = guest.room / "drive.iso"
    guest.drive.write_bytes(iso_image(files, "config-2"))
    guest.start()
    guest.says("finished at")
    assert "DataSourceConfigDrive" in guest.console()
    assert guest.run("cloud-init status --wait", user="debian").strip().endswith("status: done")
    assert guest.run("sudo cat /root/marker; hostname", user="debian") == "from user data\nweb-1\n"
    assert guest.run("systemctl list-units --failed --no-legend", user="debian") == ""
    guest.power_button()


def test_the_image_holds_nothing_that_two_instances_must_not_share(image: DebianImage, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", image.disk, raw], check=True)

    def debugfs(command: str) -> str:
        return subprocess.run(["debugfs", "-R", command, raw], capture_output=True, check=True).stdout.decode()

    assert debugfs("cat /etc/machine-id") == ""
    assert "ssh_host" not in debugfs("ls /etc/ssh")
    assert "root:*:" in debugfs("cat /etc/shadow")
