"""Where a network's frames for other hosts go: written from the desired state, never learnt from a packet.

Three tables say it. The bridge sends a remote port's MAC to the vxlan link; the link sends it to the port's host;
and the bridge answers ARP for its address, so that a known address is asked about on no other host. What is asked
about an address that nobody planned (one that guests share by allowed pairs) goes to every host of the network.
Whatever else is in the tables is removed: a port that moved, or a host that went.
"""

from __future__ import annotations

import json

from holdfast.base.limits import NETWORK_COMMAND_S
from holdfast.base.run import CommandFailed, run
from holdfast.host.network import namespace
from holdfast.host.network.plan.layout import Tunnel

_EVERYBODY = "00:00:00:00:00:00"
Entries = set[tuple[str, ...]]  # words of `bridge fdb` or `ip neighbour`


def wanted(tunnel: Tunnel) -> tuple[Entries, Entries]:
    """The forwarding entries as (mac, dst or 'bridge'), and the neighbours as (address, mac)."""
    forwards: Entries = {(mac, "bridge") for mac, _, _ in tunnel.remote}
    forwards |= {(mac, end) for mac, _, end in tunnel.remote}
    forwards |= {(_EVERYBODY, end) for _, _, end in tunnel.remote}
    return forwards, {(address, mac) for mac, address, _ in tunnel.remote}


def found_here(tunnel: Tunnel) -> tuple[Entries, Entries]:
    """The same as the kernel has it, in the current namespace."""
    listed = json.loads(_run("bridge", "-j", "fdb", "show", "dev", tunnel.link) or b"[]")
    forwards: Entries = {(item["mac"], item["dst"]) for item in listed if "dst" in item}
    forwards |= {(i["mac"], "bridge") for i in listed if "master" in i and i.get("state") == "static"}
    return forwards, _neighbours(tunnel.bridge)


def _neighbours(bridge: str) -> Entries:
    listed = _run("ip", "-j", "-4", "neighbour", "show", "dev", bridge, "nud", "permanent")
    return {(item["dst"], item["lladdr"]) for item in json.loads(listed or b"[]")}


def make(space: str, tunnel: Tunnel) -> bool:
    """Make the tables so; returns whether anything was done."""
    return namespace.inside(space, lambda: _make_here(tunnel))


def differs(space: str, tunnel: Tunnel) -> bool:
    """Whether the tables are not as wanted; nothing is changed."""
    try:
        return namespace.inside(space, lambda: found_here(tunnel) != wanted(tunnel))
    except CommandFailed:
        return True  # the link is not there at all


def _make_here(tunnel: Tunnel) -> bool:
    (forwards, neighbours), (old_forwards, old_neighbours) = wanted(tunnel), found_here(tunnel)
    lines = [_forward("del", tunnel, *entry) for entry in sorted(old_forwards - forwards)]
    lines += [
        _forward("append" if to != "bridge" else "replace", tunnel, mac, to)
        for mac, to in sorted(forwards - old_forwards)
    ]
    if lines:
        _run("bridge", "-force", "-batch", "-", stdin="".join(f"{line}\n" for line in lines))
    gone = {address for address, _ in old_neighbours} - {address for address, _ in neighbours}
    words = [f"neighbour del {address} dev {tunnel.bridge}" for address in sorted(gone)]
    words += [
        f"neighbour replace {address} lladdr {mac} dev {tunnel.bridge} nud permanent"
        for address, mac in sorted(neighbours - old_neighbours)
    ]
    if words:
        _run("ip", "-force", "-batch", "-", stdin="".join(f"{line}\n" for line in words))
    return bool(lines or words)


def _forward(verb: str, tunnel: Tunnel, mac: str, to: str) -> str:
    if to == "bridge":
        return f"fdb {verb} {mac} dev {tunnel.link} master static"
    return f"fdb {verb} {mac} dev {tunnel.link} dst {to} self permanent"


def _run(*argv: str, stdin: str = "") -> bytes:
    return run(argv, timeout_s=NETWORK_COMMAND_S, stdin=stdin.encode())
