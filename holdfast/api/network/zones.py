"""Availability zones, as the network service speaks of them: every network and router is in each of them."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.http.call import Call
from holdfast.base.limits import ZONE_HINTS_MAX
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_zones
from holdfast.domain.address import invalid

_FIELD = "availability_zone_hints"


def zones_of(tx: Tx, call: Call) -> list[str]:
    """The cloud's own zone, and those of its hosts."""
    return sorted({call.services.settings.zone} | host_zones(tx))


def hints_check(tx: Tx, call: Call, hints: Sequence[str]) -> None:
    """BadInput for a zone that there is not, or for more than anybody means."""
    if len(hints) > ZONE_HINTS_MAX:
        raise invalid(_FIELD, f"there are more than {ZONE_HINTS_MAX}.")
    for zone in sorted(set(hints) - set(zones_of(tx, call))) if hints else ():
        raise invalid(_FIELD, f"AvailabilityZone {zone[:64]} could not be found.")
