"""A whole cloud in one thread: the real control plane, real agents' parts, simulated machines, a held clock.

`world.settle()` lets everything happen that is due, in a fixed order, until nothing changes any more. A host
that is `away` neither fetches nor reports.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from holdfast.base.config import Settings
from holdfast.base.errors import Conflict
from holdfast.base.limits import OPERATION_LEASE_S
from holdfast.control.operations.engine import Engine
from holdfast.control.operations.flavor import flavors_bootstrap
from holdfast.control.operations.host.lease import Renewal, host_register, lease_renew
from holdfast.control.operations.host_desired import host_update_since
from holdfast.control.operations.host_report import host_report_apply
from holdfast.control.operations.image import image_new
from holdfast.control.operations.network.bootstrap import network_bootstrap
from holdfast.control.operations.registry import ACTS
from holdfast.control.store.database import Database
from holdfast.control.store.fencing.clock import clock_watch_note
from holdfast.control.store.host import host_insert
from holdfast.control.store.image import image_insert
from holdfast.debug.audit import Finding, store_audit
from holdfast.domain.image import Status
from holdfast.domain.lease import ClockWatch
from holdfast.domain.observed import Capabilities, HostReport, MachineReport, Phase
from holdfast.host.agent.board import Said
from holdfast.host.agent.desk import Desk
from holdfast.host.agent.machine import Worker
from holdfast.host.agent.networking import Networking
from holdfast.host.agent.reached import ReachedFiles
from holdfast.host.agent.simulated import SimulatedDisks, SimulatedNetwork, blank_image
from holdfast.host.agent.volumes import Plugging, VolumeKeeping
from holdfast.host.hypervisor.simulated import Simulated
from holdfast.host.volumes.files import VolumeFiles
from tests.client import Answer, Client
from tests.conftest import Cloud

IMAGE = "11111111-1111-4111-8111-111111111111"
ROUNDS_MAX = 60
CAPABILITIES = Capabilities(8, 16_384, 500, "simulated", "", "simulated", "1", "h", "127.0.0.1")


class World:
    """One cloud with simulated hosts."""

    def __init__(
        self, cloud: Cloud, directory: Path, hosts: int = 1, capabilities: Capabilities = CAPABILITIES
    ) -> None:
        self.cloud, self.store, self.clock = cloud, cloud.services.store, cloud.clock
        self.store.write(flavors_bootstrap)
        known = cloud.known
        projects = {"admin_project_id": known.admin_project_id, "demo_project_id": known.demo_project_id}
        ranges = {"public_cidr": "172.24.4.0/24", "private_cidr": "10.77.0.0/24"}
        self.store.write(lambda tx: network_bootstrap(tx, **projects, **ranges))
        self.store.write(lambda tx: image_insert(tx, active_image(known.admin_project_id)))
        settings = cloud.services.settings
        self.hosts = [
            HostStandIn(self.store, settings, directory / f"h{n}", n, capabilities) for n in range(1, hosts + 1)
        ]
        self.clock.then = self.watch
        self.watch()
        self.engine = self.make_engine()
        self.demo: Client = cloud.as_user()
        self.admin: Client = cloud.as_user("admin", "admin")
        for host in self.hosts:
            host.step()

    def make_engine(self, store: Database | None = None, worker: str = "w1") -> Engine:
        return Engine(store or self.store, self.cloud.services.settings, ACTS, worker)

    def watch(self) -> None:
        """Time passes here as somebody who watches the store's clock all along sees it pass."""
        self.store.write(lambda tx: clock_watch_note(tx, ClockWatch(0, tx.now_us)))

    def settle(self, engine: Engine | None = None) -> None:
        """Let everything happen that is due."""
        for _ in range(ROUNDS_MAX):
            worked = (engine or self.engine).run_once()
            spoke = [host.step() for host in self.hosts if not host.away]
            if not worked and not any(spoke):
                return
        raise AssertionError("it does not settle")

    def pass_time(self, seconds: int) -> None:
        """Let time pass in which the control plane is there: it looks before anybody could think that it was not."""
        while seconds > 0:
            self.clock.advance_s(min(seconds, OPERATION_LEASE_S))
            seconds -= OPERATION_LEASE_S
            self.settle()

    def boot(self, name: str = "web", **words: Any) -> str:
        """Ask for a server and return its id, accepted and no more."""
        body = {"name": name, "imageRef": IMAGE, "flavorRef": "42", "networks": "auto", **words}
        answer = self.nova("POST", "/servers", {"server": body})
        assert answer.status == 202, answer.body
        return str(answer.json["server"]["id"])

    def nova(self, method: str, path: str, body: Any = None, client: Client | None = None) -> Answer:
        headers = {"openstack-api-version": "compute 2.96"}
        return (client or self.demo).request(method, f"/compute/v2.1{path}", body, headers)

    def act(self, server_id: str, word: str, argument: Any = None) -> Answer:
        return self.nova("POST", f"/servers/{server_id}/action", {word: argument})

    def server(self, server_id: str, client: Client | None = None) -> dict[str, Any]:
        answer = self.nova("GET", f"/servers/{server_id}", client=client)
        assert answer.status == 200, answer.body
        return dict(answer.json["server"])

    def status(self, server_id: str) -> str:
        answer = self.nova("GET", f"/servers/{server_id}")
        return "GONE" if answer.status == 404 else str(answer.json["server"]["status"])

    def running(self) -> dict[str, list[str]]:
        """Which hosts run what, from the hosts' own files."""
        found: dict[str, list[str]] = {}
        for host in self.hosts:
            for machine in host.hypervisor.machines().values():
                if machine.run != "stopped":
                    found.setdefault(machine.instance_id, []).append(host.name)
        return found

    def audit(self) -> list[Finding]:
        images = self.cloud.services.images
        found = self.store.read(lambda tx: store_audit(tx, images))
        return [finding for finding in found if finding.code != "image-without-file"]  # the image here has no bytes


class HostStandIn:
    """One host: the agent's own parts, stepped by hand."""

    def __init__(
        self, store: Database, settings: Settings, home: Path, number: int, capabilities: Capabilities
    ) -> None:
        self.store, self.settings, self.home, self.name = store, settings, home, f"h{number}"
        self.boots = 1
        self.host_id = f"22222222-2222-4222-8222-{number:012d}"
        self.capabilities = msgspec.structs.replace(capabilities, address=f"198.51.100.{number}")
        self.away = False
        self.deaf = False  # it reports, and does nothing of what it is told
        self.hypervisor = Simulated(home)
        digest = hashlib.sha256(b"token").hexdigest()
        store.write(lambda tx: host_insert(tx, self.host_id, self.name, "nova", digest))
        self.restart()

    def restart(self) -> None:
        """A new agent that knows nothing but what is on its disk."""
        self.incarnation = 0
        self.desk = Desk(self.host_id)
        reached = ReachedFiles(self.home / "reached")
        network = SimulatedNetwork()
        shared = bool(self.capabilities.disk_store)
        self.files = VolumeFiles(
            (self.home.parent / "shared" if shared else self.home) / "volumes", blank_image, shared
        )
        self.worker = Worker(
            self.hypervisor,
            Networking(network, self.desk),
            network,
            SimulatedDisks(),
            reached,
            Plugging(self.hypervisor, self.files),
        )
        self.keeping = VolumeKeeping(self.files, self.desk, Said(lambda word: word.id))
        self.words: dict[str, MachineReport] = {}

    def die(self) -> None:
        """Lose power: everything that ran here is gone, and nobody says so."""
        self.away = True
        self.end_guests()

    def end_guests(self) -> None:
        """As its keeper does when the lease lapsed."""
        for machine in self.hypervisor.machines().values():
            self.hypervisor.stop(machine.instance_id, 0)

    def come_back(self) -> None:
        """Boot again, with the same disk."""
        self.away = False
        self.boots += 1
        self.restart()

    def renew(self) -> None:
        """Register if that is due, and renew the lease, as agent and keeper do."""
        boot = f"boot-{self.boots}"
        try:
            self.store.write(lambda tx: lease_renew(tx, self._renewal(boot)))
        except Conflict:
            registered = self.store.write(lambda tx: host_register(tx, self.host_id, boot, self.name))
            self.incarnation = registered.incarnation
            self.desk.reset()
            self.words.clear()
            self.store.write(lambda tx: lease_renew(tx, self._renewal(boot)))

    def _renewal(self, boot: str) -> Renewal:
        return Renewal(self.host_id, self.incarnation, boot, self.settings.evacuate == "auto")

    def step(self) -> bool:
        """Fetch, reconcile everything, report; returns whether anything was new."""
        self.renew()
        update = self.store.read(lambda tx: host_update_since(tx, self.host_id, self.desk.version))
        before, files_before = dict(self.words), self.keeping.said.everything()
        if update is not None:
            self.desk.apply(update)
        for wanted in self.desk.volumes():
            self.keeping.said.say(self.keeping.reconcile(wanted))
        seen = dict(self.hypervisor.machines())
        for instance_id in () if self.deaf else self.desk.instance_ids():
            machine = self.desk.machine(instance_id)
            assert machine is not None
            self.words[instance_id], _ = self.worker.reconcile(machine, seen.get(instance_id))
        files = self.keeping.said.everything()
        self.report()
        self.keeping.heard(files)
        for instance_id, word in list(self.words.items()):
            machine = self.desk.machine(instance_id)
            if word.phase is Phase.ABSENT and machine is not None:
                self.desk.forget(machine)
                del self.words[instance_id]
        return update is not None or self.words != before or files != files_before

    def say(self, server: str, phase: Phase | None) -> None:
        """Hear what it is told, and say how far it came with a machine; None: say nothing."""
        update = self.store.read(lambda tx: host_update_since(tx, self.host_id, self.desk.version))
        if phase is None or update is None:
            return
        self.desk.apply(update)
        wanted = self.desk.machine(server)
        assert wanted is not None and wanted.present
        self.report(MachineReport(server, wanted.generation, wanted.boot, wanted.disk, phase))

    def report(self, *extra: MachineReport, full: bool = True) -> None:
        """Say what this host is."""
        words = HostReport(
            full=full,
            desired_version=self.desk.version,
            capabilities=self.capabilities,
            machines=(*self.words.values(), *extra),
            floating=(),
            images=(),
            disk_free_gib=100,
            unknown=(),
            volumes=self.keeping.said.everything(),
        )
        self.store.write(lambda tx: host_report_apply(tx, self.host_id, words))


def active_image(project_id: str) -> Any:
    """An image that is active without any bytes: simulated disks read none."""
    words = {"name": "tiny", "visibility": "public", "disk_format": "raw", "container_format": "bare"}
    image = image_new_at(project_id, words)
    return msgspec.structs.replace(
        image, status=Status.ACTIVE, content="raw", upload="u", size_bytes=1, sha512="0" * 128
    )


def image_new_at(project_id: str, words: dict[str, Any]) -> Any:
    """A queued image with the id that tests know."""

    class Moment:
        now_us = 1_800_000_000_000_000

    return image_new(Moment(), project_id, IMAGE, **words)  # type: ignore[arg-type]
