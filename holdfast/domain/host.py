"""A host: a machine that can run instances, as its agent last described it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import HOST_DOWN_S, HOSTS_LOST_MAX
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


class Allocation(msgspec.Struct, frozen=True):
    """What one instance holds of one host."""

    instance_id: str
    host_id: str
    vcpus: int
    memory_mib: int
    disk_gib: int


def veiled_host(project_id: str, host_name: str) -> str:
    """What a project may know of a host: the same for its servers on one host, and nothing else. Empty: no host."""
    return hashlib.sha224(f"{project_id}{host_name}".encode()).hexdigest() if host_name else ""
