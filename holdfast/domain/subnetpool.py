"""Subnet pools: ranges that a project's subnets are cut from, so that they never meet.

Invariant: what was cut from a pool never overlaps; `cut` finds the first free place, and the transaction that stores
the subnet read every other one of the pool.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec

from holdfast.base.errors import BadInput, Conflict
from holdfast.base.limits import POOL_PREFIXES
from holdfast.domain.address import Range, invalid, range_parse


class SubnetPool(msgspec.Struct, frozen=True):
    """Ranges to cut subnets from."""

    id: str
    project_id: str
    name: str
    description: str
    ip_version: int
    prefixes: list[str]
    min_prefixlen: int
    max_prefixlen: int
    default_prefixlen: int
    shared: bool
    is_default: bool
    created_us: int
    updated_us: int
    revision: int


def prefixes_parse(texts: Sequence[str]) -> list[str]:
    """Return the ranges, merged where they touch; BadInput unless all are of one family."""
    if not 0 < len(texts) <= POOL_PREFIXES:
        raise invalid("prefixes", f"a pool has 1 to {POOL_PREFIXES} prefixes.")
    found = [range_parse(text, "prefixes") for text in texts]
    if len({each.version for each in found}) > 1:
        raise BadInput("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", code="PrefixVersionMismatch")
    return [str(each) for each in _merged(found)]


def _merged(ranges: Sequence[Range]) -> Sequence[Range]:
    four = [each for each in ranges if isinstance(each, ipaddress.IPv4Network)]
    six = [each for each in ranges if isinstance(each, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]


def lengths_check(version: int, low: int, default: int, high: int) -> None:
    """BadInput unless the lengths of what may be cut are in order."""
    if not 0 <= low <= default <= high <= (32 if version == 4 else 128):
        message = f"Illegal prefix bounds: min_prefixlen={low}, default_prefixlen={default}, max_prefixlen={high}."
        raise BadInput(message, code="IllegalSubnetPoolPrefixBounds")


def grown_check(before: Sequence[str], after: Sequence[str]) -> None:
    """BadInput when a pool would lose a range: subnets may have been cut from it."""
    ranges = [range_parse(text) for text in after]
    for text in before:
        old = range_parse(text)
        if not any(old.version == new.version and _inside(old, new) for new in ranges):
            message = "Illegal update to prefixes: existing prefixes must be a subset of the new prefixes."
            raise BadInput(message, code="IllegalSubnetPoolPrefixUpdate")


def cut(pool: SubnetPool, used: Sequence[str], cidr: str, prefix_length: int) -> str:
    """Return the range of a new subnet: the one that is asked for, or the first free one of the length."""
    taken = sorted((range_parse(text) for text in used), key=lambda each: int(each.network_address))
    if cidr:
        return _exactly(pool, taken, range_parse(cidr))
    length = prefix_length or pool.default_prefixlen
    _length_check(pool, length)
    for text in pool.prefixes:
        whole = range_parse(text)
        if whole.prefixlen <= length and (place := _first_free(whole, taken, length)):
            return place
    raise _full(length)


def _exactly(pool: SubnetPool, taken: Sequence[Range], wanted: Range) -> str:
    _length_check(pool, wanted.prefixlen)
    free = not any(_meet(wanted, each) for each in taken)
    if not free or not any(_inside(wanted, range_parse(text)) for text in pool.prefixes):
        message = "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes."
        raise Conflict(message, code="SubnetAllocationError")
    return str(wanted)


def _first_free(whole: Range, taken: Sequence[Range], length: int) -> str:
    """First fit: the next aligned place after each taken range, in order."""
    size = 1 << (whole.max_prefixlen - length)
    place, end = int(whole.network_address), int(whole.broadcast_address)
    for each in taken:
        first, last = int(each.network_address), int(each.broadcast_address)
        if each.version == whole.version and last >= place and first < place + size:
            place = -(-(last + 1) // size) * size
    return f"{type(whole.network_address)(place)}/{length}" if place + size - 1 <= end else ""


def _inside(inner: Range, outer: Range) -> bool:
    same = inner.version == outer.version and inner.prefixlen >= outer.prefixlen
    return same and inner.network_address in outer


def _meet(one: Range, other: Range) -> bool:
    return one.version == other.version and one.overlaps(other)


def _length_check(pool: SubnetPool, length: int) -> None:
    if length < pool.min_prefixlen:
        message = f"Unable to allocate subnet with prefix length {length}, minimum allowed prefix is "
        raise BadInput(message + f"{pool.min_prefixlen}.", code="MinPrefixSubnetAllocationError")
    if length > pool.max_prefixlen:
        message = f"Unable to allocate subnet with prefix length {length}, maximum allowed prefix is "
        raise BadInput(message + f"{pool.max_prefixlen}.", code="MaxPrefixSubnetAllocationError")


def _full(length: int) -> Conflict:
    message = f"Failed to allocate subnet: Insufficient prefix space to allocate subnet size /{length}."
    return Conflict(message, code="SubnetAllocationError")
