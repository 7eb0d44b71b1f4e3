"""Switches off the machines of hosts that are lost, or that an operator asked for, and writes down what was seen.

A switch may take minutes to answer, so each is asked in a thread of its own. What comes of it is a row: evidence that
the power is off, or the words of the failure. Whether the host is fenced by it is decided elsewhere
(operations/host/fencing). Two replicas that ask the same switch at once only ask twice.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from holdfast.base import log as logs
from holdfast.base.clock import SECOND_US
from holdfast.base.config import Settings
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import FENCE_AGAIN_S, FENCE_AT_ONCE, FENCE_LOOK_S, HOST_DOWN_S
from holdfast.control.fencing.driver import Power
from holdfast.control.fencing.power import Seen, machine_off
from holdfast.control.operations.host.fence_config import fence_config_fetch
from holdfast.control.operations.host.fencing import fence_try
from holdfast.control.operations.identity.keys import Keyring
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.fencing.clock import clock_watched
from holdfast.control.store.fencing.host_fence import HostFence, host_fence_tried, host_fences
from holdfast.control.store.fencing.host_lease import leases_by_host, proof_add
from holdfast.control.store.host import host_fetch, hosts_list
from holdfast.domain.host import Host, lost_too_many
from holdfast.domain.lease import ClockWatch, HostLease, HostPhase, Proof, nobody

log = logs.get(__name__)


class PowerFencing:
    """One per replica."""

    name = "power_fencing"
    description = "switches off the machines of hosts that are lost"
    period_s = float(FENCE_LOOK_S)

    def __init__(self, store: Database, settings: Settings, keyring: Keyring) -> None:
        self._store, self._settings, self._keyring = store, settings, keyring
        self._pool = ThreadPoolExecutor(FENCE_AT_ONCE, "fence")
        self._asked: dict[str, Future[None]] = {}

    def tick(self) -> Counter[str]:
        fences = self._store.read(host_fences)
        if not fences:
            return Counter()
        hosts, leases, watch, now_us = self._store.read(
            lambda tx: (hosts_list(tx), leases_by_host(tx), clock_watched(tx), tx.now_us)
        )
        by_itself = self._settings.evacuate == "auto" and not lost_too_many(hosts, now_us)
        asked = 0
        for host in hosts:
            fence, lease = fences.get(host.id), leases.get(host.id) or nobody(host.id)
            if fence is None or not _is_due(host, lease, fence, watch if by_itself else None, now_us):
                continue
            if host.id not in self._asked or self._asked[host.id].done():
                self._asked[host.id] = self._pool.submit(self._switch_off, host.id, host.name)
                asked += 1
        return +Counter(switched=asked)

    def _switch_off(self, host_id: str, name: str) -> None:
        try:
            config = self._store.read(lambda tx: fence_config_fetch(tx, self._keyring, host_id))
            seen = machine_off(config, name)
            self._store.write(partial(_note, host_id, seen))
        except HoldfastError as err:
            log.warn("fence_failed", host=name, reason=err.message)
            self._store.write(partial(host_fence_tried, host_id=host_id, words=err.message))
        except Exception:  # the boundary of one switch: it is asked again
            log.exception("fence_bug", host=name)


def _is_due(host: Host, lease: HostLease, fence: HostFence, watch: ClockWatch | None, now_us: int) -> bool:
    """Whether to ask the switch now; without a `watch` only where somebody asked for it."""
    if lease.phase is HostPhase.FENCED or now_us - fence.tried_us < FENCE_AGAIN_S * SECOND_US:
        return False
    if fence.asked_us > fence.tried_us:
        return True
    if watch is None or not host.is_lost(now_us):
        return False
    return lease.lapsed(watch, now_us) if lease.enforced else not watch.left_s(host.reported_us, HOST_DOWN_S, now_us)


def _note(host_id: str, seen: Seen, tx: Tx) -> None:
    words = f"{seen.kind}: power {seen.power.value} after {seen.tries} tries; {seen.answer}".rstrip("; ")
    host_fence_tried(tx, host_id, words)
    host = host_fetch(tx, host_id)
    if host is not None and seen.power is Power.OFF:
        proof_add(tx, host_id, Proof.POWER, "", words)
        fence_try(tx, host)
