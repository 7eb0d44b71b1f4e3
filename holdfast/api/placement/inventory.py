"""A host as a resource provider: what it has, who holds how much of it, and a number that changes with either.

Placement promises `(total - reserved) * allocation_ratio`; that is what the scheduler's room says it may promise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.api.http.call import Call
from holdfast.base import ids
from holdfast.base.config import Settings
from holdfast.base.errors import NotFound
from holdfast.control.operations.server.placing import rooms
from holdfast.control.scheduler.place import Room
from holdfast.control.store.database import Tx
from holdfast.control.store.placement.consumer import Consumer, consumers_list, consumers_of_host

CLASSES: Final = ("VCPU", "MEMORY_MB", "DISK_GB")
COMPUTE_NODE: Final = "COMPUTE_NODE"
DISABLED: Final = "COMPUTE_STATUS_DISABLED"  # as Nova marks a host that takes no new servers
TRAITS: Final = (COMPUTE_NODE, DISABLED)


@dataclass(frozen=True, slots=True)
class Provider:
    """One host."""

    room: Room
    inventories: Mapping[str, Mapping[str, float]]
    consumers: Sequence[Consumer]

    @property
    def id(self) -> str:
        return self.room.host.id

    @property
    def generation(self) -> int:
        """The same for the same inventories and promises, another for others: it is drawn from them."""
        held = sorted((c.id, c.vcpus, c.memory_mib, c.disk_gib) for c in self.consumers)
        return ids.number_of(repr((self.id, self.inventories, self.traits, held)))

    @property
    def traits(self) -> list[str]:
        return [COMPUTE_NODE] if self.room.host.enabled else [COMPUTE_NODE, DISABLED]

    @property
    def used(self) -> dict[str, int]:
        """Of every class that it has an inventory of."""
        return {name: amount for name, amount in summed(self.consumers).items() if name in self.inventories}

    def capacity(self, name: str) -> int:
        return {"VCPU": self.room.vcpus, "MEMORY_MB": self.room.memory_mib, "DISK_GB": self.room.disk_gib}[name]


def providers(tx: Tx, settings: Settings) -> list[Provider]:
    """Every host, by name."""
    held = defaultdict(list)
    for consumer in consumers_list(tx):
        held[consumer.host_id].append(consumer)
    return [Provider(room, _inventories(room, settings), held[room.host.id]) for room in rooms(tx, settings)]


def provider(tx: Tx, settings: Settings, host_id: str) -> Provider:
    """One host; NotFound."""
    for room in rooms(tx, settings):
        if room.host.id == host_id:
            return Provider(room, _inventories(room, settings), consumers_of_host(tx, host_id))
    raise NotFound(f"No resource provider with uuid {host_id[:64]} found")


def provider_of(call: Call) -> Provider:
    """The host in the path."""
    asked = call.parameters["provider_id"]
    return call.services.store.read(lambda tx: provider(tx, call.services.settings, asked))


def resources(consumer: Consumer) -> dict[str, int]:
    """What one consumer holds, without zeros."""
    return {name: amount for name, amount in summed((consumer,)).items() if amount}


def summed(consumers: Iterable[Consumer]) -> dict[str, int]:
    """What all of them hold."""
    total = dict.fromkeys(CLASSES, 0)
    for consumer in consumers:
        for name, amount in zip(CLASSES, (consumer.vcpus, consumer.memory_mib, consumer.disk_gib), strict=True):
            total[name] += amount
    return total


def _inventories(room: Room, settings: Settings) -> dict[str, dict[str, Any]]:
    """None of a host that never said what it has."""
    have = room.host.capabilities
    if have is None:
        return {}
    reserved = min(settings.reserved_memory_mib, have.memory_mib)
    found = {
        "VCPU": _inventory(have.vcpus, 0, settings.vcpu_ratio, room.vcpus),
        "MEMORY_MB": _inventory(have.memory_mib, reserved, settings.memory_ratio, room.memory_mib),
        "DISK_GB": _inventory(have.disk_gib, 0, 1.0, room.disk_gib),
    }
    return {name: inventory for name, inventory in found.items() if inventory["total"] > 0}


def _inventory(total: int, reserved: int, ratio: float, promised: int) -> dict[str, Any]:
    """One server may take all that may be promised: the scheduler sets no other bound."""
    return {
        "total": total,
        "reserved": reserved,
        "min_unit": 1,
        "max_unit": max(promised, 1),
        "step_size": 1,
        "allocation_ratio": float(ratio),
    }
