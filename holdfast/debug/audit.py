"""Where intent, store and the hosts' reports disagree: coded findings, each naming its objects.

The store is read in one snapshot and nothing is changed. What a machine itself shows (processes, links,
rules, files) is looked at by daemon/audit, on that machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import AUDIT_GRACE_S
from holdfast.control.operations.image_file import image_path
from holdfast.control.store.audit import AuditFacts, audit_facts
from holdfast.control.store.database import Tx
from holdfast.domain.desired import Power
from holdfast.domain.host import PassageKind
from holdfast.domain.instance import Instance, InstanceState
from holdfast.domain.observed import Phase


class Finding(msgspec.Struct, frozen=True):
    """One disagreement. `code` is published and permanent (docs/operators/audit.md)."""

    code: str
    object: str
    words: str


def store_audit(tx: Tx, images: Path) -> list[Finding]:
    """Every finding that the store and the image directory show."""
    facts = audit_facts(tx)
    found = [
        *_allocations(facts),
        *_passages(facts),
        *_instances(facts),
        *_ports(facts),
        *_hosts(facts),
        *_images(facts, images),
    ]
    return sorted(found, key=lambda finding: (finding.code, finding.object))


def _allocations(facts: AuditFacts) -> Iterator[Finding]:
    rows = {row.id: row for row in facts.instances}
    for held in facts.allocations:
        row = rows.get(held.instance_id)
        if row is None or not row.host_id:
            yield Finding("allocation-orphaned", held.instance_id, f"room is held on {held.host_id} for nothing there")
        elif row.host_id != held.host_id:
            yield Finding("allocation-elsewhere", row.id, f"room is held on {held.host_id}, it is on {row.host_id}")
    holders = {held.instance_id for held in facts.allocations}
    for row in facts.instances:
        if row.host_id and row.id not in holders:
            yield Finding("allocation-missing", row.id, f"it is on {row.host_id} and holds no room there")


def _passages(facts: AuditFacts) -> Iterator[Finding]:
    """An instance is on its way because an act moves it, or because its owner may send it back."""
    rows, busy = {row.id: row for row in facts.instances}, {act.resource_id for act in facts.open_acts}
    for held in facts.passages:
        row = rows.get(held.instance_id)
        returns = held.kind is PassageKind.RETURN
        if row is None or (row.old_flavor is None if returns else held.instance_id not in busy):
            yield Finding("passage-orphaned", held.instance_id, f"room is held on {held.target_id} and nobody comes")


def _instances(facts: AuditFacts) -> Iterator[Finding]:
    busy = {act.resource_id for act in facts.open_acts}
    for row in facts.instances:
        if row.state in (InstanceState.BUILDING, InstanceState.DELETING) and row.id not in busy:
            yield Finding("act-missing", row.id, f"it is {row.state} and nothing works on it")
        yield from _power(facts, row, row.id in busy)
    for act in facts.open_acts:
        late_us = facts.now_us - act.deadline_us
        if act.deadline_us and late_us > AUDIT_GRACE_S * SECOND_US:
            yield Finding("act-overdue", act.id, f"{act.kind} of {act.resource_id} is {late_us // SECOND_US} s late")


def _power(facts: AuditFacts, row: Instance, busy: bool) -> Iterator[Finding]:
    """A settled instance is seen as it was asked for, but for the moment in which a host reports."""
    seen = facts.observations.get(row.id)
    settled = row.state is InstanceState.READY and not busy
    if not settled or facts.now_us - row.updated_us < AUDIT_GRACE_S * SECOND_US:
        return
    wanted = {Power.RUNNING: Phase.RUNNING, Power.STOPPED: Phase.STOPPED, Power.PAUSED: Phase.PAUSED}[row.power]
    if seen is None or seen.phase != wanted:
        yield Finding("power-differs", row.id, f"asked to be {wanted}, seen {seen.phase if seen else 'nowhere'}")


def _ports(facts: AuditFacts) -> Iterator[Finding]:
    living = {row.id for row in facts.instances if row.state is not InstanceState.DELETED}
    for port_id, instance_id in facts.plugged:
        if instance_id not in living:
            yield Finding("port-orphaned", port_id, f"it is plugged into {instance_id}, which is gone")
    ports = set(facts.port_ids)
    for floating_id, port_id in facts.floating:
        if port_id and port_id not in ports:
            yield Finding("floating-orphaned", floating_id, f"it leads to port {port_id}, which is gone")
    for address, port_id in facts.addresses:
        if port_id not in ports:
            yield Finding("address-orphaned", address, f"it is held by port {port_id}, which is gone")


def _hosts(facts: AuditFacts) -> Iterator[Finding]:
    for host in facts.hosts:
        if not host.is_up(facts.now_us):
            yield Finding("host-silent", host.name, "its agent has not reported lately")
        for stranger in host.unknown:
            yield Finding("machine-unknown", stranger, f"found on {host.name} and asked for by nobody; left alone")
        for problem in host.problems:
            yield Finding("host-problem", host.name, problem)


def _images(facts: AuditFacts, directory: Path) -> Iterator[Finding]:
    for image in facts.images:
        if image.has_bytes and not image_path(directory, image).is_file():
            yield Finding("image-without-file", image.id, "it is active and its file is missing")
