"""The tiny guest in a bare QEMU: it boots, learns who it is, lets its owner in, keeps what it was told."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.host.imagebuild.packages import parts_fetch
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny
from holdfast.host.network.metadata.config_drive import iso_image
from tests.stories.bareguest import Guest, package_cache

pytestmark = pytest.mark.qemu

ID = "0f0e0d0c-1111-4222-8333-444455556666"


@dataclass
class Metadata:
    """A metadata service on a port of this machine; `pages` maps a path to its body."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    service = Metadata()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append(self.path)
            body = service.pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *words: object) -> None:
            """Stay quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield service
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> TinyImage:
    return build_tiny(tmp_path_factory.mktemp("images"), package_cache(), print)


@pytest.fixture(scope="session")
def relay() -> str:
    """The program that carries the guest's connections to the metadata service: busybox of the same packages."""
    return str(parts_fetch(package_cache(), print).busybox)


@pytest.fixture
def guest(tmp_path: Path, image: TinyImage, metadata: Metadata, relay: str) -> Iterator[Guest]:
    for key in ("key", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key], check=True)
    way = f",guestfwd=tcp:169.254.169.254:80-cmd:{relay} nc 127.0.0.1 {metadata.port}"
    machine = Guest(tmp_path, image, f",net=169.254.169.0/24,dhcpstart=169.254.169.15{way}")
    yield machine
    machine.kill()


def public_key(guest: Guest) -> str:
    return (guest.room / "key.pub").read_text()


def document(guest: Guest, instance_id: str = ID, hostname: str = "web-1.cloud") -> bytes:
    return json.dumps(
        {
            "uuid": instance_id,
            "meta": {"note": "ssh-ed25519 AAAAnotakey"},
            "hostname": hostname,
            "public_keys": {"mine": public_key(guest)},
            "name": "web-1",
        }
    ).encode()


def serve(metadata: Metadata, guest: Guest, user_data: bytes = b"", instance_id: str = ID) -> None:
    metadata.pages["/openstack/latest/meta_data.json"] = document(guest, instance_id)
    if user_data:
        metadata.pages["/openstack/latest/user_data"] = user_data


def test_the_owner_gets_in_and_what_the_guest_keeps_survives_a_reboot(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest, b"#!/bin/sh\necho run >> /root/runs\necho from the owner\n")
    guest.start()
    guest.says("user-data ended with status 0")
    console = guest.console()
    stages = [console.index(f"holdfast-guest: {stage}") for stage in ("kernel", "dhcp", "metadata", "sshd", "ready")]
    assert stages == sorted(stages)
    assert "user-data: from the owner" in console and "login:" in console
    assert guest.run("hostname") == "web-1.cloud\n"
    assert guest.run("id", "-u", user="demo") == "1000\n"
    assert guest.run("cat", "/root/.ssh/authorized_keys").split()[:2] == public_key(guest).split()[:2]
    key = guest.host_key()

    guest.run("echo kept > /home/demo/note; reboot")
    guest.says("holdfast-guest: ready", times=2)
    assert guest.run("cat", "/home/demo/note", "/root/runs") == "kept\nrun\n"
    assert guest.host_key() == key

    guest.power_button()
    assert "going down" in guest.console()


def test_only_the_key_opens_the_door(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest)
    guest.start()
    guest.says("holdfast-guest: ready")
    stranger = guest.ssh("true", key="other")
    assert stranger.returncode == 255 and b"publickey" in stranger.stderr and b"password" not in stranger.stderr


def test_ec2s_dialect_is_enough(guest: Guest, metadata: Metadata) -> None:
    metadata.pages |= {
        "/latest/meta-data/instance-id": b"i-0123abcd",
        "/latest/meta-data/hostname": b"ec2-name",
        "/latest/meta-data/public-keys/0/openssh-key": public_key(guest).encode(),
        "/latest/user-data": b"#!/bin/sh\necho as ec2 > /root/dialect\n",
    }
    guest.start()
    guest.says("user-data ended with status 0")
    assert guest.run("hostname; cat /root/dialect") == "ec2-name\nas ec2\n"


def test_a_config_drive_is_preferred_and_the_network_is_not_asked(guest: Guest, metadata: Metadata) -> None:
    drive = guest.room / "drive.iso"
    files = {
        "openstack/latest/meta_data.json": document(guest, hostname="from-drive"),
        "openstack/latest/user_data": b"#!/bin/sh\necho drive > /root/source\n",
    }
    drive.write_bytes(iso_image(files, "config-2"))
    guest.drive = drive
    guest.start()
    guest.says("user-data ended with status 0")
    assert guest.run("hostname; cat /root/source") == "from-drive\ndrive\n"
    assert metadata.asked == []


def test_a_config_drive_may_be_vfat(guest: Guest, metadata: Metadata) -> None:
    """The guest makes the drive itself on its first boot, and is told another name by it on the second."""
    guest.drive = guest.room / "drive.vfat"
    guest.drive.write_bytes(bytes(8 << 20))
    serve(metadata, guest)
    guest.start()
    guest.says("holdfast-guest: ready")
    guest.run("mkdosfs -n CONFIG-2 /dev/vdb && mount -t vfat /dev/vdb /mnt && mkdir -p /mnt/openstack/latest")
    text = document(guest, hostname="from-vfat").decode()
    guest.run(f"cat > /mnt/openstack/latest/meta_data.json << 'END'\n{text}\nEND\numount /mnt")
    guest.power_button()

    guest.start()
    guest.says("metadata from the config drive")
    guest.says("holdfast-guest: ready")
    assert guest.run("hostname") == "from-vfat\n"


def test_without_metadata_the_guest_is_ready_and_keeps_asking(guest: Guest, metadata: Metadata) -> None:
    guest.start()
    guest.says("holdfast-guest: ready")
    assert "metadata: none" in guest.console()
    serve(metadata, guest)
    guest.says("metadata from the network")
    guest.says("holdfast-guest: sshd", times=2)
    assert guest.run("hostname") == "web-1.cloud\n"


def test_a_disk_of_another_instance_gives_up_its_keys(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest, b"#!/bin/sh\necho run >> /root/runs\n")
    guest.start()
    guest.says("user-data ended with status 0")
    key = guest.host_key()
    guest.run("echo ssh-ed25519 AAAAstranger >> .ssh/authorized_keys; sync")
    guest.power_button()

    serve(metadata, guest, b"#!/bin/sh\necho run >> /root/runs\n", instance_id=ID.replace("0f0e", "aaaa"))
    guest.start()
    guest.says("user-data ended with status 0")
    assert guest.host_key() != key
    (guest.room / "known").unlink()
    assert "stranger" not in guest.run("cat", ".ssh/authorized_keys")
    assert guest.run("cat", "/root/runs") == "run\nrun\n"


def test_user_data_of_four_hundred_lines_runs_to_its_end(guest: Guest, metadata: Metadata) -> None:
    lines = "".join(f"echo line {number} '$(reboot)' >> /root/lines\n" for number in range(398))
    serve(metadata, guest, f"#!/bin/sh\n{lines}exit 7\n".encode())
    guest.start()
    guest.says("user-data ended with status 7")
    assert guest.run("wc -l < /root/lines").strip() == "398"


HOSTILE = {
    "binary": bytes(range(256)) * 200,
    "no such interpreter": b"#!/no/such/thing\nrm -rf /\n",
    "cloud-config": b"#cloud-config\nruncmd: [reboot]\n",
    "forging": b"#!/bin/sh\nprintf 'x\\nholdfast-guest: forged\\n'\n",
    "endless": b"#!/bin/sh\nwhile :; do echo flood; usleep 50000; done\n",
    "killing": b"#!/bin/sh\nkill -9 -1\n",
}


@pytest.mark.parametrize("name", ["binary", "no such interpreter", "cloud-config", "forging", "endless"])
def test_hostile_user_data_costs_only_itself(name: str, guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest, HOSTILE[name])
    guest.start()
    guest.says("user-data")
    guest.says("holdfast-guest: ready")
    assert guest.run("hostname") == "web-1.cloud\n"
    assert "\nholdfast-guest: forged" not in guest.console()
    guest.power_button()


def test_the_power_button_works_after_everything_was_killed(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest, HOSTILE["killing"])
    guest.start()
    guest.says("login:", times=2)
    guest.power_button()


def test_user_data_that_reboots_does_so_once(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest, b"#!/bin/sh\nreboot\n")
    guest.start()
    guest.says("holdfast-guest: ready", times=2)
    assert guest.run("hostname") == "web-1.cloud\n"
    assert guest.console().count("holdfast-guest: kernel") == 2


def test_a_card_that_is_plugged_in_later_gets_its_lease(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest)
    guest.start()
    guest.says("holdfast-guest: ready")
    device = '{"driver": "virtio-net-pci", "netdev": "later", "bus": "free-slot", "id": "plugged"}'
    guest.monitor(f'{{"execute": "device_add", "arguments": {device}}}')
    guest.says("dhcp 10.0.2.15")
    assert "10.0.2.15" in guest.run("ip addr show dev eth1")
    assert "default via 169.254.169.2 dev eth0" in guest.run("ip route")


def test_ninety_six_mebibytes_are_enough(guest: Guest, metadata: Metadata) -> None:
    serve(metadata, guest)
    guest.memory_mib = 96
    guest.start()
    guest.says("holdfast-guest: ready")
    assert guest.run("hostname") == "web-1.cloud\n"
