"""An instance: what its owner asked for, who holds it, and which acts are legal when.

    building --ready--> ready --delete--> deleting --deleted--> deleted
       |                 ^ |                 ^
       '--fail--> failed-' '-----fail---> failed --delete--'

`state` says whether the instance exists as asked; `power` says what was asked of it. What it is seen to do
is the host's report and has its own row (domain/observed): every row has one writer. OpenStack's words
(status, vm_state, task_state, power_state) are computed in api/compute/views and never stored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Bug, Conflict
from holdfast.domain.desired import Power


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    BUILDING = "building"  # accepted; not yet seen running
    READY = "ready"  # was seen as asked; its power may be any
    FAILED = "failed"  # an act ended with a fault; it can be deleted, rebuilt or started again
    DELETING = "deleting"  # leaves its host; nothing brings it back
    DELETED = "deleted"  # gone from its host; the row stays readable for a while


TABLE: Final = {
    (InstanceState.BUILDING, "ready"): InstanceState.READY,
    (InstanceState.BUILDING, "fail"): InstanceState.FAILED,
    (InstanceState.BUILDING, "delete"): InstanceState.DELETING,
    (InstanceState.READY, "ready"): InstanceState.READY,
    (InstanceState.READY, "fail"): InstanceState.FAILED,
    (InstanceState.READY, "delete"): InstanceState.DELETING,
    (InstanceState.FAILED, "ready"): InstanceState.READY,
    (InstanceState.FAILED, "fail"): InstanceState.FAILED,
    (InstanceState.FAILED, "delete"): InstanceState.DELETING,
    (InstanceState.DELETING, "delete"): InstanceState.DELETING,
    (InstanceState.DELETING, "deleted"): InstanceState.DELETED,
}
"""Legal moves; nobody assigns a state, `move` does."""


def move(state: InstanceState, event: str) -> InstanceState:
    """Return the state after the event; an illegal move is our own mistake."""
    try:
        return TABLE[(state, event)]
    except KeyError:
        raise Bug(f"an instance in state {state} cannot {event}") from None


class Flavor(msgspec.Struct, frozen=True):
    """A size. An instance keeps its own copy: a flavor that is deleted later changes nothing."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int  # 0: as large as the image
    ephemeral_gib: int = 0
    swap_mib: int = 0
    is_public: bool = True
    extra_specs: dict[str, str] = {}
    description: str = ""
    disabled: bool = False
    created_us: int = 0


class Fault(msgspec.Struct, frozen=True):
    """Why an instance failed, for its owner."""

    code: int
    message: str
    at_us: int


class Instance(msgspec.Struct, frozen=True):
    """One row."""

    id: str
    project_id: str
    user_id: str
    name: str
    description: str
    hostname: str
    state: InstanceState
    power: Power
    present: bool  # False: its host must remove it
    host_id: str  # the one owner; empty: on no host
    last_host_id: str  # where it was last, for people; kept after it left
    generation: int
    revision: int
    boot: int
    soft: bool
    disk: int
    disk_made: int  # the number of the root disk that is known to exist; a host never makes that one anew
    flavor: Flavor
    old_flavor: Flavor | None  # until a resize is confirmed: what a revert returns to
    image_id: str
    image: dict[str, Any]  # the sources of its disk, kernel and ramdisk as they were resolved
    key_name: str
    key_public: str
    user_data: str
    config_drive: bool
    zone: str
    zone_asked: str
    access_ipv4: str  # the address that its owner says it is reached at; only shown
    access_ipv6: str
    properties: dict[str, str]
    tags: list[str]
    security_groups: list[str]  # names asked for, for ports made later
    group_id: str  # server group
    locked: str  # empty, or why
    is_locked: bool
    reservation_id: str
    launch_index: int
    capture_image_id: str  # an image that its host must fill from its disk; empty: none
    launched_us: int  # 0: never ran
    terminated_us: int
    fault: Fault | None
    created_us: int
    updated_us: int


_NEW: Final = {
    "state": InstanceState.BUILDING,
    "power": Power.RUNNING,
    "present": False,
    "host_id": "",
    "last_host_id": "",
    "access_ipv4": "",
    "access_ipv6": "",
    "generation": 1,
    "boot": 1,
    "soft": False,
    "disk": 1,
    "disk_made": 0,
    "old_flavor": None,
    "image_id": "",
    "image": {},
    "zone": "",
    "locked": "",
    "is_locked": False,
    "capture_image_id": "",
    "launched_us": 0,
    "terminated_us": 0,
    "fault": None,
}


def instance_new(now_us: int, **words: Any) -> Instance:
    """Return an instance as it is when it was just asked for; `words` are all the fields that a caller decides."""
    return Instance(**{**_NEW, "created_us": now_us, "updated_us": now_us, **words})


class InstanceRun(msgspec.Struct, frozen=True):
    """What of an instance's row usage is counted from: its launch until its end, whatever its power was."""

    id: str
    project_id: str
    name: str
    flavor: Flavor
    state: InstanceState
    power: Power
    launched_us: int
    terminated_us: int  # 0: still there

    def hours_within(self, start_us: int, end_us: int) -> float:
        """Hours of it between two instants."""
        stop_us = min(end_us, self.terminated_us or end_us)
        return max(stop_us - max(start_us, self.launched_us), 0) / (3600 * SECOND_US)

    def lived_s(self, now_us: int) -> int:
        """Seconds from its launch until its end, or now."""
        return max((self.terminated_us or now_us) - self.launched_us, 0) // SECOND_US


class Observation(msgspec.Struct, frozen=True):
    """What the owner host last said about an instance."""

    instance_id: str
    host_id: str
    generation: int
    boot: int
    disk: int
    phase: str
    reason: str
    code: str
    retryable: bool
    step: str
    volumes: tuple[tuple[str, int], ...] | None  # plugged in: (volume id, GiB as the guest has it); None: not seen
    volume_problem: str
    at_us: int


class Keypair(msgspec.Struct, frozen=True):
    """A public key of a user. Nova's names are unique per user."""

    user_id: str
    name: str
    kind: str  # ssh, x509
    public_key: str
    fingerprint: str
    created_us: int


class ServerGroup(msgspec.Struct, frozen=True):
    """Instances that must or should be together or apart."""

    id: str
    project_id: str
    user_id: str
    name: str
    policy: str  # affinity, anti-affinity, soft-affinity, soft-anti-affinity
    max_per_host: int  # of anti-affinity
    created_us: int


PRIORITY_KEY, PRIORITY_DEFAULT, PRIORITY_MAX = "holdfast:priority", 50, 100


def priority_of(row: Instance) -> int:
    """The rank of a server, 0 to 100: its flavor's, which its owner may lower by a metadata item of the same name."""
    of_flavor = _number(row.flavor.extra_specs.get(PRIORITY_KEY), PRIORITY_DEFAULT)
    return min(of_flavor, _number(row.properties.get(PRIORITY_KEY), of_flavor))


def _number(text: str | None, otherwise: int) -> int:
    return min(int(text), PRIORITY_MAX) if text and text.isascii() and text.isdigit() else otherwise


def require_idle(row: Instance, act: str) -> None:
    """Raise Conflict unless an act that needs a server on a host may begin."""
    if not row.host_id or row.state not in (InstanceState.READY, InstanceState.FAILED):
        raise Conflict(f"Cannot '{act}' instance {row.id} while it is in state {row.state}")


def reservation_id(instance_id: str) -> str:
    """The id of one launch request, as EC2 and Nova show it."""
    return "r-" + instance_id.replace("-", "")[:8]


def hostname_of(name: str) -> str:
    """Return a name that DNS and DHCP accept, made from whatever the user called the server."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in name.lower().replace(" ", "-"))
    return kept.strip("-.")[:63].strip("-") or "server"
