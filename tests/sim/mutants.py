"""One safety mechanism removed at a time. A simulation that does not see it gone proves nothing about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import func, select, update

from holdfast.api.hosts import handlers
from holdfast.control.operations import engine, host_desired, host_report
from holdfast.control.operations.act import NEXT, Step
from holdfast.control.operations.host import fencing, holders, lease
from holdfast.control.operations.registry import ACTS
from holdfast.control.operations.server import create, evacuate, migrate, passing, placing
from holdfast.control.scheduler import place
from holdfast.control.store import operation as operations
from holdfast.control.store.fencing.host_lease import lease_fetch, proofs_of
from holdfast.control.store.host import allocation
from holdfast.domain.lease import HostLease, Proof
from holdfast.host.agent.machine import Worker
from holdfast.host.keeper import keep
from tests.sim.disks import SimDisks

Put = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Mutant:
    """`remove` takes a mechanism away; `seed` is one that is known to see it, with these kinds of faults if named."""

    name: str
    remove: Callable[[Put], None]
    seed: int
    faults: tuple[str, ...] = ()
    operators: bool = False  # whether it takes somebody who moves servers to see it


def keeper(put: Put) -> None:
    """The keeper counts down, and ends nothing."""
    put(keep, "end_guests", lambda _: 0)


def lease_waited_for(put: Put) -> None:
    """A silent host counts as dead before its lease has lapsed."""
    put(HostLease, "lapsed", lambda self, watch, now_us: True)


def clock_watched(put: Put) -> None:
    """A lease counts as lapsed by what the store's clock says, whether or not somebody set it meanwhile."""
    put(HostLease, "lapsed", lambda self, watch, now_us: now_us > self.until_us + 4_000_000)


def incarnation(put: Put) -> None:
    """Whoever speaks for a host is believed, fenced or not."""
    for module in (lease, host_report):
        put(module, "lease_refusal", lambda row, number: None)


def departed(put: Put) -> None:
    """Nobody remembers what left a host without its word."""
    for module in (holders, evacuate):
        put(module, "departed_add", lambda *args, **words: None)


def claim_with_owner(put: Put) -> None:
    """A host becomes the owner first, and the room is claimed in another transaction."""
    put(placing, "allocation_set", lambda tx, row: None)


def fencing_number(put: Put) -> None:
    """A worker that outlived its lease writes on."""

    def write(tx: Any, claimed: Any, **changes: Any) -> bool:
        values = {**changes, "updated_us": tx.now_us, "lease_until_us": 0}
        return bool(
            tx.run(update(operations.operation).where(operations.operation.c.id == claimed.id).values(**values))
        )

    put(engine, "operation_is_mine", lambda tx, claimed: True)
    put(engine, "operation_write", write)


def gone_before_given_back(put: Put) -> None:
    """A delete gives everything back without the host's word."""
    act = ACTS["server_delete"]
    steps = (Step("leave", lambda work: NEXT), *act.steps[1:])
    changed = {**ACTS, act.kind: replace(act, steps=steps)}
    put(engine.Engine, "_acts", property(lambda self: changed, lambda self, acts: None))


def right_to_run(put: Put) -> None:
    """An agent acts on what it knows without a look at lease and desk."""
    put(Worker, "_wait_for_right", lambda self, machine: None)


def shared_disk_kept(put: Put) -> None:
    """The host that began a server removes its disk when it is back, though another host has it by now."""
    put(create, "hosts_sharing_disks", lambda tx, host_id: False)


def boot_that_registered(put: Put) -> None:
    """A lease is granted to any boot of a host."""

    def renew(tx: Any, asked: Any) -> Any:
        boots = [lease_fetch(tx, each.host_id).boot_id for each in asked]
        return real(tx, [msgspec.structs.replace(each, boot_id=boot) for each, boot in zip(asked, boots, strict=True)])

    real = handlers.leases_renew
    put(handlers, "leases_renew", renew)


def apart(put: Put) -> None:
    """Members of an anti-affinity group are placed anywhere."""
    put(place, "FILTERS", tuple(check for check in place.FILTERS if check is not place._keeps_group))


def disk_adopted(put: Put) -> None:
    """A host is not told that a disk was made already, and does not find it."""
    real = host_desired._machine
    put(SimDisks, "is_made", lambda self, machine: False)
    put(host_desired, "_machine", lambda *args: msgspec.structs.replace(real(*args), disk_made=0))


def word_and_lease(put: Put) -> None:
    """A tool, or somebody, that says "off" is believed although the lease goes on."""
    real = fencing.fence_proof

    def proof(tx: Any, host: Any, held: HostLease) -> Any:
        said = {row.kind for row in proofs_of(tx, host.id, held.renewed_us - 60_000_000)}
        return (Proof.WORD, "") if Proof.WORD in said else real(tx, host, held)

    put(fencing, "fence_proof", proof)


def owner_of_reports(put: Put) -> None:
    """Any host's word that an instance is gone gives back what it held."""
    real = host_report.instance_fetch

    def fetch(tx: Any, instance_id: str) -> Any:
        row = real(tx, instance_id)
        return None if row is None else msgspec.structs.replace(row, host_id=speaker[-1], present=False)

    speaker = [""]
    settle = host_report._settle

    def heard(tx: Any, host_id: str, seen: Any) -> bool:
        speaker.append(host_id)
        put(host_report, "instance_fetch", fetch)
        return settle(tx, host_id, seen)

    put(host_report, "_settle", heard)


def left_before_taken(put: Put) -> None:
    """A server that moves cold is its target's before its source said that nothing of it runs."""
    put(migrate, "LEFT", "")


def room_on_the_way(put: Put) -> None:
    """Room that is held for servers on their way counts for nothing."""
    held = select(allocation.c.host_id, func.count(), *[func.sum(allocation.c[name]) for name in _SIZES])
    sums = held.group_by(allocation.c.host_id)
    put(placing, "allocation_sums", lambda tx: {row[0]: tuple(map(int, row[1:])) for row in tx.all(sums)})


_SIZES = ("vcpus", "memory_mib", "disk_gib")


def ends_told(put: Put) -> None:
    """Nobody tells the host that a server left, or did not come to after all, to end what it has of it."""
    put(passing, "departed_add", lambda *args, **words: None)


_LOST = ("host_lost", "link_cut", "evacuation_asked")
_SILENT = ("link_cut", "host_frozen", "agent_frozen")
_BACK = ("link_cut", "host_frozen", "evacuation_asked", "store_slow")
MUTANTS = (  # faults that a mechanism stands against are named where few seeds have enough of them
    Mutant("keeper", keeper, 11, _LOST),
    Mutant("lease_waited_for", lease_waited_for, 40),
    Mutant("clock_watched", clock_watched, 47, ("store_clock_set", "link_cut", "evacuation_asked", "host_frozen")),
    Mutant("incarnation", incarnation, 3, _SILENT),
    Mutant("departed", departed, 5, _SILENT),
    Mutant("claim_with_owner", claim_with_owner, 1),
    Mutant("fencing_number", fencing_number, 102, ("store_slow",)),
    Mutant("gone_before_given_back", gone_before_given_back, 2),
    Mutant("right_to_run", right_to_run, 5, _SILENT),
    Mutant("shared_disk_kept", shared_disk_kept, 26),
    Mutant("boot_that_registered", boot_that_registered, 5, _LOST),
    Mutant("apart", apart, 1, _BACK),
    Mutant("disk_adopted", disk_adopted, 5, _SILENT),
    Mutant("word_and_lease", word_and_lease, 5, _BACK),
    Mutant("owner_of_reports", owner_of_reports, 5, _LOST),
    Mutant("left_before_taken", left_before_taken, 4, operators=True),
    Mutant("room_on_the_way", room_on_the_way, 97, operators=True),
    Mutant("ends_told", ends_told, 5, operators=True),
)


@contextmanager
def without(mutant: Mutant | None) -> Iterator[None]:
    """Inside the block the mechanism is not there."""
    changed: list[tuple[Any, str, bool, Any]] = []

    def put(where: Any, name: str, value: Any) -> None:
        changed.append((where, name, name in vars(where), vars(where).get(name)))
        setattr(where, name, value)

    try:
        if mutant is not None:
            mutant.remove(put)
        yield
    finally:
        for where, name, was_there, value in reversed(changed):
            if was_there:
                setattr(where, name, value)
            else:
                delattr(where, name)
