"""Connections that are already tracked, judged by the rules of today.

A rule that goes stops new connections by itself; the old ones live on in the connection table. So each tracked
flow of a port that may do less than before is judged as if it were new, and those that would be refused are
deleted, as are all of a port that went: its address may be another's soon. No TCP flow begins in its middle, so that
a deleted one stays deleted. Whoever does not know what was judged before judges all.

A guest that comes from another host alive brings connections that nobody here has seen begin: for ARRIVED_S those
of its MAC are taken up in their middle, where its rules would let them begin. Its MAC is taken out of that set in the
transaction that narrows its rules, or what was cut would be taken up again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from holdfast.domain.security_group import ANY
from holdfast.host.network.conntrack import Address, Flow, delete_flows, flows_of
from holdfast.host.network.plan.firewall import Guard
from holdfast.host.network.plan.layout import Space
from holdfast.host.network.plan.names import digest
from holdfast.host.network.plan.rules import ICMP, ICMP6, PORTED, TCP, Match


@dataclass(frozen=True)
class Rules:
    """What decides over the flows of one network: its ports, the addresses of every security group, and the MACs of
    ports on other hosts: these went nowhere."""

    guards: Sequence[Guard]
    members: Mapping[str, Iterable[str]]
    elsewhere: frozenset[str] = frozenset()

    @cached_property
    def digest(self) -> str:
        """The same for rules that let the same through."""
        named = {match.group for guard in self.guards for match in guard.matches if match.group}
        members = [(group, sorted(self.members.get(group, ()))) for group in sorted(named)]
        return digest(repr((self.guards, members)))

    @cached_property
    def owners(self) -> dict[Address, Guard]:
        """The port of each address."""
        return {
            net.network_address: guard
            for guard in self.guards
            for _, net in guard.sources
            if net.prefixlen == net.max_prefixlen
        }


class Judged:
    """By which rules the flows of each namespace were judged last, for the next process: in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._digests = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            self._digests = {}  # then all are judged

    def is_by(self, space: str, rules: Rules) -> bool:
        """Whether nothing is to be judged again."""
        return self._digests.get(space) == rules.digest

    def now_by(self, spaces: Mapping[str, Rules]) -> None:
        """Keep it; not before the flows were judged."""
        digests = {space: rules.digest for space, rules in spaces.items()}
        if digests != self._digests:
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(digests))
            os.replace(fresh, self._file)
            self._digests = digests


def rules_of(space: Space, members: Mapping[str, Iterable[str]]) -> Rules:
    """What decides over the flows of a network as it is planned."""
    return Rules(
        space.guards, members, frozenset(mac for mac, _, _ in space.tunnel.remote) if space.tunnel else frozenset()
    )


def closed(before: Rules, now: Rules) -> set[str]:
    """The MACs of ports that may do less than before."""
    return {now.owners[address].mac for address in narrowed(before, now) if address in now.owners}


def cut_refused(space: str, rules: Rules, before: Rules | None) -> int:
    """Delete every tracked flow of a network that was let through `before` (None: not known) and is refused now.

    Returns how many.
    """
    concerned = None if before is None else narrowed(before, rules)
    if concerned is not None and not concerned:
        return 0
    gone = concerned - rules.owners.keys() if concerned is not None else set()
    among = None if concerned is None else {_as_listed(address) for address in concerned}
    refused = [
        flow
        for flow in flows_of(space, among)
        if flow.source in gone or flow.target in gone or not _may_stay(flow, rules, before)
    ]
    delete_flows(space, refused)
    return len(refused)


def narrowed(before: Rules, now: Rules) -> set[Address]:
    """The addresses whose ports may do less than before, or are nowhere any more."""
    shrunk = {group for group, here in before.members.items() if not set(here) <= set(now.members.get(group, ()))}
    if before.guards == now.guards and not shrunk:
        return set()
    return {
        address
        for address, guard in before.owners.items()
        if guard.mac not in now.elsewhere and _may_less(guard, now.owners.get(address), shrunk)
    }


def is_allowed(flow: Flow, rules: Rules) -> bool:
    """What the forward chain would say to this flow's first packet."""
    for address, ingress in ((flow.source, False), (flow.target, True)):
        guard = rules.owners.get(address)
        if guard is None or not guard.filtered:
            continue
        if not any(_fits(match, flow, rules.members) for match in guard.matches if match.ingress == ingress):
            return False
    return True


def _as_listed(address: Address) -> str:
    return socket.inet_ntop(socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed)


def _may_stay(flow: Flow, rules: Rules, before: Rules | None) -> bool:
    """Whether it could begin today, and does not live by a rule that went.

    Of one that was taken up in its middle nobody knows which end began it: the other direction counts as well.
    """
    if not is_allowed(flow, rules):
        return False
    if before is None or flow.protocol != TCP:
        return True
    return is_allowed(flow.turned, rules) or not is_allowed(flow.turned, before)


def _may_less(before: Guard, now: Guard | None, shrunk: set[str]) -> bool:
    if now is None:
        return True
    if not now.filtered:
        return False
    if not before.filtered or not set(before.matches) <= set(now.matches):
        return True
    return any(match.group in shrunk for match in now.matches)


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
