"""A host: a machine that can run instances, as its agent last described it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import HOST_BUILDS_FAILED, HOST_DOWN_S, HOSTS_LOST_MAX
from holdfast.domain.desired import MoveEnd
from holdfast.domain.observed import Capabilities


class Host(msgspec.Struct, frozen=True):
    """One row. Its agent is the only writer of `capabilities`, `reported_us`, `problems` and `images`."""

    id: str
    name: str
    zone: str
    enabled: bool
    disabled_reason: str
    capabilities: Capabilities | None  # None: joined, never reported
    problems: list[str]
    unknown: list[str]
    images: list[str]
    desired_version: int
    disk_free_gib: int
    disk_store: str  # of the disks of its instances: hosts with the same one open the same disks; empty: unknown
    reported_us: int
    created_us: int

    def is_up(self, now_us: int) -> bool:
        """Whether it reported lately."""
        return self.reported_lately(self.reported_us, now_us)

    def is_lost(self, now_us: int) -> bool:
        """Whether it reported once, and does not any more."""
        return bool(self.reported_us) and not self.is_up(now_us)

    @staticmethod
    def reported_lately(reported_us: int, now_us: int) -> bool:
        """Whether a report at this instant is recent enough to trust the host with work."""
        return reported_us > now_us - HOST_DOWN_S * SECOND_US


def lost_too_many(hosts: Sequence[Host], now_us: int) -> bool:
    """Whether so many hosts are lost at once that the fault is more likely ours than theirs."""
    seen = [host for host in hosts if host.reported_us]
    return sum(host.is_lost(now_us) for host in seen) > HOSTS_LOST_MAX * len(seen)


class BuildFailures(msgspec.Struct, frozen=True):
    """Of one host: servers that it failed to build in a row, and that another host then built. None: no row."""

    host_id: str
    count: int
    reason: str  # of the last one
    until_us: int  # before that it is shunned, if they are many; then one build is tried there

    @property
    def are_many(self) -> bool:
        """Whether the fault is the host's, for all that is known."""
        return self.count >= HOST_BUILDS_FAILED

    def shun(self, now_us: int) -> bool:
        """Whether the host is to be chosen after all others."""
        return self.are_many and now_us < self.until_us

    def words(self) -> str:
        """Why it is shunned, for whoever asks: not the reason, which speaks of somebody's server."""
        return f"it failed to build {self.count} servers in a row, which other hosts built"


class Allocation(msgspec.Struct, frozen=True):
    """What one instance holds of one host."""

    instance_id: str
    host_id: str
    vcpus: int
    memory_mib: int
    disk_gib: int


class PassageKind(StrEnum):
    """How an instance gets from one host to another."""

    LIVE = "live"  # it runs on: its memory, and its disk where they do not share it, are copied
    COLD = "cold"  # it is ended on one host and started from the same disk on the other
    RETURN = "return"  # it went; room is kept where it came from until its owner confirms


class Passage(msgspec.Struct, frozen=True):
    """The way of an instance to a host that is not its owner yet; room for it is held there.

    `source_state` and `target_state` are what the two ends said last of this try (MoveState), or `LEFT`.
    """

    instance_id: str
    id: str  # of this try
    kind: PassageKind
    source_id: str  # its owner
    target_id: str
    copy: str  # of its disk: none, top
    key: str  # of a live one, for this try alone
    generation: int  # of the record that begins it: an end that confirms an older one says nothing
    revision: int
    vcpus: int
    memory_mib: int
    disk_gib: int
    target_end: MoveEnd | None = None  # where it listens
    source_state: str = ""
    target_state: str = ""
    reason: str = ""
    remaining_bytes: int = 0
    total_bytes: int = 0
    created_us: int = 0
    updated_us: int = 0  # of the last word that was news

    def __repr__(self) -> str:
        """Without the key."""
        return f"Passage({self.id}, {self.kind.value}, {self.source_state or '-'} to {self.target_state or '-'})"


LEFT = "left"  # of a cold passage: the source confirmed that nothing runs there any more


def veiled_host(project_id: str, host_name: str) -> str:
    """What a project may know of a host: the same for its servers on one host, and nothing else. Empty: no host."""
    return hashlib.sha224(f"{project_id}{host_name}".encode()).hexdigest() if host_name else ""
