"""A volume: a disk of its own that one server at a time may use; and a snapshot, a copy of it that stays as it is.

    creating --ready--> available --attach--> attaching --ready--> in-use --detach--> detaching --ready--> available
       |                 |  ^  |'--reserve--> reserved            |   ^                  |
       '--fail--> failed |  |  '--extend--> extending <--extend---'   '------fail--------'
                    |    |  '---ready / attached----'
                    '-delete-> deleting     (its row goes when its host has removed the file)

A volume has at most one attachment and at most one open act, each held by a unique index. An attached volume is
given up by its server only: nothing that the volume API offers takes it away (CVE-2023-2088). A snapshot only
knows creating, available, failed and deleting. Cinder's words are computed in api/volume/views.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from holdfast.base.errors import BadInput, Bug
from holdfast.domain.desired import ImageSource

TYPE_NAME: Final = "local"
TYPE_ID: Final = "0b1f9a52-6f0e-5e4b-9c53-7f2f7c1d3a10"  # the one volume type there is, the same in every cloud


class VolumeState(StrEnum):
    """Where a volume, or a snapshot, is in its life."""

    CREATING = "creating"  # accepted; its data is not there yet
    AVAILABLE = "available"  # may be attached, copied, extended, deleted
    RESERVED = "reserved"  # a client holds it for a use of its own; it must be given back
    ATTACHING = "attaching"  # its server's host is plugging it in
    IN_USE = "in-use"  # a server has it
    DETACHING = "detaching"  # its server's host is taking it out
    EXTENDING = "extending"  # becomes larger, attached or not
    DELETING = "deleting"  # leaves its host; nothing brings it back
    FAILED = "failed"  # never became what was asked for; can only be deleted


_S = VolumeState
TABLE: Final = {
    (_S.CREATING, "ready"): _S.AVAILABLE,
    (_S.CREATING, "fail"): _S.FAILED,
    (_S.AVAILABLE, "reserve"): _S.RESERVED,
    (_S.RESERVED, "release"): _S.AVAILABLE,
    (_S.AVAILABLE, "attach"): _S.ATTACHING,
    (_S.RESERVED, "attach"): _S.ATTACHING,
    (_S.ATTACHING, "ready"): _S.IN_USE,
    (_S.ATTACHING, "fail"): _S.AVAILABLE,
    (_S.IN_USE, "detach"): _S.DETACHING,
    (_S.DETACHING, "ready"): _S.AVAILABLE,
    (_S.DETACHING, "fail"): _S.IN_USE,
    (_S.AVAILABLE, "extend"): _S.EXTENDING,
    (_S.IN_USE, "extend"): _S.EXTENDING,
    (_S.EXTENDING, "ready"): _S.AVAILABLE,
    (_S.EXTENDING, "attached"): _S.IN_USE,
    (_S.AVAILABLE, "delete"): _S.DELETING,
    (_S.FAILED, "delete"): _S.DELETING,
    (_S.ATTACHING, "server_gone"): _S.AVAILABLE,
    (_S.IN_USE, "server_gone"): _S.AVAILABLE,
    (_S.DETACHING, "server_gone"): _S.AVAILABLE,
    (_S.EXTENDING, "server_gone"): _S.EXTENDING,  # the growth goes on, and finds it without a server
    (_S.AVAILABLE, "condemn"): _S.FAILED,  # an administrator's word, as `reset` is
    (_S.FAILED, "reset"): _S.AVAILABLE,
}
"""Legal moves; nobody assigns a state, `move` does."""


def move(state: VolumeState, event: str) -> VolumeState:
    """Return the state after the event; an illegal move is our own mistake."""
    try:
        return TABLE[(state, event)]
    except KeyError:
        raise Bug(f"a volume in state {state} cannot {event}") from None


def require(row: Volume | Snapshot, event: str, what: str = "Volume") -> VolumeState:
    """The state after an event that a caller asks for; BadInput, as Cinder says it, when it is not legal now."""
    found = TABLE.get((row.state, event))
    if found is None:
        allowed = " or ".join(sorted(state for state, name in TABLE if name == event))
        raise BadInput(f"Invalid volume: {what} {row.id} status must be {allowed} to {event}, but is {row.state}.")
    return found


class Volume(msgspec.Struct, frozen=True):
    """One row."""

    id: str
    project_id: str
    user_id: str
    name: str
    description: str
    state: VolumeState
    size_gib: int
    host_id: str  # whose disk holds it; empty: none yet, it is made where it is first used
    zone: str
    present: bool  # False: its host must remove the file
    made: bool  # its file was seen whole: if it is missing later, nothing is made in its place
    generation: int
    revision: int
    bootable: bool
    image: ImageSource | None  # what it was made from
    image_words: dict[str, str]  # of that image, for clients that ask
    copy_of: str  # the file it was copied from: a volume's or a snapshot's
    snapshot_id: str
    source_id: str
    properties: dict[str, str]
    fault: str
    created_us: int
    updated_us: int


class Snapshot(msgspec.Struct, frozen=True):
    """One row. Its file is a copy: the volume may go on, and go."""

    id: str
    project_id: str
    user_id: str
    volume_id: str
    name: str
    description: str
    state: VolumeState
    size_gib: int
    host_id: str
    present: bool
    made: bool
    generation: int
    revision: int
    properties: dict[str, str]
    fault: str
    created_us: int
    updated_us: int


class Attachment(msgspec.Struct, frozen=True):
    """A volume and the server that has it, or is to have it, or is giving it back."""

    id: str
    volume_id: str
    instance_id: str
    project_id: str
    slot: int  # which of the machine's hot-plug ports
    device: str
    tag: str
    delete_on_termination: bool
    present: bool  # the machine is to have it: not before the file is made, not once it is being taken out
    created_us: int
    attached_us: int  # 0: not yet


class VolumeObservation(msgspec.Struct, frozen=True):
    """What a host last said about the file of a volume or a snapshot."""

    volume_id: str
    host_id: str
    generation: int
    phase: str
    size_gib: int
    reason: str
    code: str
    retryable: bool
    at_us: int


class AttachedView(msgspec.Struct, frozen=True):
    """What a server's view says of one volume."""

    volume_id: str
    delete_on_termination: bool


def device_of(slot: int, drives_before: int) -> str:
    """The name by which the guest most likely knows it: virtio disks are lettered in the order of their ports."""
    return f"/dev/vd{chr(ord('a') + drives_before + slot)}"
