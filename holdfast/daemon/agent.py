"""The agent process of one host: `python -m holdfast.daemon.agent --state DIR --host ID --name NAME`.

It may be killed at any moment: guests run on, and the next one adopts what it finds.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import time
from pathlib import Path

from holdfast.base import config
from holdfast.base import log as logs
from holdfast.base.clock import SystemClock
from holdfast.base.limits import CAPTURE_DEADLINE_S
from holdfast.daemon.places import Places
from holdfast.daemon.seats import endpoint_for, hosts_here, network_of, reach_for, seat_of
from holdfast.daemon.storage import Storage, storage_of
from holdfast.domain.observed import Capabilities
from holdfast.host.agent.agent import Agent, Parts
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.link import Link
from holdfast.host.agent.parts import Disks, Network
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.registration import Registration
from holdfast.host.dial import ControlPlane
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
    with logs.bind(host=options.name):
        parts = make_parts(settings, places, options.name, options.host)
        speaks_for = parts.registration
        control = control_of(places, settings, options.name, options.host)
        agent = Agent(lambda: Link(control, lambda: speaks_for.number), parts)
        if settings.control:
            from holdfast.daemon.joining.membership import stay

            stay(control, home)
        signal.signal(signal.SIGTERM, lambda *_: agent.stop())
        log.info("agent_started", hypervisor=parts.hypervisor.name, accelerator=parts.capabilities.accelerator)
        agent.run()
        log.info("agent_stopped")
    os._exit(0)  # threads may be in the middle of an act; what they did is found again by the next one


def control_of(places: Places, settings: config.Settings, name: str, host_id: str) -> ControlPlane:
    """The way to it of one host of this machine."""
    return ControlPlane(endpoint_for(settings, seat_of(places, name)), host_id, places.host(name))


def make_parts(settings: config.Settings, places: Places, name: str, host_id: str) -> Parts:
    """Choose the drivers. Unavailable when a shared directory is not there: nothing is written before it is."""
    home, desk = places.host(name), Desk(host_id)
    storage, lease = storage_of(home), home / LEASE_FILE
    identity = storage.identity
    choose = _simulated if settings.hypervisor == "simulated" else _real
    hypervisor, network, disks, volumes = choose(settings, places, name, desk, storage)
    return Parts(
        desk=desk,
        hypervisor=hypervisor,
        network=network,
        disks=disks,
        reached=ReachedFiles(home / "reached"),
        capabilities=_capabilities(settings, places, name, hypervisor, disks, identity),
        volumes=volumes,
        registration=Registration(home),
        lease=lambda: read_lease(lease),
    )


Drivers = tuple[Hypervisor, Network, Disks, VolumeFiles]


def _simulated(settings: config.Settings, places: Places, name: str, desk: Desk, storage: Storage) -> Drivers:
    from holdfast.host.agent.simulated import SimulatedDisks, SimulatedNetwork, blank_image
    from holdfast.host.hypervisor.simulated import Simulated

    volumes = VolumeFiles(storage.volumes, blank_image, storage.kept is None)
    return Simulated(places.host(name)), SimulatedNetwork(), SimulatedDisks(), volumes


def _real(settings: config.Settings, places: Places, name: str, desk: Desk, storage: Storage) -> Drivers:
    from holdfast.host.agent.local import LocalDisks, LocalNetwork, file_sender
    from holdfast.host.hypervisor.qemu.machines import Qemu
    from holdfast.host.imagebuild.packages import kernel_at_hand
    from holdfast.host.imagecache.cache import Cache
    from holdfast.host.imagecache.fetch import HttpFetch, NearFetch, find_in

    home, control = places.host(name), control_of(places, settings, name, desk.host_id)
    host_network = network_of(places, settings, name, resolvers())
    host_network.claim()
    host_network.resume()
    far = HttpFetch(control, SystemClock(), time.sleep)
    cache = Cache(storage.cache, [storage.disks], NearFetch(find_in(settings.state_path / "images"), far))
    send = file_sender(control, CAPTURE_DEADLINE_S)
    kernel = kernel_at_hand(Path(settings.packages))
    hypervisor = Qemu(home, host_network.open_tap, accelerator=settings.accelerator, kernel=kernel)
    disks = LocalDisks(storage.disks, cache, send, desk.whole, storage.kept)
    return (
        hypervisor,
        LocalNetwork(host_network),
        disks,
        VolumeFiles(storage.volumes, cache.volume, storage.kept is None),
    )


def _capabilities(
    settings: config.Settings, places: Places, name: str, hypervisor: Hypervisor, disks: Disks, disk_store: str
) -> Capabilities:
    """What the host can do; several on one machine have an equal part of it each."""
    seat = seat_of(places, name)
    share = len(hosts_here(places)) if seat else 1
    probed = hypervisor.probe()
    simulated = settings.hypervisor == "simulated"
    return Capabilities(
        vcpus=SIMULATED_VCPUS if simulated else max(1, (os.cpu_count() or 1) // share),
        memory_mib=SIMULATED_MEMORY_MIB if simulated else _memory_mib() // share,
        disk_gib=disks.size_gib(),
        accelerator=probed.accelerator,
        accelerator_note=probed.note,
        hypervisor=hypervisor.name,
        hypervisor_version=probed.version,
        hostname=socket.gethostname(),
        address=reach_for(settings, seat).tunnel or settings.listen,
        processor=_processor() if probed.accelerator == "kvm" else "",
        disk_store=disk_store,
    )


def _processor() -> str:
    """The model's name; machines without one (not x86) are alike only where they say nothing else."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


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
