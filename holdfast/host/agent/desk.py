"""What the agent knows of the desired state, put together from updates.

Applying an update twice, or an older one, changes nothing: a machine is only replaced by a newer generation.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec

from holdfast.domain.desired import DesiredHost, HostUpdate, Machine, Network, NetworkState, VolumeFile

_NO_NETWORK = NetworkState((), (), (), ())


class Desk:
    """The newest desired state. Shared by the agent's threads."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self._lock = threading.Lock()
        self._machines: dict[str, Machine] = {}
        self._volumes: dict[str, VolumeFile] = {}
        self._network = _NO_NETWORK
        self.version = 0
        self.known = False  # whether a full state was ever received: until then nothing is unknown or unwanted

    def reset(self) -> None:
        """Know nothing any more: the next state must be a whole one."""
        with self._lock:
            self._machines, self._volumes, self._network = {}, {}, _NO_NETWORK
            self.version, self.known = 0, False

    def is_current(self, machine: Machine) -> bool:
        """Whether this record is the last word on its machine."""
        with self._lock:
            return self._machines.get(machine.instance_id) == machine

    def apply(self, update: HostUpdate) -> list[str]:
        """Take an update in; returns the instances that changed, in the order of `instance_ids`."""
        with self._lock:
            if update.full:
                named = {machine.instance_id for machine in update.machines}
                self._machines = {i: machine for i, machine in self._machines.items() if i in named}
                files = {volume.id for volume in update.volumes}
                self._volumes = {i: volume for i, volume in self._volumes.items() if i in files}
                self.known = True
            for volume in update.volumes:
                old = self._volumes.get(volume.id)
                if old is None or volume.generation >= old.generation:
                    self._volumes[volume.id] = volume
            changed = []
            for machine in update.machines:
                mine = self._machines.get(machine.instance_id)
                if mine is None or machine.generation >= mine.generation:
                    self._machines[machine.instance_id] = machine
                    changed.append(machine.instance_id)
            if update.network is not None:
                self._network = update.network
            self.version = max(self.version, update.version)
            return self._in_order(changed)

    def machine(self, instance_id: str) -> Machine | None:
        with self._lock:
            return self._machines.get(instance_id)

    def forget(self, machine: Machine) -> None:
        """Drop a machine whose end was reported, unless a newer word about it came meanwhile."""
        with self._lock:
            if self._machines.get(machine.instance_id) == machine:
                del self._machines[machine.instance_id]

    def volume(self, file_id: str) -> VolumeFile | None:
        with self._lock:
            return self._volumes.get(file_id)

    def volumes(self) -> list[VolumeFile]:
        """Every file that is asked for, or asked to be gone."""
        with self._lock:
            return list(self._volumes.values())

    def forget_volume(self, file_id: str, generation: int) -> None:
        """Drop a file whose end was reported, unless a newer word about it came meanwhile."""
        with self._lock:
            known = self._volumes.get(file_id)
            if known is not None and not known.present and known.generation == generation:
                del self._volumes[file_id]

    def instance_ids(self) -> list[str]:
        """What is known, the highest priority first: after a loss of power that is the order of the starts."""
        with self._lock:
            return self._in_order(self._machines)

    def _in_order(self, instance_ids: Iterable[str]) -> list[str]:
        return sorted(instance_ids, key=lambda instance_id: -self._machines[instance_id].priority)

    def whole(self) -> DesiredHost:
        """Everything, with each network's ports in it: what the host's network is made from."""
        with self._lock:
            machines, network, version = tuple(self._machines.values()), self._network, self.version
        ports: dict[str, list[object]] = {}
        for machine in machines:
            if machine.present:
                for card in machine.interfaces:
                    ports.setdefault(card.network_id, []).append(card.port)
        return DesiredHost(
            version=version,
            host_id=self.host_id,
            machines=machines,
            networks=tuple(_with_ports(n, ports.get(n.id, [])) for n in network.networks),
            routers=network.routers,
            externals=network.externals,
            security_groups=network.security_groups,
        )


def _with_ports(network: Network, ports: list[object]) -> Network:
    return msgspec.structs.replace(network, ports=tuple(ports))
