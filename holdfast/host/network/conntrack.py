"""The connection table of a namespace: its flows are listed by a command, and deleted one by one over netlink.

The command deletes by reading the whole table for each flow; the kernel itself finds a flow by its tuple.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from holdfast.base.limits import FLOWS_BATCH, NETWORK_COMMAND_S
from holdfast.base.run import CommandFailed, run
from holdfast.host.network import namespace

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NETLINK_NETFILTER, _NLM_F_REQUEST, _NLM_F_ACK, _NLMSG_ERROR = 12, 1, 4, 2
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_CT_DELETE = 0x0102  # message 2 of subsystem 1, connection tracking
_NESTED, _TUPLE_ORIG, _TUPLE_IP, _TUPLE_PROTO, _PROTO_NUM = 0x8000, 1, 1, 2, 1
_ENDS = {4: (1, 2), 6: (3, 4)}  # attributes of source and target by IP version
_NUMBERS = {  # attributes of what tells flows between the same ends apart, and their forms
    "sport": (2, "!H"),
    "dport": (3, "!H"),
    "id": (4, "!H"),
    "type": (5, "B"),
    "code": (6, "B"),
}
_ICMP6, _ICMP6_STEP = 58, 3  # its three are numbered behind those of ICMP


@dataclass(frozen=True, slots=True)
class Flow:
    """A tracked connection in its first direction."""

    protocol: int
    source: Address
    target: Address
    fields: tuple[tuple[str, str], ...]  # sport and dport, or type, code and id

    @property
    def turned(self) -> Flow:
        """A TCP flow as its other end would have begun it."""
        ports = dict(self.fields)
        fields = (("sport", ports.get("dport", "0")), ("dport", ports.get("sport", "0")))
        return Flow(self.protocol, self.target, self.source, fields)

    @property
    def deletion(self) -> bytes:
        """The netlink message that deletes it."""
        source, target = _ENDS[self.source.version]
        ends = _attribute(source, self.source.packed) + _attribute(target, self.target.packed)
        apart = _attribute(_PROTO_NUM, bytes([self.protocol]))
        for name, value in self.fields:
            number, form = _NUMBERS[name]
            if self.protocol == _ICMP6 and name in ("id", "type", "code"):
                number += _ICMP6_STEP
            apart += _attribute(number, struct.pack(form, int(value)))
        whole = _attribute(_TUPLE_IP | _NESTED, ends) + _attribute(_TUPLE_PROTO | _NESTED, apart)
        family = socket.AF_INET if self.source.version == 4 else socket.AF_INET6
        body = struct.pack("!BBH", family, 0, 0) + _attribute(_TUPLE_ORIG | _NESTED, whole)
        return struct.pack("=IHHII", 16 + len(body), _CT_DELETE, _NLM_F_REQUEST | _NLM_F_ACK, 0, 0) + body


def flows_of(space: str, among: Collection[str] | None = None) -> Iterator[Flow]:
    """The flows of a namespace; with `among` those with an end at one of these addresses, as inet_ntop writes them."""
    if namespace.inside(space, _count_here):
        yield from read_flows(_conntrack(space, "-L").decode(), among)


def read_flows(listing: str, among: Collection[str] | None = None) -> Iterator[Flow]:
    """The flows in what `conntrack -L` prints; lines of another form are no flows."""
    for line in listing.splitlines():
        words = line.split()
        first: dict[str, str] = {}
        for word in words[3:]:
            name, equals, value = word.partition("=")
            if name in first:
                break  # the reply direction begins
            if equals and name in ("src", "dst", *_NUMBERS):
                first[name] = value
        if len(words) < 3 or not words[1].isdigit() or not {"src", "dst"} <= first.keys():
            continue
        source, target = first.pop("src"), first.pop("dst")
        if among is None or source in among or target in among:
            yield Flow(int(words[1]), _address(source), _address(target), tuple(first.items()))


def delete_flows(space: str, flows: Sequence[Flow]) -> None:
    """Delete these flows; one that ended by itself meanwhile is no failure."""
    for start in range(0, len(flows), FLOWS_BATCH):
        batch = flows[start : start + FLOWS_BATCH]
        namespace.inside(space, lambda batch=batch: _delete_here(batch))  # type: ignore[misc]


def delete_address(space: str, addresses: Collection[str]) -> None:
    """Delete every flow that was translated to or from one of these addresses."""
    text = "".join(f"-D -d {address}\n-D -q {address}\n" for address in sorted(addresses)).encode()
    if text:
        _conntrack(space, "-R", "-", stdin=text)


def _delete_here(flows: Sequence[Flow]) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as control:
        control.settimeout(NETWORK_COMMAND_S)
        control.send(b"".join(flow.deletion for flow in flows))
        left = len(flows)
        while left:
            data = control.recv(65_536)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                failed = -struct.unpack_from("=i", data, 16)[0] if kind == _NLMSG_ERROR else 0
                if failed not in (0, errno.ENOENT):
                    raise OSError(failed, "a tracked connection could not be deleted")
                left, data = left - 1, data[(length + 3) & ~3 :]


@lru_cache(maxsize=4096)  # the same few ends come again and again
def _address(text: str) -> Address:
    return ipaddress.ip_address(text)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _count_here() -> int:
    """How many flows the current namespace has: listing them walks the whole kernel's table."""
    return int(_COUNT.read_text())


def _conntrack(space: str, *words: str, stdin: bytes = b"") -> bytes:
    try:
        return namespace.inside(space, lambda: run(["conntrack", *words], timeout_s=NETWORK_COMMAND_S, stdin=stdin))
    except CommandFailed as err:
        if err.status == 1:  # nothing there to delete
            return b""
        raise
