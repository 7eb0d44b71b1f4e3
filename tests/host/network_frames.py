"""Frames as bytes, and sockets inside guests: what a hostile guest sends and what its neighbour hears."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time

from holdfast.host.network import namespace
from tests.host.network_world import Guest

ALL = 0x0003
OUTGOING = 4


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(source: str, target: str, kind: int, body: bytes) -> bytes:
    return (packed(target) + packed(source) + struct.pack("!H", kind) + body).ljust(60, b"\0")


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, target: str, protocol: int, body: bytes, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(sport: int, dport: int, body: bytes) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def ipv6(source: str, target: str, protocol: int, body: bytes) -> bytes:
    ends = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 255) + ends + body


def icmp6(source: str, target: str, kind: int, body: bytes) -> bytes:
    ends = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    message = struct.pack("!BBH", kind, 0, 0) + body
    total = checksum(ends + struct.pack("!II", len(message), 58) + message)
    return message[:2] + struct.pack("!H", total) + message[4:]


def udp6(source: str, target: str, sport: int, dport: int, body: bytes) -> bytes:
    ends = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    message = udp(sport, dport, body)
    total = checksum(ends + struct.pack("!II", len(message), 17) + message)
    return message[:6] + struct.pack("!H", total) + message[8:]


def arp(operation: int, sender_mac: str, sender: str, target_mac: str, target: str) -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + packed(sender_mac) + socket.inet_aton(sender) + packed(target_mac) + socket.inet_aton(target)


def wire(guest: Guest) -> socket.socket:
    """A raw socket on the guest's card."""

    def make() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        raw.bind(("eth0", ALL))
        raw.settimeout(5)
        return raw

    return namespace.inside(guest.name, make)


def heard(listener: socket.socket, last: bytes, timeout_s: float = 5) -> list[bytes]:
    """Every frame that came in until one that holds `last`, that one included."""
    frames: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        frame, address = listener.recvfrom(65_535)
        if address[2] != OUTGOING:
            frames.append(frame)
            if last in frame:
                return frames
    raise AssertionError("the last frame never came")


def listen(guest: Guest, port: int) -> socket.socket:
    def make() -> socket.socket:
        server = socket.create_server(("0.0.0.0", port))
        server.settimeout(3)
        return server

    return namespace.inside(guest.name, make)


def connect(guest: Guest, address: str, port: int, timeout_s: float = 5) -> socket.socket:
    """A connection from inside a guest; raises OSError when it is not made in time."""

    def make() -> socket.socket:
        client = socket.socket()
        client.settimeout(timeout_s)
        return client

    client = namespace.inside(guest.name, make)
    try:
        client.connect((address, port))
    except OSError:
        client.close()
        raise
    client.settimeout(3)
    return client
