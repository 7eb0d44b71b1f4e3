"""Fences hosts that are proved dead, and evacuates what they ran.

It acts on nothing that it did not see itself for a whole lease: a control plane that was away, or frozen, finds every
host silent, and none of them dead. When more than HOSTS_LOST_MAX of the hosts vanish at once it stops, and says so.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US, Clock
from holdfast.base.config import Settings
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import (
    CLOCK_STEP_S,
    FENCE_LOOK_S,
    HOST_DOWN_S,
    HOST_LEASE_S,
    LEASE_MARGIN_S,
    OPERATIONS_PER_TICK,
    RECONCILE_PERIOD_S,
)
from holdfast.control.operations.host.evacuation import in_order
from holdfast.control.operations.host.fencing import fence_try
from holdfast.control.operations.server.evacuate import server_evacuate_begin
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.fencing.clock import clock_watch_note
from holdfast.control.store.fencing.host_fence import host_fences
from holdfast.control.store.fencing.host_lease import hosts_are_well, leases_by_host
from holdfast.control.store.host import host_fetch, hosts_list
from holdfast.control.store.instance import instances_to_evacuate
from holdfast.domain.credentials import Credentials
from holdfast.domain.host import Host, lost_too_many
from holdfast.domain.lease import NOBODY_LOOKED, ClockWatch, HostLease, HostPhase, nobody

log = logs.get(__name__)


class Evacuations:
    """Automatic evacuation, where the setting `evacuate` is auto."""

    name = "evacuations"
    description = "fences hosts whose lease lapsed, and starts what they ran elsewhere"
    period_s = float(FENCE_LOOK_S)

    def __init__(self, store: Database, settings: Settings, clock: Clock) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self._looked_s = 0.0
        self._ahead_s = 0.0  # the store's clock, of this process's own
        self._watch = NOBODY_LOOKED
        self._braked = False

    def tick(self) -> Counter[str]:
        began_s = self._clock.monotonic_s()
        hosts, is_awaited, now_us = self._store.read(_look)  # raises while the store is away, which is a gap
        self._look_at_clock(began_s, now_us)
        if is_awaited:
            self._store.write(lambda tx: clock_watch_note(tx, self._watch))
        steady = not self._watch.left_s(0, HOST_LEASE_S + LEASE_MARGIN_S, now_us)
        if self._settings.evacuate != "auto" or not steady or self._brake([host for host, _ in hosts], now_us):
            return Counter()
        done: Counter[str] = Counter()
        for host, lease in hosts:
            fenced = lease.phase is HostPhase.FENCED
            if _is_silent(host, lease, now_us) and lease.enforced:
                done["fenced"] += (fenced := self._store.write(partial(_fence, host.id)))
            while fenced:
                begun = self._store.write(partial(self._evacuate, host.id))
                done += begun
                if begun["evacuations"] < OPERATIONS_PER_TICK:
                    break  # the others wait for something
        return +done

    def _look_at_clock(self, began_s: float, now_us: int) -> None:
        """Begin to watch anew where this process did not look for a while, or the store's clock was set."""
        now_s, ahead_s = self._clock.monotonic_s(), now_us / SECOND_US - began_s
        gap = not self._looked_s or now_s - self._looked_s > RECONCILE_PERIOD_S
        was_set = abs(ahead_s - self._ahead_s) > CLOCK_STEP_S
        self._watch = ClockWatch(now_us if gap or was_set else self._watch.since_us, now_us)
        self._looked_s, self._ahead_s = now_s, ahead_s

    def _brake(self, hosts: list[Host], now_us: int) -> bool:
        braked = lost_too_many(hosts, now_us)
        if braked != self._braked:
            self._braked = braked
            if braked:
                lost = ", ".join(host.name for host in hosts if host.is_lost(now_us))
                log.error("evacuation_braked", lost=lost, hosts=len(hosts))
        return braked

    def _evacuate(self, host_id: str, tx: Tx) -> Counter[str]:
        done: Counter[str] = Counter()
        for row in in_order(instances_to_evacuate(tx, host_id))[:OPERATIONS_PER_TICK]:
            by = Credentials(row.user_id, "", "", project_id=row.project_id)
            try:
                tx.attempt(partial(server_evacuate_begin, tx, self._settings, row, by, ""))
            except HoldfastError as err:
                log.debug("not_evacuated", instance=row.id, reason=err.message)
            else:
                done["evacuations"] += 1
        return done


def _look(tx: Tx) -> tuple[list[tuple[Host, HostLease]], bool, int]:
    """Every host with its lease, none where all is well, which is nearly always; and whether anything that is to be
    done about one waits for time to be seen to pass."""
    if hosts_are_well(tx, tx.now_us - HOST_DOWN_S * SECOND_US):
        return [], False, tx.now_us
    leases, switches = leases_by_host(tx), host_fences(tx)
    hosts = [(host, leases.get(host.id) or nobody(host.id)) for host in hosts_list(tx)]
    silent = [(host, lease) for host, lease in hosts if _is_silent(host, lease, tx.now_us)]
    return hosts, any(lease.enforced or host.id in switches for host, lease in silent), tx.now_us


def _is_silent(host: Host, lease: HostLease, now_us: int) -> bool:
    return host.is_lost(now_us) and lease.phase is not HostPhase.FENCED


def _fence(host_id: str, tx: Tx) -> bool:
    host = host_fetch(tx, host_id)
    return host is not None and not fence_try(tx, host)
