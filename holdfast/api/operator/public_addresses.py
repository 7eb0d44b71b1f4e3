"""The public addresses of the whole cloud: how many are left, and who holds which."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.base import ids
from holdfast.base.clock import SECOND_US, iso_micros
from holdfast.base.errors import BadInput
from holdfast.base.limits import ADDRESS_COOL_DOWN_S, PAGE_ROWS
from holdfast.control.store.network.public import PublicAddress, public_addresses, public_pools
from holdfast.domain.address import address_parse


def public_addresses_index(call: Call) -> Reply:
    """GET public-addresses?marker=M: the pools, and PAGE_ROWS addresses; `next` is the marker of those behind."""
    after = _behind(call.argument("marker"))
    pools, found = call.services.store.read(lambda tx: (public_pools(tx), public_addresses(tx, after, PAGE_ROWS + 1)))
    page, now_us = found[:PAGE_ROWS], call.services.clock.now_us()
    return Reply(
        200,
        {
            "pools": [msgspec.to_builtins(pool) for pool in pools],
            "addresses": [_view(each, now_us) for each in page],
            "next": f"{page[-1].subnet_id}/{page[-1].address}" if len(found) > len(page) else "",
        },
    )


def _behind(marker: str) -> tuple[str, str]:
    subnet_id, _, address = marker.partition("/")
    if not marker:
        return "", ""
    if not ids.is_id(subnet_id):
        raise BadInput("marker must be the `next` of the page before")
    return subnet_id, str(address_parse(address, "marker"))


def _view(each: PublicAddress, now_us: int) -> dict[str, Any]:
    until_us = each.released_us + ADDRESS_COOL_DOWN_S * SECOND_US
    state = "held" if each.holder_id else "cooling" if until_us > now_us else "free"
    shown = {name: value for name, value in msgspec.to_builtins(each).items() if not name.endswith("_us")}
    return {
        **shown,
        "state": state,
        "since": iso_micros(each.held_us or each.released_us),
        "cooling_until": iso_micros(until_us) if state == "cooling" else None,
    }
