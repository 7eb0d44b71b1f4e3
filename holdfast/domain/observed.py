"""What one host says it is: the agent's report, from reality, never from memory."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from holdfast.domain.desired import MoveEnd


class Phase(StrEnum):
    """How far a machine is on its host."""

    PREPARING = "preparing"  # image, disk or network are being made
    RUNNING = "running"  # its process runs and its monitor answers
    PAUSED = "paused"
    STOPPED = "stopped"  # it exists here and does not run
    FAILED = "failed"  # could not be made as asked; `reason` says why; tried again only for a newer generation
    ABSENT = "absent"  # asked to be gone, and no trace is left


class MoveState(StrEnum):
    """How far a live move is at the end that reports it."""

    WAITING = "waiting"  # RECEIVE: it listens where `end` says. SEND: it does not know yet where to
    RECEIVED = "received"  # RECEIVE: all of the guest is here, halted until this host owns it
    SENDING = "sending"  # SEND: it runs here, while its disks and memory are copied
    SENT = "sent"  # SEND: halted for good, unless this host still owns it when the move is over
    FAILED = "failed"  # this try is over. SEND: it runs on here. RECEIVE: nothing of it is here


class MoveReport(msgspec.Struct, frozen=True):
    """One end of a live move."""

    id: str
    state: MoveState
    end: MoveEnd | None = None
    remaining_bytes: int = 0
    total_bytes: int = 0
    downtime_ms: int = 0
    reason: str = ""


class MachineReport(msgspec.Struct, frozen=True):
    """One machine. The numbers are those that were reached (see domain/desired)."""

    instance_id: str
    generation: int
    boot: int
    disk: int
    phase: Phase
    reason: str = ""  # for FAILED: a sentence for the owner
    code: str = ""  # the error's published code
    retryable: bool = False  # FAILED here, but another host may do it
    step: str = ""  # for PREPARING: what is being done
    volumes: tuple[tuple[str, int], ...] | None = ()  # plugged in: (volume id, GiB as the guest has it); None: not seen
    volume_problem: str = ""  # why a volume could not be plugged in or taken out yet
    move: MoveReport | None = None


class FilePhase(StrEnum):
    """How far the file of a volume or snapshot is."""

    MAKING = "making"
    MADE = "made"
    FAILED = "failed"  # could not be made as asked, or is gone
    ABSENT = "absent"  # asked to be gone, and no trace is left


class VolumeReport(msgspec.Struct, frozen=True):
    """One file of a volume or snapshot."""

    id: str
    generation: int
    phase: FilePhase
    size_gib: int = 0
    reason: str = ""
    code: str = ""
    retryable: bool = False  # FAILED, and tried again by itself


class FloatingReport(msgspec.Struct, frozen=True):
    """A floating address of this host and whether its path was seen to work."""

    id: str
    fixed: str
    up: bool
    reason: str = ""


class Capabilities(msgspec.Struct, frozen=True):
    """What the host can do, proved by trying."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    accelerator: str  # kvm, tcg or simulated
    accelerator_note: str  # why not kvm
    hypervisor: str  # qemu or simulated
    hypervisor_version: str
    hostname: str
    address: str  # where tunnels to this host end
    processor: str = ""  # model that guests see as theirs; empty: the hypervisor's own
    disk_store: str = ""  # identity of the directory of its disks: the same on every host that has it; empty: unknown


class HostReport(msgspec.Struct, frozen=True):
    """The agent's report and heartbeat. `desired_version` is the newest state it has applied as a whole."""

    full: bool  # every machine is named: what is not named is not there
    desired_version: int
    capabilities: Capabilities
    machines: tuple[MachineReport, ...]
    floating: tuple[FloatingReport, ...]
    images: tuple[str, ...]  # held in the cache, verified
    disk_free_gib: int
    unknown: tuple[str, ...]  # machines found here that nobody asked for: left alone, reported
    volumes: tuple[VolumeReport, ...] = ()
    problems: tuple[str, ...] = ()  # what an operator should know: "accelerator", "bridge", ...


class ConsolePiece(msgspec.Struct, frozen=True):
    """What a guest wrote to its serial console, from a position in its console file."""

    instance_id: str
    start: int
    data: bytes
    restarted: bool = False  # the file is shorter than it was: it was cut, and positions begin again
