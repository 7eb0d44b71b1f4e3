"""The agent process of one host: `python -m holdfast.daemon.agent --state DIR --host ID --name NAME`.

It may be killed at any moment: guests run on, and the next one adopts what it finds.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.base import config
from holdfast.base import log as logs
from holdfast.base.clock import SystemClock
from holdfast.base.limits import CAPTURE_DEADLINE_S
from holdfast.daemon.places import Places
from holdfast.domain.observed import Capabilities
from holdfast.host.agent.agent import Agent, Parts
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.link import Link
from holdfast.host.agent.parts import Disks, Network
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.registration import Registration
from holdfast.host.agent.store import store_identity
from holdfast.host.hypervisor.driver import Hypervisor
from holdfast.host.keeper.lease import LEASE_FILE, read_lease
from holdfast.host.volumes.files import VolumeFiles

log = logs.get(__name__)
KIB_PER_MIB = 1024
SIMULATED_VCPUS, SIMULATED_MEMORY_MIB = 100_000, 1 << 28


def main() -> None:
    """Work until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    settings = config.load(options.state)
    places = Places(options.state)
    logs.sink.open_file(places.logs / f"agent-{options.name}.log", "agent", settings.log_format == "json")
    home = places.host(options.name)
    token = home / "token"
    with logs.bind(host=options.name):
        parts = make_parts(settings, home, options.host, token)
        speaks_for = parts.registration
        agent = Agent(lambda: Link(settings.endpoint, options.host, token, lambda: speaks_for.number), parts)
        signal.signal(signal.SIGTERM, lambda *_: agent.stop())
        log.info("agent_started", hypervisor=parts.hypervisor.name, accelerator=parts.capabilities.accelerator)
        agent.run()
        log.info("agent_stopped")
    os._exit(0)  # threads may be in the middle of an act; what they did is found again by the next one


def make_parts(settings: config.Settings, home: Path, host_id: str, token: Path) -> Parts:
    """Choose the drivers. Unavailable when the shared directory is not there: nothing is written before it is."""
    desk, reached = Desk(host_id), ReachedFiles(home / "reached")
    storage = Storage.of(settings, home)
    hypervisor: Hypervisor
    network: Network
    disks: Disks
    if settings.hypervisor == "simulated":
        from holdfast.host.agent.simulated import SimulatedDisks, SimulatedNetwork, blank_image
        from holdfast.host.hypervisor.simulated import Simulated

        hypervisor, network, disks = Simulated(home), SimulatedNetwork(), SimulatedDisks()
        volumes = VolumeFiles(storage.volumes, blank_image, storage.kept is None)
    else:
        from holdfast.host.agent.local import LocalDisks, LocalNetwork, file_sender
        from holdfast.host.hypervisor.qemu.machines import Qemu
        from holdfast.host.imagebuild.packages import kernel_at_hand
        from holdfast.host.imagecache.cache import Cache
        from holdfast.host.imagecache.fetch import HttpFetch, NearFetch, find_in
        from holdfast.host.network.apply import HostNetwork

        host_network = HostNetwork(settings.prefix, home / "network", resolvers=resolvers())
        host_network.claim()
        host_network.resume()
        fetch = NearFetch(
            find_in(settings.state_path / "images"),
            HttpFetch(
                settings.endpoint,
                token,
                SystemClock(),
                time.sleep,
                f"/hosts/v1/{host_id}/images/{{id}}/file",
                "X-Host-Token",
            ),
        )
        cache = Cache(storage.cache, [storage.disks], fetch)
        parts = urlsplit(settings.endpoint)
        address = (parts.hostname or settings.listen, parts.port or settings.port)
        send = file_sender(address, host_id, token, CAPTURE_DEADLINE_S)
        kernel = kernel_at_hand(Path(settings.packages))
        hypervisor = Qemu(home, host_network.open_tap, accelerator=settings.accelerator, kernel=kernel)
        network, disks = LocalNetwork(host_network), LocalDisks(storage.disks, cache, send, desk.whole, storage.kept)
        volumes = VolumeFiles(storage.volumes, cache.volume, storage.kept is None)
    capabilities = _capabilities(settings, hypervisor, disks, store_identity(storage.disks, storage.kept is None))
    lease = home / LEASE_FILE
    return Parts(
        desk,
        hypervisor,
        network,
        disks,
        reached,
        capabilities,
        volumes,
        Registration(home),
        lambda: read_lease(lease),
    )


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a host keeps what must not be lost: below its own directory, or below the one that all hosts share."""

    disks: Path
    volumes: Path
    cache: Path
    kept: Path | None  # disks of machines that left without them; None: they are shared, and need not be kept aside

    @classmethod
    def of(cls, settings: config.Settings, home: Path) -> Storage:
        """Raises Unavailable for a shared directory that is not there."""
        if not settings.shared:
            return cls(home / "disks", home / "volumes", home / "cache", home / "left")
        root = Path(settings.shared)
        store_identity(root / "disks", shared=True)
        return cls(root / "disks", root / "volumes", root / "cache", None)


def _capabilities(settings: config.Settings, hypervisor: Hypervisor, disks: Disks, disk_store: str) -> Capabilities:
    probed = hypervisor.probe()
    simulated = settings.hypervisor == "simulated"
    return Capabilities(
        vcpus=SIMULATED_VCPUS if simulated else os.cpu_count() or 1,
        memory_mib=SIMULATED_MEMORY_MIB if simulated else _memory_mib(),
        disk_gib=disks.size_gib(),
        accelerator=probed.accelerator,
        accelerator_note=probed.note,
        hypervisor=hypervisor.name,
        hypervisor_version=probed.version,
        hostname=socket.gethostname(),
        address=settings.listen,
        disk_store=disk_store,
    )


def _memory_mib() -> int:
    with open("/proc/meminfo") as file:
        return int(file.readline().split()[1]) // KIB_PER_MIB


def resolvers() -> list[tuple[str, int]]:
    """The host's own name servers, which guests are relayed to."""
    found = []
    try:
        with open("/etc/resolv.conf") as file:
            found = [line.split()[1] for line in file if line.startswith("nameserver") and len(line.split()) > 1]
    except OSError:
        log.warn("resolvers_unknown")
    return [(address, 53) for address in found]


if __name__ == "__main__":
    main()
