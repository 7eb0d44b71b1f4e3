"""What must hold at every instant, read from the world: what runs on the hosts, and raw rows. Never from an answer.

`World` is told of every machine that begins or ends. The rows are looked at after each event that changed them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.clockwork import Violation, loop

if TYPE_CHECKING:
    from tests.sim.disks import Disk
    from tests.sim.hosts import SimHost

AT_EVERY_COMMIT = {
    "I3 room is held for nothing there": """
        SELECT a.instance_id FROM allocation a LEFT JOIN instance i ON i.id = a.instance_id
        WHERE i.id IS NULL OR i.host_id != a.host_id""",
    "I3 an instance holds no room on its host": """
        SELECT i.id FROM instance i LEFT JOIN allocation a ON a.instance_id = i.id
        WHERE i.host_id != '' AND a.instance_id IS NULL""",
    "I3 more is promised than there is": """
        SELECT h.name FROM host h JOIN (
            SELECT host_id, memory_mib FROM allocation UNION ALL SELECT target_id, memory_mib FROM passage
        ) a ON a.host_id = h.id WHERE h.capabilities IS NOT NULL GROUP BY h.id
        HAVING sum(a.memory_mib) > json_extract(h.capabilities, '$.memory_mib') - 512""",
    "a way that nobody goes": """
        SELECT p.instance_id FROM passage p JOIN instance i ON i.id = p.instance_id
        LEFT JOIN operation o ON o.resource_id = i.id AND o.state = 'open'
        WHERE p.source_id != i.host_id AND p.kind != 'return' OR p.kind != 'return' AND o.id IS NULL""",
    "I4 an address on two ports": """
        SELECT address FROM subnet_address WHERE port_id IS NOT NULL GROUP BY subnet_id, address HAVING count(*) > 1""",
    "I4 a MAC on two ports": "SELECT mac FROM port GROUP BY network_id, mac HAVING count(*) > 1",
    "I8 a port of a server that is deleted": """
        SELECT p.id FROM port p JOIN instance i ON i.id = p.instance_id WHERE i.state = 'deleted'""",
    "I13 two acts at once on one thing": """
        SELECT resource_id FROM operation WHERE state = 'open' GROUP BY resource_id HAVING count(*) > 1""",
    "anti-affinity is broken": """
        SELECT i.group_id FROM instance i JOIN server_group g ON g.id = i.group_id
        WHERE g.policy = 'anti-affinity' AND i.host_id != '' GROUP BY i.group_id, i.host_id
        HAVING count(*) > max(g.max_per_host)""",
}
AFTER_A_THAW_S = 5.0
"""For so long a host that was frozen may have guests that its keeper is about to end, each KEEPER_LOOK_S at most."""
ENDED_WITHIN_S = 0.6
"""KEEPER_LOOK_S, and the moment of the kill."""
_ROWS = " UNION ALL ".join(f"SELECT '{name}', x.* FROM ({sql}) x" for name, sql in AT_EVERY_COMMIT.items())
_ENDED = "SELECT id, state, step, epoch, updated_us FROM operation WHERE state != 'open'"
_GONE = "SELECT id FROM instance WHERE state = 'deleted'"


class World:
    """What runs where, and what was seen of the rows."""

    def __init__(self, raw: sqlite3.Connection, locks: bool, seen: Callable[[str], None]) -> None:
        self.raw, self.locks, self.seen = raw, locks, seen
        self.running: dict[str, set[SimHost]] = defaultdict(set)
        self.disks: dict[tuple[str, str], Disk] = {}  # by the place where they are, and the instance
        self.disks_aside: dict[tuple[str, str], Disk] = {}
        self.moved_now = False
        self._version = -1
        self._gone: set[str] = set()
        self._ended: dict[str, tuple[object, ...]] = {}

    # machines

    def moved(self, host: SimHost, instance_id: str, runs: bool) -> None:
        """A machine began or ended."""
        hosts = self.running[instance_id]
        if runs == (host in hosts):
            return
        loop().note(f"{host.name} {'runs' if runs else 'runs no more'} {instance_id[:8]}")
        (hosts.add if runs else hosts.discard)(host)
        self.moved_now = True

    def locked(self, host: SimHost, instance_id: str) -> str:
        """Which other host holds the disk, where disks have locks."""
        if not self.locks:
            return ""
        others = sorted(other.name for other in self.running[instance_id] if other is not host)
        if others:
            self.seen("disk lock refused a second copy")
        return others[0] if others else ""

    def copies(self, instance_id: str) -> list[SimHost]:
        """The hosts that it runs on now: a frozen one runs nothing, and is judged when it thaws."""
        return [host for host in self.running[instance_id] if not host.frozen]

    # judgement

    def check(self, written: bool) -> None:
        """Raise Violation if anything is as it must never be; the rows are looked at if any may have changed."""
        if self.moved_now:
            self.moved_now = False
            self.check_copies()
        if not written:
            return
        version = self.raw.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self.check_rows()

    def check_copies(self, again: bool = False) -> None:
        for instance_id in self.running:
            copies = self.copies(instance_id)
            if len(copies) + (instance_id in self._gone) <= 1:
                continue
            names = ", ".join(sorted(host.name for host in copies))
            thawing = any(loop().seconds - host.thawed_s < AFTER_A_THAW_S for host in copies)
            if thawing and not again:
                loop().at(ENDED_WITHIN_S, lambda: self.check_copies(again=True))
                self.seen("a copy of a thawed host had to be ended")
            elif instance_id in self._gone:
                raise Violation(f"I7 {instance_id} was given back as deleted, and runs on {names}")
            else:
                raise Violation(f"I1 {instance_id} runs on {names} at once")

    def check_rows(self) -> None:
        for rule, what in self.raw.execute(_ROWS):
            raise Violation(f"{rule}: {what}")
        gone = {row[0] for row in self.raw.execute(_GONE)}
        if gone != self._gone:
            self._gone = gone
            self.check_copies()
        for row in self.raw.execute(_ENDED):
            before = self._ended.setdefault(row[0], row)
            if before != row:
                raise Violation(f"I13 an act that had ended was written to again: {before} is {row}")

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self.raw.execute(statement, values).fetchall()
