"""What a guest is told about itself, in both dialects, as a tree of paths to bytes. Pure.

`openstack_files` is also what a config drive holds. Shapes are those that cloud-init reads: an `openstack`
tree with dated versions, and an EC2 tree in which a directory is a list of names.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Iterable, Sequence

import msgspec

from holdfast.domain.desired import DesiredHost, Metadata, Port, Subnet

OPENSTACK_VERSIONS = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27",
    "2020-10-14", "latest",
)  # fmt: skip
EC2_VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "latest",
)  # fmt: skip
Tree = dict[str, bytes]


class Plugged(msgspec.Struct, frozen=True):
    """A port of the instance and what it has to know of the network it is in."""

    port: Port
    network_id: str
    mtu: int
    subnets: tuple[Subnet, ...]


def plugged_of(desired: DesiredHost) -> dict[str, tuple[Plugged, ...]]:
    """The ports of every instance of a host, in the order of its cards."""
    found: dict[str, list[Plugged]] = {}
    for network in desired.networks:
        for port in network.ports:
            found.setdefault(port.instance_id, []).append(Plugged(port, network.id, network.mtu, network.subnets))
    order = {card.port.id: index for machine in desired.machines for index, card in enumerate(machine.interfaces)}
    return {
        instance: tuple(sorted(ports, key=lambda item: order.get(item.port.id, len(order))))
        for instance, ports in found.items()
    }


def user_data(metadata: Metadata) -> bytes:
    """The owner's user data, decoded; text that is not base64 is none."""
    try:
        return base64.b64decode(metadata.user_data, validate=True)
    except binascii.Error:
        return b""


def openstack_files(metadata: Metadata, plugged: Sequence[Plugged]) -> Tree:
    """The files of one version directory of the OpenStack tree."""
    meta: dict[str, object] = {
        "uuid": metadata.instance_id,
        "name": metadata.name,
        "hostname": metadata.hostname,
        "project_id": metadata.project_id,
        "availability_zone": metadata.availability_zone,
        "launch_index": 0,
        "meta": dict(metadata.properties),
        "public_keys": dict(metadata.keys),
        "keys": [{"name": name, "type": "ssh", "data": key} for name, key in metadata.keys],
        "devices": [],
        "dedicated_cpus": [],
    }
    files = {
        "meta_data.json": _json(meta),
        "network_data.json": _json(network_data(plugged)),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b"{}",
        "password": b"",
    }
    if data := user_data(metadata):
        files["user_data"] = data
    return files


def network_data(plugged: Sequence[Plugged]) -> dict[str, object]:
    """Links, networks and services as Nova writes them."""
    links: list[dict[str, object]] = []
    networks: list[dict[str, object]] = []
    servers: list[str] = []
    for number, item in enumerate(plugged):
        port, subnets = item.port, {subnet.id: subnet for subnet in item.subnets}
        tap = f"tap{port.id[:11]}"
        links.append(
            {
                "id": tap,
                "vif_id": port.id,
                "type": "bridge",
                "mtu": item.mtu,
                "ethernet_mac_address": port.mac,
            }
        )
        for index, place in enumerate(port.addresses):
            subnet = subnets.get(place.subnet_id)
            if subnet is None:
                continue
            version = 6 if ":" in place.address else 4
            head: dict[str, object] = {"id": f"network{number}{'' if index == 0 else f'-{index}'}", "link": tap}
            head["network_id"] = item.network_id
            if version == 4 and subnet.dhcp:
                networks.append({**head, "type": "ipv4_dhcp"})
                continue
            networks.append({**head, **_static(version, place.address, subnet.cidr, subnet.gateway, subnet.routes)})
            servers.extend(subnet.nameservers)
    services = [{"type": "dns", "address": server} for server in dict.fromkeys(servers)]
    return {"links": links, "networks": networks, "services": services}


def tree(metadata: Metadata, plugged: Sequence[Plugged]) -> Tree:
    """Every path that answers for this instance, without its last slash; a directory's bytes are its listing."""
    paths: Tree = {"": _listing(EC2_VERSIONS), "/openstack": _listing(OPENSTACK_VERSIONS)}
    files = openstack_files(metadata, plugged)
    for version in OPENSTACK_VERSIONS:
        paths[f"/openstack/{version}"] = _listing(files)
        paths |= {f"/openstack/{version}/{name}": data for name, data in files.items()}
    ec2: dict[str, object] = {"meta-data": _ec2(metadata, plugged)}
    if data := user_data(metadata):
        ec2["user-data"] = data
    for version in EC2_VERSIONS:
        _flatten(f"/{version}", ec2, paths)
    return paths


def _ec2(metadata: Metadata, plugged: Sequence[Plugged]) -> dict[str, object]:
    places = [place for item in plugged for place in item.port.addresses if ":" not in place.address]
    local = places[0].address if places else ""
    public = next((place.floating for place in places if place.floating), "")
    meta: dict[str, object] = {
        "ami-id": metadata.ec2_image_id,
        "ami-launch-index": "0",
        "ami-manifest-path": "none",
        "block-device-mapping": {"ami": "vda", "root": "/dev/vda"},
        "hostname": metadata.hostname,
        "instance-action": "none",
        "instance-id": metadata.ec2_instance_id,
        "instance-type": metadata.instance_type,
        "local-hostname": metadata.hostname,
        "local-ipv4": local,
        "placement": {"availability-zone": metadata.availability_zone},
        "public-hostname": metadata.hostname,
        "public-ipv4": public,
        "reservation-id": f"r-{metadata.ec2_instance_id.removeprefix('i-')}",
        "security-groups": "\n".join(metadata.security_groups),
    }
    if plugged:
        meta["mac"] = plugged[0].port.mac
    if metadata.keys:
        meta["public-keys"] = {
            f"{index}={name}": {"openssh-key": key} for index, (name, key) in enumerate(metadata.keys)
        }
    return meta


def _flatten(path: str, node: object, paths: Tree) -> None:
    """Write a nested directory into `paths`. An entry `0=name` is listed so and found as `0`."""
    if not isinstance(node, dict):
        paths[path] = node if isinstance(node, bytes) else str(node).encode()
        return
    paths[path] = _listing(
        name if not isinstance(child, dict) or "=" in name else f"{name}/" for name, child in node.items()
    )
    for name, child in node.items():
        _flatten(f"{path}/{name.partition('=')[0]}", child, paths)


def _static(
    version: int, address: str, cidr: str, gateway: str, routes: Sequence[tuple[str, str]]
) -> dict[str, object]:
    """An address that the guest must set itself."""
    net = ipaddress.ip_network(cidr, strict=False)
    listed = [(ipaddress.ip_network(to, strict=False), hop) for to, hop in routes]
    if gateway:
        listed.append((ipaddress.ip_network("::/0" if version == 6 else "0.0.0.0/0"), gateway))
    return {
        "type": f"ipv{version}",
        "ip_address": address,
        "netmask": str(net.netmask),
        "routes": [
            {"network": str(to.network_address), "netmask": str(to.netmask), "gateway": hop} for to, hop in listed
        ],
    }


def _listing(names: Iterable[str]) -> bytes:
    return "\n".join(names).encode()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
