"""What the end of a build says of the hosts that had it.

A failure is a host's own only where another host then built the same server: an image or a flavor that no host can
make is nobody's. A host with HOST_BUILDS_FAILED of them in a row is shunned: it is chosen where no other host would
do, and once each HOST_SHUNNED_S, until it has built something or somebody enabled it.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.base import log as logs
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_fetch, host_name
from holdfast.control.store.placement.build_failures import build_failure_add, build_failures_forget

log = logs.get(__name__)


def build_ended(tx: Tx, host_id: str, failed: Mapping[str, str]) -> None:
    """A host built a server that others, by id, had failed to, for these reasons."""
    for other, reason in failed.items():
        if (host := host_fetch(tx, other)) is None or other == host_id:
            continue
        found = build_failure_add(tx, other, reason)
        if found.are_many:
            log.warn("host_shunned", host=host.name, failures=found.count, reason=reason, next="holdfast host list")
    if build_failures_forget(tx, host_id):
        log.info("host_builds_again", host=host_name(tx, host_id))
