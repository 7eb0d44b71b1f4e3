"""Root disks, on one store that all hosts share or on one per host, and the judgement on what is done to them.

A disk that was written to by a guest must never be made anew, or removed, unless its owner's word came first: a
rebuild that raised its number, or a delete. A server that is still being built was never seen to run: its owner was
told of nothing that could be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.base.errors import Unavailable
from holdfast.domain.desired import Machine
from holdfast.host.agent.parts import Prepared
from holdfast.host.agent.simulated import SimulatedDisks
from tests.sim.clockwork import Violation, loop

if TYPE_CHECKING:
    from tests.sim.hosts import SimHost


_STATE = "SELECT state, launched_us FROM instance WHERE id = ?"
_STORE = "SELECT h.disk_store FROM instance i JOIN host h ON h.id = i.host_id WHERE i.id = ?"


@dataclass
class Disk:
    """One root disk."""

    number: int  # of the machine's record that it was made for
    began_s: float = 0.0  # when a guest last began to run on it

    @property
    def written(self) -> bool:
        """Whether there may be something on it that is nowhere else."""
        return self.began_s > 0


class SimDisks(SimulatedDisks):
    """The disks as the agent of one host finds them."""

    def __init__(self, host: SimHost) -> None:
        self.host, self.disks = host, host.world.disks

    def _key(self, instance_id: str) -> tuple[str, str]:
        return self.host.disk_store, instance_id

    def prepare(self, machine: Machine, fresh: bool) -> Prepared:
        key = self._key(machine.instance_id)
        if not fresh:
            self.adopt(machine)
            return Prepared((), None, None)
        before = self.disks.get(key)
        launched = self.host.world.rows("SELECT 1 FROM instance WHERE id = ? AND launched_us != 0", machine.instance_id)
        lost = launched and not self._copied(machine.instance_id)
        if before is not None and before.written and before.number >= machine.disk and lost:
            raise Violation(f"I7 the disk {before} of {key} is made anew by {self.host.name}, and nobody asked for it")
        self.host.writers_check(machine.instance_id, "made anew")
        self.disks[key] = Disk(machine.disk)
        return Prepared((), None, None)

    def is_made(self, machine: Machine) -> bool:
        disk = self.disks.get(self._key(machine.instance_id))
        return bool(self.host.shared) and disk is not None and disk.number == machine.disk

    def adopt(self, machine: Machine) -> None:
        if self._key(machine.instance_id) not in self.disks:
            raise Unavailable(f"the root disk of {machine.instance_id} is not where it was", code="disk_missing")

    def leave(self, instance_id: str) -> None:
        """A disk of this host alone is put aside, and kept; a shared one is not touched."""
        key = self._key(instance_id)
        if not self.host.shared and key in self.disks:
            self.host.world.disks_aside[key] = self.disks.pop(key)
            loop().note(f"{self.host.name} puts the disk of {instance_id[:8]} aside")

    def remove(self, instance_id: str) -> None:
        disk = self.disks.get(self._key(instance_id))
        if disk is None:
            return
        state = self.host.world.rows(_STATE, instance_id)
        never = state and state[0] == ("failed", 0)  # it was never seen to run, and its builder gave it up
        lost = state and state[0][0] not in ("building", "deleting", "deleted")
        if disk.written and lost and not never and not self._is_old(instance_id, disk):
            raise Violation(f"I7 {self.host.name} removes the disk of {instance_id}, which is {state[0][0]}")
        self.host.writers_check(instance_id, "removed")
        del self.disks[self._key(instance_id)]

    def _copied(self, instance_id: str) -> bool:
        """Whether its owner has a disk of its own of it, which a guest has run on."""
        owner = self.host.world.rows(_STORE, instance_id)
        store = str(owner[0][0]) if owner else self.host.disk_store
        copy = self.disks.get((store, instance_id))
        return store != self.host.disk_store and copy is not None and copy.written

    def _is_old(self, instance_id: str, disk: Disk) -> bool:
        """Whether its guest ran on another disk after this one, and that is still somewhere (seed 6358)."""
        world = self.host.world
        others = (world.disks_aside | world.disks).items()  # one that came back counts
        return any(of == instance_id and other.began_s > disk.began_s for (_, of), other in others)
