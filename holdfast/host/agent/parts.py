"""What the agent works with besides the hypervisor: a network and disks. Real ones and simulated ones fit alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from holdfast.domain.desired import DesiredHost, Machine
from holdfast.domain.observed import FloatingReport
from holdfast.host.hypervisor.driver import Card, Disk


@dataclass(frozen=True, slots=True)
class Prepared:
    """A machine's disks and boot files, ready to be opened."""

    disks: tuple[Disk, ...]
    kernel: Path | None
    ramdisk: Path | None


class Network(Protocol):
    """The host's network as one thing."""

    def apply(self, desired: DesiredHost) -> tuple[tuple[FloatingReport, ...], tuple[str, ...]]:
        """Make it so; returns which floating addresses work, and what an operator should know."""

    def cards(self, machine: Machine) -> tuple[Card, ...]:
        """The network cards of a machine, whose network was applied."""


class Disks(Protocol):
    """Where machines' disks come from and go to."""

    def prepare(self, machine: Machine, fresh: bool) -> Prepared:
        """Make the disks of a machine; `fresh` replaces the root disk. What is there already is not touched."""

    def is_made(self, machine: Machine) -> bool:
        """Whether the root disk of this number is there already, made by a host that may not have come to say so."""

    def adopt(self, machine: Machine) -> None:
        """Look that the root disk is there; it was made once, here or by another host. Unavailable: it is not."""

    def leave(self, instance_id: str) -> None:
        """Forget a machine that may run elsewhere: its data stays, whatever else was made for it goes."""

    def remove(self, instance_id: str) -> None:
        """Remove every file of a machine, also what it left behind. Unknown: nothing."""

    def capture(self, machine: Machine) -> None:
        """Send the root disk to the image that the machine is captured into."""

    def held(self) -> tuple[str, ...]:
        """Images that this host holds, verified."""

    def free_gib(self) -> int:
        """What is free where disks are kept."""

    def size_gib(self) -> int:
        """What there is where disks are kept."""

    def found(self) -> tuple[str, ...]:
        """Machines that have files here."""
