"""Connections that are already tracked, judged by the rules of today.

A rule that goes stops new connections by itself; the old ones live on in the connection table. So after
every narrowing each tracked flow of a network is judged as if it were new, and those that would be refused
are deleted. With `nf_conntrack_tcp_loose` off in that namespace a deleted TCP flow cannot be picked up again
in the middle. Router namespaces lose the flows of a floating address that went.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from holdfast.base.limits import FLOWS_CUT, NETWORK_COMMAND_S
from holdfast.base.run import CommandFailed, run
from holdfast.domain.security_group import ANY
from holdfast.host.network import namespace
from holdfast.host.network.plan.firewall import Guard
from holdfast.host.network.plan.rules import ICMP, ICMP6, PORTED, Match

_FIELD = re.compile(r"(src|dst|sport|dport|type|code|id)=(\S+)")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Flow:
    """A tracked connection in its first direction."""

    protocol: int
    source: Address
    target: Address
    fields: tuple[tuple[str, str], ...]  # sport and dport, or type, code and id

    @property
    def deletion(self) -> str:
        names = {
            "sport": "--sport",
            "dport": "--dport",
            "type": "--icmp-type",
            "code": "--icmp-code",
            "id": "--icmp-id",
        }
        if self.protocol == ICMP6:
            names |= {"type": "--icmpv6-type", "code": "--icmpv6-code", "id": "--icmpv6-id"}
        known = self.protocol in PORTED or self.protocol in (ICMP, ICMP6)
        ends = " ".join(f"{names[name]} {value}" for name, value in self.fields) if known else ""
        return f"-D -f ipv{self.source.version} -p {self.protocol} -s {self.source} -d {self.target} {ends}".rstrip()


def read_flows(text: str) -> list[Flow]:
    """The flows in the listing of `conntrack -L`; lines of another form are no flows."""
    flows = []
    for line in text.splitlines():
        words = line.split()
        first: dict[str, str] = {}
        for name, value in _FIELD.findall(line):
            if name in first:
                break  # the reply direction begins
            first[name] = value
        if len(words) > 2 and words[1].isdigit() and {"src", "dst"} <= first.keys():
            source, target = ipaddress.ip_address(first.pop("src")), ipaddress.ip_address(first.pop("dst"))
            flows.append(Flow(int(words[1]), source, target, tuple(first.items())))
    return flows


def is_allowed(flow: Flow, guards: Mapping[Address, Guard], members: Mapping[str, Iterable[str]]) -> bool:
    """What the forward chain would say to this flow's first packet."""
    for address, ingress in ((flow.source, False), (flow.target, True)):
        guard = guards.get(address)
        if guard is not None and not any(_fits(m, flow, members) for m in guard.matches if m.ingress == ingress):
            return False
    return True


def cut_refused(space: str, guards: Sequence[Guard], members: Mapping[str, Iterable[str]]) -> int:
    """Delete every tracked flow of a network that its rules would refuse now; returns how many."""
    owners: dict[Address, Guard] = {}
    for guard in guards:
        if guard.filtered:
            owners |= {net.network_address: guard for _, net in guard.sources if net.prefixlen == net.max_prefixlen}
    flows = []
    for family in ("ipv4", "ipv6"):
        listing = namespace.inside(space, partial(_conntrack, "-L", "-f", family))
        flows.extend(read_flows(listing.decode()))
    refused = [flow for flow in flows[:FLOWS_CUT] if not is_allowed(flow, owners, members)]
    if len(flows) > FLOWS_CUT:
        namespace.inside(space, lambda: _conntrack("-F"))
    elif refused:
        text = "".join(f"{flow.deletion}\n" for flow in refused).encode()
        namespace.inside(space, lambda: _conntrack("-R", "-", stdin=text))
    return len(refused)


def cut_address(space: str, addresses: Iterable[str]) -> None:
    """Delete every flow that was translated to or from a floating address that went."""
    text = "".join(f"-D -d {address}\n-D -q {address}\n" for address in sorted(addresses)).encode()
    if text:
        namespace.inside(space, lambda: _conntrack("-R", "-", stdin=text))


def _fits(match: Match, flow: Flow, members: Mapping[str, Iterable[str]]) -> bool:
    remote = flow.source if match.ingress else flow.target
    if match.version != remote.version or match.protocol not in (ANY, flow.protocol):
        return False
    if match.network is not None and remote not in match.network:
        return False
    if match.group and str(remote) not in members.get(match.group, ()):
        return False
    fields = dict(flow.fields)
    if match.protocol in PORTED and match.low != ANY:
        return match.low <= int(fields.get("dport", -1)) <= match.high
    if match.protocol in (ICMP, ICMP6):
        return match.low in (ANY, int(fields.get("type", -1))) and match.high in (ANY, int(fields.get("code", -1)))
    return True


def _conntrack(*words: str, stdin: bytes = b"") -> bytes:
    try:
        return run(["conntrack", *words], timeout_s=NETWORK_COMMAND_S, stdin=stdin)
    except CommandFailed as err:
        if err.status == 1:  # nothing there to delete
            return b""
        raise
