"""The config drive: an image that the kernel's and other people's readers know, with the same documents."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from holdfast.domain.desired import PortAddress
from holdfast.host.network.metadata.config_drive import SECTOR, iso_image, write_config_drive
from holdfast.host.network.metadata.documents import network_data, plugged_of
from tests.host.network_world import changed, host, ident, machine, network, port, sh, subnet

A = port("a", 1, "10.0.0.11")


def read_joliet(image: bytes) -> dict[str, bytes]:
    """The files of the Joliet tree, by a reader that knows the standard and not our writer."""
    found: dict[str, bytes] = {}

    def walk(sector: int, size: int, path: str) -> None:
        data, place = image[sector * SECTOR : sector * SECTOR + size], 0
        while place < size:
            length = data[place]
            if length == 0:
                place = (place // SECTOR + 1) * SECTOR
                continue
            record = data[place : place + length]
            where, count = struct.unpack_from("<I", record, 2)[0], struct.unpack_from("<I", record, 10)[0]
            assert struct.unpack_from(">II", record[6:10] + record[14:18]) == (where, count)
            name = record[33 : 33 + record[32]]
            if name not in (b"\0", b"\1"):
                text = path + name.decode("utf-16-be").removesuffix(";1")
                if record[25] & 2:
                    walk(where, count, text + "/")
                else:
                    found[text] = image[where * SECTOR : where * SECTOR + count]
            place += length

    volume = image[17 * SECTOR : 18 * SECTOR]
    assert volume[:6] == b"\x02CD001" and volume[88:91] == b"%/E"
    walk(struct.unpack_from("<I", volume, 158)[0], struct.unpack_from("<I", volume, 166)[0], "")
    return found


def test_the_image_is_known_by_its_label_and_holds_the_documents(tmp_path: Path) -> None:
    metadata = machine("a").metadata
    ports = plugged_of(changed_host())[A.instance_id]
    drive = tmp_path / "config"
    write_config_drive(drive, metadata, ports)
    assert drive.stat().st_mode & 0o077 == 0
    known = sh("blkid", "-p", str(drive))
    assert 'LABEL="config-2"' in known and 'TYPE="iso9660"' in known
    files = read_joliet(drive.read_bytes())
    assert files["openstack/latest/user_data"] == b"#!/bin/sh\n"
    assert json.loads(files["openstack/latest/meta_data.json"])["uuid"] == A.instance_id
    assert set(files) == {
        f"openstack/latest/{name}"
        for name in ("meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json")
    } | {"openstack/latest/password"}


def test_any_sizes_and_many_names_come_back_as_they_went_in() -> None:
    files = {f"top/{n % 7}/a_rather_long_name_{n}.json": bytes([n % 256]) * (n * 173 % 5000) for n in range(200)}
    image = iso_image(files, "x")
    assert read_joliet(image) == files
    assert len(image) == struct.unpack_from("<I", image, 16 * SECTOR + 80)[0] * SECTOR
    assert iso_image(files, "x") == image


def changed_host() -> object:
    return host(network("one", A), machines=(machine("a"),))


def test_an_address_without_dhcp_is_told_in_full() -> None:
    still = subnet(dhcp=False, nameservers=("192.0.2.53",), routes=(("10.9.0.0/16", "10.0.0.9"),))
    six = subnet("10.9.9.0/24", id=ident("six"))
    six = changed(six, cidr="fd00::/64", gateway="fd00::1")
    both = changed(A, addresses=(*A.addresses, PortAddress("fd00::11", ident("six"), "")))
    data = network_data(plugged_of(host(network("one", both, subnets=(still, six))))[A.instance_id])
    first, second = data["networks"]
    assert (first["type"], first["ip_address"], first["netmask"]) == ("ipv4", "10.0.0.11", "255.255.255.0")
    assert first["routes"][-1] == {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}
    assert (second["type"], second["routes"][-1]["gateway"]) == ("ipv6", "fd00::1")
    assert data["services"] == [{"type": "dns", "address": "192.0.2.53"}]
