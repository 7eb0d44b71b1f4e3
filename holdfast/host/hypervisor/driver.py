"""The hypervisor seen from the agent: a few idempotent verbs, all about one host.

A driver knows machines, not clouds: no projects, no scheduler, no image service, no store. Disks and
taps arrive ready. `machines` reads reality (pid files, monitor sockets), never memory, so a restarted
agent adopts what it finds. A machine outlives the process that started it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device. The format is always named: a guest may write any header into a raw disk."""

    path: Path
    format: str  # raw or qcow2
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk that comes and goes while its machine runs. Always raw: nothing in it is believed."""

    id: str
    path: Path
    slot: int  # of the machine's hot-plug ports, from 0 to VOLUME_SLOTS - 1


@dataclass(frozen=True, slots=True)
class Card:
    """A network card on an existing tap; `namespace` is the network namespace's name, '' for the host's own."""

    mac: str
    tap: str  # at most 15 bytes (Linux IFNAMSIZ)
    namespace: str
    mtu: int


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """Everything needed to start a machine."""

    instance_id: str
    vcpus: int
    memory_mib: int
    disks: tuple[Disk, ...]  # boot disk first
    cards: tuple[Card, ...]
    kernel: Path | None = None
    ramdisk: Path | None = None
    kernel_arguments: str = ""
    volumes: tuple[Volume, ...] = ()


class Copy(StrEnum):
    """What a move carries besides memory."""

    NONE = "none"  # both hosts open the same disks
    TOP = "top"  # what stands above the base that both hosts have
    FULL = "full"  # every byte


@dataclass(frozen=True, slots=True)
class Where:
    """Where a machine that is to receive a guest listens; what it means is the driver's own."""

    address: str
    port: int
    disks_port: int = 0  # 0: no disk is copied


@dataclass(frozen=True, slots=True)
class Passage:
    """One move of one guest, as both of its ends know it. `key` never appears in what this prints."""

    id: str
    copy: Copy
    key: str = field(repr=False)  # 32 bytes as hexadecimal digits, for this move alone


class SendState(StrEnum):
    """How far a machine is on its way out."""

    NONE = "none"  # it is not being sent
    COPYING = "copying"  # its disks are; it runs
    SENDING = "sending"  # its memory is; it runs, but for the last moment
    SENT = "sent"  # the other end has all of it; it is halted, and only `activate` could wake it
    FAILED = "failed"  # it runs on here as if nothing had been


@dataclass(frozen=True, slots=True)
class Sending:
    """What is seen of it. Bytes are of what is being carried now: disks, then memory."""

    state: SendState
    remaining_bytes: int = 0
    total_bytes: int = 0
    downtime_ms: int = 0  # SENT: measured; before: expected, 0 while not known
    reason: str = ""  # FAILED: why


class Run(StrEnum):
    """What a machine is seen to do."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Reason(StrEnum):
    """Why a machine is as it is, where that is not simply what was asked for."""

    NONE = ""
    GUEST_SHUTDOWN = "guest-shutdown"  # it turned itself off: its owner's wish
    STOPPED = "stopped"  # it obeyed the power button that `stop` pressed
    FORCED = "forced"  # `stop` pulled the plug
    KILLED = "killed"  # it crashed or was killed by somebody else: nobody's wish
    HOST_RESTART = "host-restart"  # it ran when the host went down
    LEASE_LAPSED = "lease-lapsed"  # the keeper ended it: the host lost the right to run it
    START_FAILED = "start-failed"  # the last start did not succeed
    NOSPACE = "nospace"  # paused: the host's disk is full; resuming tries the write again
    INTERNAL_ERROR = "internal-error"  # paused: the hypervisor cannot go on with it
    RECEIVING = "receiving"  # paused: it waits for a guest from another host
    RECEIVED = "received"  # paused: it has all of the guest and waits for `activate`
    SENT = "sent"  # paused: another machine has all of its guest
    MOVED = "moved"  # ended after it was sent
    NOT_RECEIVED = "not-received"  # ended before it was activated: no guest ever ran in it
    MONITOR_SILENT = "monitor-silent"  # its process lives and does not answer; taken for running


@dataclass(frozen=True, slots=True)
class Observed:
    """One machine found on the host. `pid` is 0 when it does not run, and when the driver has no processes."""

    instance_id: str
    run: Run
    pid: int
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Probed:
    """What this host can run, proved by running a guest, not by the presence of /dev/kvm."""

    accelerator: str  # kvm, tcg, simulated
    note: str  # why not kvm
    version: str


class Hypervisor(Protocol):
    """One driver. Every verb may be repeated."""

    name: str

    def probe(self) -> Probed:
        """Try the host; raise Unavailable when no machine could run here."""

    def machines(self) -> Mapping[str, Observed]:
        """Every machine this host holds, by instance id, from reality."""

    def start(self, spec: MachineSpec) -> None:
        """Make it run; already running: nothing.

        Returns once the monitor answers; after HYPERVISOR_START_S raises Unavailable and leaves nothing behind.
        """

    def stop(self, instance_id: str, grace_s: float) -> None:
        """Press the power button, wait `grace_s`, then kill (0: kill at once). Stopped or unknown: nothing.

        One whose guest is not here, or not here any more, is killed at once: the button would wake it.
        """

    def pause(self, instance_id: str, paused: bool) -> None:
        """Halt or resume its processors. Already so: nothing. Not running, or on its way: Conflict."""

    def volumes(self, instance_id: str) -> Mapping[str, int]:
        """The volumes that the machine has open, by id, in bytes as its guest sees them. Not running: none."""

    def plug(self, instance_id: str, volume: Volume) -> None:
        """Give a running machine a volume, whole and at once. Has it: nothing. Not running: Conflict.

        Its serial number, as the guest reads it, is the first 20 characters of its id. A failure leaves nothing.
        """

    def unplug(self, instance_id: str, volume_id: str, wait_s: float) -> bool:
        """Ask the guest to let go and wait for it; False when it has not yet. Has it not, or not running: True.

        True means that the file is closed. What was asked stays asked: the guest may obey later, by itself.
        """

    def grow(self, instance_id: str, volume_id: str, size_bytes: int) -> None:
        """Show the guest a larger volume; the file grows with it. As large already, or not there: nothing."""

    def receive(self, spec: MachineSpec, passage: Passage, address: str) -> Where:
        """Make a machine without a guest that waits for this passage on `address`; waits already: the same answer.

        Its disks are there: the same files for Copy.NONE, else others of the same sizes. It touches none of them
        before `activate`, but for what the sender copies. Waits for another passage, which was called off: that wait
        is ended. Runs, or a guest has come: Conflict.
        """

    def send(self, instance_id: str, passage: Passage, where: Where) -> Sending:
        """Look, do the next step of the passage, say how far it is. To be called until SENT or FAILED.

        The guest runs here until the last moment. Not running, or another passage goes on: Conflict.
        """

    def sending(self, instance_id: str) -> Sending:
        """Look only."""

    def cancel_send(self, instance_id: str) -> Sending:
        """Stop sending: afterwards NONE, and the guest runs on here; or SENT: too late. Not sending: NONE."""

    def activate(self, instance_id: str, paused: bool = False) -> None:
        """Let the guest that was received, or was sent and is taken back, run here; with `paused` it stays halted.

        Only for the owner: nothing here knows whether the other end runs. Runs already: nothing. Neither: Conflict.
        """

    def forget(self, instance_id: str) -> None:
        """Remove every trace but the disks. Unknown: nothing. Running: Conflict."""

    def console_sizes(self) -> Mapping[str, int]:
        """How long the serial output of each machine is, in bytes; cheap enough to be asked twice a second."""

    def console(self, instance_id: str, size_bytes: int) -> bytes:
        """The last bytes of serial output; NotFound for a machine that never started here."""
