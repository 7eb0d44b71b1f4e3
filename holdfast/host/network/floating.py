"""Whether a floating address carries traffic: each hop seen, none assumed.

The path is the external bridge, the router's outside leg, the translation, the port's tap. The first is
proved by an answer to ARP on the bridge from the leg's own MAC; the translation by the rules in force; the
tap by its being up. The guest itself is not asked: one that drops everything is as reachable as it wants.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Mapping

from holdfast.base.limits import PROBE_ANSWER_S
from holdfast.base.run import readable
from holdfast.host.network import namespace
from holdfast.host.network.plan.layout import FloatingPath

_ARP, _REQUEST, _REPLY = 0x0806, 1, 2
_BROADCAST = b"\xff" * 6


def announce(space: str, link: str, mac: str, addresses: Iterable[str]) -> None:
    """Tell the outside that these addresses are here now (gratuitous ARP), from inside the router."""
    frames = [_frame(_pack(mac), socket.inet_aton(a), socket.inet_aton(a), _REQUEST) for a in addresses]

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ARP)) as out:
            out.bind((link, 0))
            for frame in frames:
                out.send(frame)

    if frames:
        namespace.inside(space, send)


def unanswered(bridge: str, asker_mac: str, asker: str, owners: Mapping[str, str]) -> set[str]:
    """Ask for every address (to its MAC in `owners`) on a bridge of the host; return those without their answer."""
    waiting = dict(owners)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ARP)) as link:
        link.bind((bridge, 0))
        for address in owners:
            link.send(_frame(_pack(asker_mac), socket.inet_aton(asker), socket.inet_aton(address), _REQUEST))
        deadline = time.monotonic() + PROBE_ANSWER_S
        while waiting and (left := deadline - time.monotonic()) > 0:
            if readable(link.fileno(), left):
                frame = link.recv(128)
                if len(frame) >= 42 and struct.unpack("!H", frame[20:22])[0] == _REPLY:
                    sender, address = frame[22:28], socket.inet_ntoa(frame[28:32])
                    if address in waiting and sender == _pack(waiting[address]):
                        del waiting[address]
    return set(waiting)


def broken_hop(path: FloatingPath, silent: set[str], translated: bool) -> str:
    """Why the path does not carry traffic, or '' when every hop is seen."""
    if not translated:
        return "the router's translation is not in place"
    if path.address in silent:
        return "the address is not answered on the public network"
    if path.port is None:
        return "the fixed address is not on this host"
    port = path.port
    if not namespace.inside(port.space, lambda: namespace.is_up_here(port.tap)):
        return "the port is not plugged"
    return ""


def _frame(mac: bytes, own: bytes, asked: bytes, operation: int) -> bytes:
    ethernet = _BROADCAST + mac + struct.pack("!H", _ARP)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + own + bytes(6) + asked


def _pack(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
