"""What rest is after the healing, and emptiness after everything was deleted: read from hosts' disks and raw rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.ids import is_id
from holdfast.host.agent.machine import ELSEWHERE
from tests.sim.clockwork import SECOND_US

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.hosts import SimHost

LOOK_S = 2.0


class Rest:
    """Looks now and then, not after each event: it reads everything."""

    def __init__(self, cluster: Cluster) -> None:
        self.c = cluster
        self._next_us = 0
        self._deleting: set[str] = set()

    def _due(self) -> bool:
        if self.c.loop.now_us < self._next_us:
            return False
        self._next_us = self.c.loop.now_us + int(LOOK_S * SECOND_US)
        return True

    def reached(self) -> bool:
        return self._due() and not self.missing()

    def missing(self) -> list[str]:
        """What is not yet as it should be."""
        rows = self.c.world.rows
        crowded = self._crowded()
        found = [
            f"{kind} of {of} is open at {step}: {why}"
            for kind, of, step, why in rows(_OPEN)
            if (kind, step) != ("server_evacuate", "room") or of not in crowded
        ]
        found += [f"{host} has not confirmed that it runs nothing of {of}" for of, host in rows(_DEPARTED)]
        found += [f"{host} is {phase}" for host, phase in rows(_PHASES)]
        found += [f"{self.c.users.asking} users still ask"] * bool(self.c.users.asking)
        if found:
            return found
        wanted, refused = {}, rows(_REFUSED)
        for instance_id, state, power, host_id in rows(_INSTANCES):
            if (instance_id,) in refused:
                continue
            runs = self._names(str(instance_id))
            host = next((h.name for h in self.c.hosts if h.host_id == host_id), "")
            if state == "deleted":
                wanted[instance_id] = []
            elif state == "ready":
                wanted[instance_id] = [] if power == "stopped" or instance_id in crowded else [host]
            elif not set(runs) <= {host}:
                found.append(f"{instance_id} is {state} on {host or 'no host'} and runs on {runs}")
        found += [
            f"{instance_id} should run on {hosts}, runs on {self._names(str(instance_id))}"
            for instance_id, hosts in wanted.items()
            if self._names(str(instance_id)) != hosts
        ]
        known = {instance_id for instance_id, *_ in rows(_INSTANCES)}
        found += [
            f"{i} runs and nobody knows it" for i, hosts in self.c.world.running.items() if hosts and i not in known
        ]
        return found or [words for words in self.c.audit() if not any(i in words for (i,) in refused)]

    def reached_without(self, lost: SimHost) -> bool:
        return self._due() and not self.waiting_without(lost)

    def waiting_without(self, lost: SimHost) -> list[str]:
        """Builds and evacuations that go on while one host is off; those that find no room without it may wait."""
        rows = self.c.world.rows
        crowded = self._crowded(lost.host_id)
        kinds = ("server_create", "server_evacuate")
        return [
            f"{kind} of {of} at {step}: {why}"
            for kind, of, step, why in rows(_OPEN)
            if kind in kinds and of not in crowded
        ]

    def _crowded(self, lost: str = "") -> set[str]:
        return {str(instance_id) for (instance_id,) in self.c.world.rows(_CROWDED.format(lost=lost))}

    def _names(self, instance_id: str) -> list[str]:
        return sorted(host.name for host in self.c.world.running.get(instance_id, ()))

    # emptiness

    def clear_away(self) -> None:
        """Everybody deletes everything, once; also what a request makes that was given up by who asked (seed 55)."""
        self.mirror_is_true()
        users = self.c.users

        def delete_all(of: str, where: str) -> None:
            accepted: set[str] = set()
            while found := {str(i) for (i,) in self.c.world.rows(of)}:
                for one in sorted(found - accepted):
                    answer = users.call("DELETE", f"{where}/{one}")
                    accepted |= {one} if answer is not None and answer.status < 300 else set()
                self.c.loop.sleep(1)

        def go() -> None:
            while True:
                delete_all(_SERVERS, "/compute/v2.1/servers")
                delete_all(_VOLUMES, "/volume/v3/volumes")
                self.c.loop.sleep(1)

        users.process.spawn(go, "clears away")

    def empty(self) -> bool:
        return self._due() and not self.left()

    def left(self) -> list[str]:
        """Everything that should not be there any more."""
        rows = self.c.world.rows
        found = [f"{what} {of}" for what, of in rows(_LEFT)]
        for host in self.c.hosts:
            for room in (host.home / "machines", host.home / "reached", (host.shared or host.home) / "volumes"):
                names = [p.name for p in room.iterdir() if is_id(p.name.removesuffix(".raw"))]
                found += [f"{room.name} of {host.name}: {name}" for name in names]
        found += [f"the disk of {instance_id}, {store}" for store, instance_id in self.c.world.disks]
        return found or self.c.audit()

    def mirror_is_true(self) -> None:
        """What the world was told equals what is on the hosts' disks."""
        for host in self.c.hosts:
            found = host.machines.machines().items()
            files = {i for i, seen in found if seen.run != "stopped" and seen.reason not in ELSEWHERE}
            told = {i for i, hosts in self.c.world.running.items() if host in hosts}
            assert files == told, f"{host.name} runs {files}, the world was told {told}"


_OPEN = "SELECT kind, resource_id, step, waiting_for FROM operation WHERE state = 'open'"
_CROWDED = """
    WITH free AS (
        SELECT h.id, 640
            - coalesce((SELECT sum(a.memory_mib) FROM allocation a WHERE a.host_id = h.id), 0)
            - coalesce((SELECT sum(p.memory_mib) FROM passage p WHERE p.target_id = h.id), 0) AS mib
        FROM host h WHERE h.enabled AND h.id != '{lost}'
    )
    SELECT w.id FROM instance w WHERE w.host_id IN ('', '{lost}') AND NOT EXISTS (
        SELECT 1 FROM free f
        WHERE f.mib + coalesce((
            SELECT max(o.memory_mib) FROM instance o WHERE o.host_id = f.id AND o.priority < w.priority AND NOT EXISTS (
                SELECT 1 FROM operation s WHERE s.resource_id = w.id AND s.state = 'open' AND s.data ->> 'shed' != ''
            )
        ), 0) >= w.memory_mib AND NOT EXISTS (
            SELECT 1 FROM instance m JOIN server_group g ON g.id = m.group_id
            LEFT JOIN passage p ON p.instance_id = m.id
            WHERE g.policy = 'anti-affinity' AND m.group_id = w.group_id AND f.id IN (m.host_id, p.target_id)
        )
    )
"""
"""Waits for room, as it should (seed 2219): no host has it free, nor from a server of lower priority; what gave its own
room away takes nobody's (seed 5003). While a host is lost for good, so does what it had."""
_INSTANCES = "SELECT id, state, power, host_id FROM instance ORDER BY id"
_SERVERS = "SELECT id FROM instance WHERE state != 'deleted'"
_VOLUMES = "SELECT id FROM volume"
_REFUSED = "SELECT instance_id FROM observation WHERE phase = 'failed' AND retryable = 0"
"""Its host gave it up for good, and says why: its owner decides."""
_DEPARTED = "SELECT instance_id, host_id FROM departed"
_PHASES = "SELECT host_id, phase FROM host_lease WHERE phase != 'member'"
_LEFT = """
    SELECT 'instance', id FROM instance WHERE state != 'deleted'
    UNION ALL SELECT 'observation', instance_id FROM observation
    UNION ALL SELECT 'allocation', instance_id FROM allocation
    UNION ALL SELECT 'port', id FROM port WHERE instance_id != ''
    UNION ALL SELECT 'address', address FROM subnet_address a JOIN port p ON p.id = a.port_id WHERE p.instance_id != ''
    UNION ALL SELECT 'volume', id FROM volume
    UNION ALL SELECT 'attachment', id FROM volume_attachment
    UNION ALL SELECT 'open act', id FROM operation WHERE state = 'open'
"""
