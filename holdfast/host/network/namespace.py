"""Acts inside a network namespace, without a process: a short-lived thread enters it, acts, and ends.

Only the thread changes its namespace, never the process, and the thread is never used again. What it opens
(a tap, a listening socket) stays in that namespace and is returned to the caller.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from holdfast.base.errors import Unavailable

RUN = Path("/run/netns")  # where iproute2 keeps named namespaces
T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFMTU, _SIOCBRADDIF, _SIOCGIFINDEX = 0x8913, 0x8914, 0x8922, 0x89A2, 0x8933
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_IFF_UP = 0x1
_EBUSY = 16
_NETLINK_NETFILTER, _NLM_F_REQUEST = 12, 1
_NFT_NEWGEN, _NFT_GETGEN = 0x0A0F, 0x0A10  # messages of subsystem 10, nftables; NFTA_GEN_ID is the first attribute
_libc = ctypes.CDLL(None, use_errno=True)


def inside(namespace: str, act: Callable[[], T]) -> T:
    """Run `act` in the namespace ('': the host's own) and return what it returns, or raise what it raises."""
    if not namespace:
        return act()
    answer: list[T] = []
    failure: list[BaseException] = []

    def enter_and_act() -> None:
        try:
            descriptor = os.open(RUN / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(descriptor)
            answer.append(act())
        except BaseException as err:  # handed to the caller whatever it is
            failure.append(err)

    thread = threading.Thread(target=enter_and_act, name=f"netns-{namespace}")
    thread.start()
    thread.join()
    if failure:
        if isinstance(failure[0], OSError):
            raise Unavailable(f"the network namespace {namespace} refused: {failure[0]}") from failure[0]
        raise failure[0]
    return answer[0]


def open_tap_here(name: str) -> int:
    """Make a tap in the current namespace and return its descriptor; it ends with its last descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def attach_here(name: str, bridge: str, mtu: int) -> None:
    """Put a link of the current namespace on its bridge and set it up; already so: nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        index = struct.unpack("16si20x", fcntl.ioctl(control, _SIOCGIFINDEX, _request(name)))[1]
        fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", name.encode(), mtu))
        try:
            fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))
        except OSError as err:
            if err.errno != _EBUSY:  # busy: it is on a bridge already
                raise
        flags = _flags(control, name)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))


def whole_checksums_here(name: str) -> None:
    """Have the kernel finish checksums on a link: a guest that reads raw frames takes unfinished ones for bad."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        order = array.array("I", [_ETHTOOL_STXCSUM, 0])
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), order.buffer_info()[0]))


def exists_here(name: str) -> bool:
    """Whether the current namespace has a link of that name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def is_up_here(name: str) -> bool:
    """Whether the link exists in the current namespace and is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        try:
            return bool(_flags(control, name) & _IFF_UP)
        except OSError:
            return False


def rules_generation_here() -> int:
    """The number of the last nftables transaction in the current namespace, whoever made it; 32 bits, from 1 on."""
    request = struct.pack("=IHHIIBBH", 20, _NFT_GETGEN, _NLM_F_REQUEST, 1, 0, 0, 0, 0)  # headers of netlink, nfnetlink
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as control:
        control.send(request)
        answer = control.recv(4096)
    kind, generation = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("!I", answer, 24)[0]
    if kind != _NFT_NEWGEN:
        raise OSError("the kernel does not tell the generation of its rules")
    return int(generation)


def sysctl_here(settings: Iterable[tuple[str, str]]) -> None:
    """Write settings below /proc/sys/net of the current namespace where they differ."""
    for path, value in settings:
        file = Path("/proc/sys/net") / path
        if file.read_text().strip() != value:
            file.write_text(value)


def _flags(control: socket.socket, name: str) -> int:
    return int(struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, _request(name)))[1])


def _request(name: str) -> bytes:
    return struct.pack("16s24x", name.encode())
