"""Ranges, pools and MACs: one spelling each, and pools that cover what they should."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.errors import HoldfastError
from holdfast.domain.address import (
    eui64,
    gateway_default,
    in_pools,
    is_host,
    mac_of,
    mac_parse,
    pair_parse,
    pool_size,
    pool_slice,
    pools_default,
    range_parse,
)
from holdfast.domain.subnetpool import SubnetPool, cut

SMALL = st.builds(
    lambda number, length: str(ipaddress.ip_network((number, length), strict=False)),
    st.integers(0x0A000000, 0x0AFFFFFF),
    st.integers(20, 32),
)


@given(cidr=SMALL, with_gateway=st.booleans())
def test_default_pools_hand_out_every_host_but_the_gateway(cidr: str, with_gateway: bool) -> None:
    within = range_parse(cidr)
    gateway = gateway_default(within) if with_gateway else ""
    pools = pools_default(within, gateway)
    handed = {address for pool in pools for address in pool_slice(pool, 0, pool_size(pool))}
    hosts = {str(address) for address in within if is_host(address, within)} - {gateway}
    assert handed == hosts
    assert sum(pool_size(pool) for pool in pools) == len(handed)
    assert all(in_pools(address, pools) for address in list(handed)[:8])


@given(st.text(max_size=40))
def test_whatever_is_written_is_one_canonical_form_or_refused(text: str) -> None:
    for parse in (range_parse, mac_parse, pair_parse):
        try:
            found = str(parse(text))
        except HoldfastError:
            continue
        assert str(parse(found)) == found


@given(st.uuids(), st.integers(0, 15))
def test_a_generated_mac_is_one_that_a_card_may_have(port_id: object, attempt: int) -> None:
    mac = mac_of(str(port_id), attempt)
    assert mac_parse(mac) == mac
    assert mac.startswith("fa:16:3e:")


def test_the_address_that_a_guest_makes_is_rfc_4291s() -> None:
    assert eui64(range_parse("2001:db8::/64"), "fa:16:3e:00:00:01") == "2001:db8::f816:3eff:fe00:1"


@given(st.lists(st.integers(24, 32), max_size=30))
def test_what_is_cut_from_a_pool_never_meets_and_a_full_pool_is_really_full(lengths: list[int]) -> None:
    pool = SubnetPool("i", "p", "", "", 4, ["10.0.0.0/25", "10.0.1.0/24"], 8, 32, 28, False, False, 0, 0, 0)
    taken: list[str] = []
    for length in lengths:
        whole = [place for prefix in map(ipaddress.ip_network, pool.prefixes) for place in pieces(prefix, length)]
        free = [p for p in whole if not any(p.overlaps(ipaddress.ip_network(t)) for t in taken)]
        try:
            found = cut(pool, taken, "", length)
        except HoldfastError:
            assert not free
            continue
        assert found == str(free[0]), "the first free place"
        taken.append(found)


def pieces(prefix: ipaddress.IPv4Network | ipaddress.IPv6Network, length: int) -> list[ipaddress.IPv4Network]:
    return [] if prefix.prefixlen > length else list(prefix.subnets(new_prefix=length))  # type: ignore[arg-type]
