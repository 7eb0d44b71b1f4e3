"""A network and disks that are only pretended, for the simulated hypervisor: thousands of machines on one host."""

from __future__ import annotations

from pathlib import Path

from holdfast.domain.desired import DesiredHost, ImageSource, Machine
from holdfast.domain.observed import FloatingReport
from holdfast.host.agent.parts import Prepared
from holdfast.host.hypervisor.driver import Card

SIZE_GIB = 1_000_000


class SimulatedNetwork:
    """Every floating address works at once."""

    def apply(self, desired: DesiredHost) -> tuple[tuple[FloatingReport, ...], tuple[str, ...]]:
        floating = [item for router in desired.routers for item in router.floating]
        return tuple(FloatingReport(item.id, item.fixed, True) for item in floating), ()

    def cards(self, machine: Machine) -> tuple[Card, ...]:
        return ()


def blank_image(image: ImageSource, path: Path) -> None:
    """A volume made from an image has no bytes of it."""
    path.touch(mode=0o600)


class SimulatedDisks:
    """No bytes at all."""

    def prepare(self, machine: Machine, fresh: bool) -> Prepared:
        return Prepared((), None, None)

    def is_made(self, machine: Machine) -> bool:
        return False

    def adopt(self, machine: Machine) -> None:
        """It is always there."""

    def leave(self, instance_id: str) -> None:
        """There is nothing to leave."""

    def remove(self, instance_id: str) -> None:
        """There is nothing to remove."""

    def capture(self, machine: Machine) -> None:
        """There is nothing to send: the control plane's act ends at its deadline."""

    def held(self) -> tuple[str, ...]:
        return ()

    def free_gib(self) -> int:
        return SIZE_GIB

    def size_gib(self) -> int:
        return SIZE_GIB

    def found(self) -> tuple[str, ...]:
        return ()
