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
from tests.stories.livecloud import LiveCloud

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


CLOUD_CONFIG = """#cloud-config
write_files:
- {path: /root/marker, content: written}
runcmd:
- [sh, -c, "echo ran > /root/ran"]
"""


def test_in_a_cloud_the_real_cloud_init_is_content_with_our_metadata(tmp_path: Path) -> None:
    """From `up` and `build debian` to a guest whose cloud-init asked 169.254.169.254 and has nothing to complain of."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o711)
    live = LiveCloud(
        tmp_path, ("--prefix", "hfdeb", "--private-cidr", "10.74.0.0/24", "--public-cidr", "172.24.74.0/24")
    )
    (tmp_path / "user-data").write_text(CLOUD_CONFIG)
    try:
        live.up()
        live.run("build", "debian", bound_s=1_200)
        words = ("--image", "debian-bookworm", "--flavor", "m1.small", "--wait-s", "600")
        live.run("launch", "deb", *words, "--user-data", str(tmp_path / "user-data"), bound_s=900)

        def inside(command: str) -> str:
            return live.run("ssh", "deb", "--", command)

        told = inside("cloud-init status --wait --long")
        assert "status: done" in told and "DataSourceOpenStack" in told
        assert inside("sudo cat /root/marker; echo; sudo cat /root/ran; hostname").split() == ["written", "ran", "deb"]
        assert inside("ip -4 route show default").split()[2] == "10.74.0.1"
        assert inside("cloud-init query ds.meta_data.uuid").strip() in live.run("list", "--json")
        assert "WARNING" not in inside("sudo cat /var/log/cloud-init.log")
        assert int(inside("df --output=size -BG / | tail -1").strip().rstrip("G")) >= 19, "it grew to its flavor's disk"
        assert "nothing is out of order" in live.run("audit")
    finally:
        live.remove()
