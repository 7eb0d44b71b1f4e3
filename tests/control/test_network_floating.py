"""Floating addresses: taken and attached in one act, never stolen, given back with what they were made for."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from holdfast.base.errors import BadInput, Conflict, HoldfastError, NoCapacity, NotFound, Unavailable
from holdfast.base.ids import new_id
from holdfast.control.operations.network.floating_ip import (
    floating_ip_associate,
    floating_ip_disassociate,
    floating_ip_observed,
    floating_ip_release,
    floating_ip_take,
)
from holdfast.control.operations.network.port import port_delete
from holdfast.control.operations.network.port_instance import (
    host_ports_unseen,
    instance_ports_observed,
    instance_ports_release,
    port_bind,
    port_unbind,
)
from holdfast.control.operations.network.router import router_interface_remove
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.network.floating_ip import floating_ip, floating_ip_fetch, floating_ips_of_ports
from holdfast.control.store.network.port import ports_fetch
from holdfast.control.store.network.subnet_address import subnet_address
from holdfast.domain.floating_ip import FloatingIp, FloatingWanted, status
from holdfast.domain.port import FixedWanted
from tests.conftest import HeldClock
from tests.control.networks import Site, address_of, make_port, make_site


def take(tx: Tx, site: Site, **more: object) -> FloatingIp:
    return floating_ip_take(tx, FloatingWanted(site.project_id, site.outside.id, **more))  # type: ignore[arg-type]


def again(tx: Tx, floating: FloatingIp) -> FloatingIp:
    found = floating_ip_fetch(tx, floating.id)
    assert found is not None
    return found


def test_thirty_guests_race_for_ten_addresses_and_ten_have_one_each(store: Database) -> None:
    """NET-01, A3: nobody's address moves, nobody has two, and the losers are told."""
    site = store.write(lambda tx: make_site(tx, public="172.24.4.0/28"))
    ports = [store.write(lambda tx: make_port(tx, site.network)) for _ in range(30)]
    outcomes: dict[str, str] = {}

    def guest(port_id: str) -> None:
        while True:
            try:
                outcomes[port_id] = store.write(lambda tx: take(tx, site, port_id=port_id)).address
            except Unavailable:
                if store.is_sqlite:
                    raise
                continue
            except NoCapacity:
                outcomes[port_id] = ""
            return

    store.write(lambda tx: [take(tx, site) for _ in range(2)])  # 13 in the pool, the router has one: ten are left
    threads = [threading.Thread(target=guest, args=(port.id,)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [address for address in outcomes.values() if address]
    assert len(outcomes) == 30
    assert len(won) == len(set(won)) == 10
    rows = store.read(lambda tx: floating_ips_of_ports(tx, [port.id for port in ports]))
    assert {row.port_id: row.address for row in rows} == {p: a for p, a in outcomes.items() if a}


def test_guests_that_reach_for_one_address_do_not_take_it_from_each_other(store: Database) -> None:
    """The list-then-associate of today's SDK: exactly one of six gets it, the others are told at once."""
    site = store.write(make_site)
    ports = [store.write(lambda tx: make_port(tx, site.network)) for _ in range(6)]
    floating = store.write(lambda tx: take(tx, site))
    results: list[str] = []

    def guest(port_id: str) -> None:
        while True:
            try:
                store.write(lambda tx: floating_ip_associate(tx, again(tx, floating), port_id))
                results.append(port_id)
            except Conflict as err:
                results.append(err.code)
            except Unavailable:
                if store.is_sqlite:
                    raise
                continue
            return

    threads = [threading.Thread(target=guest, args=(port.id,)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [result for result in results if result != "FloatingIPPortAlreadyAssociated"]
    assert len(results) == 6
    assert winners == [store.read(lambda tx: again(tx, floating)).port_id]


def test_an_address_in_use_moves_only_when_its_mover_says_so(store: Database) -> None:
    site = store.write(make_site)
    one, two = (store.write(lambda tx: make_port(tx, site.network)) for _ in range(2))
    floating = store.write(lambda tx: take(tx, site, port_id=one.id))
    with pytest.raises(Conflict) as caught:
        store.write(lambda tx: floating_ip_associate(tx, floating, two.id))
    assert caught.value.code == "FloatingIPPortAlreadyAssociated"
    assert store.read(lambda tx: again(tx, floating)).port_id == one.id
    moved = store.write(lambda tx: floating_ip_associate(tx, again(tx, floating), two.id, move=True))
    assert moved.port_id == two.id


def test_a_fixed_address_has_one_floating_address(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    store.write(lambda tx: take(tx, site, port_id=port.id))
    before = store.read(count_rows)
    with pytest.raises(Conflict) as caught:
        store.write(lambda tx: take(tx, site, port_id=port.id))
    assert caught.value.code == "FloatingIPPortAlreadyAssociated"
    assert store.read(count_rows) == before, "the address that was taken for it went back"


def count_rows(tx: Tx) -> tuple[int, int]:
    held = subnet_address.c.port_id.is_not(None)
    return (
        tx.value(select(func.count()).select_from(floating_ip)),
        tx.value(select(func.count()).select_from(subnet_address).where(held)),
    )


def test_an_empty_pool_is_refused_and_nothing_is_left_behind(store: Database) -> None:
    site = store.write(lambda tx: make_site(tx, public="172.24.4.0/29"))
    for _ in range(4):
        store.write(lambda tx: take(tx, site))
    before = store.read(count_rows)
    with pytest.raises(NoCapacity) as caught:
        store.write(lambda tx: take(tx, site))
    assert caught.value.code == "IpAddressGenerationFailure"
    assert store.read(count_rows) == before


def test_a_repeated_request_gets_the_same_address(store: Database) -> None:
    site = store.write(make_site)
    first = store.write(lambda tx: take(tx, site, request_key="r1"))
    assert store.write(lambda tx: take(tx, site, request_key="r1")) == first
    assert store.write(lambda tx: take(tx, site, request_key="r2")).address != first.address


def test_active_means_that_a_host_saw_the_path_of_this_very_address(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    floating = store.write(lambda tx: take(tx, site, port_id=port.id))
    store.write(lambda tx: port_bind(tx, port.id, "i", host_id="h1"))
    assert status(floating) == "DOWN"
    assert not store.write(lambda tx: floating_ip_observed(tx, floating.id, "10.0.0.99", True)), "another fixed one"
    assert not store.write(lambda tx: floating_ip_observed(tx, floating.id, floating.fixed, True, host_id="h2"))
    assert status(store.read(lambda tx: again(tx, floating))) == "DOWN"
    assert store.write(lambda tx: floating_ip_observed(tx, floating.id, floating.fixed, True, host_id="h1"))
    assert status(store.read(lambda tx: again(tx, floating))) == "ACTIVE"
    store.write(lambda tx: floating_ip_observed(tx, floating.id, floating.fixed, False, "no reply to a probe"))
    seen = store.read(lambda tx: again(tx, floating))
    assert (status(seen), seen.reason) == ("DOWN", "no reply to a probe")
    store.write(lambda tx: floating_ip_observed(tx, floating.id, floating.fixed, True))
    free = store.write(lambda tx: floating_ip_disassociate(tx, again(tx, floating)))
    assert (status(free), free.port_id, free.router_id) == ("DOWN", "", "")


def test_a_released_server_releases_what_was_made_for_it_and_only_that(store: Database) -> None:
    """A4, twice, since a release that was interrupted is repeated."""
    site, instance = store.write(make_site), new_id()
    made = store.write(lambda tx: make_port(tx, site.network, instance_id=instance, auto_for_instance=True))
    own = store.write(lambda tx: make_port(tx, site.network))
    store.write(lambda tx: port_bind(tx, own.id, instance))
    auto = store.write(lambda tx: take(tx, site, port_id=made.id, auto_for_instance=True))
    named = store.write(lambda tx: take(tx, site, port_id=own.id))
    third = store.write(
        lambda tx: make_port(tx, site.network, instance_id=instance, auto_for_instance=True, name="third")
    )
    reserved = store.write(lambda tx: take(tx, site, port_id=third.id))
    for _ in range(2):
        store.write(lambda tx: instance_ports_release(tx, instance))
    assert store.read(lambda tx: floating_ip_fetch(tx, auto.id)) is None
    assert store.read(lambda tx: again(tx, reserved)).port_id == "", "the project's own, free again"
    assert store.read(lambda tx: again(tx, named)).port_id == own.id, "it leads to a port that stays"
    assert store.read(lambda tx: address_of(tx, own)) == store.read(lambda tx: again(tx, named)).fixed


def test_a_server_and_its_address_deleted_at_once_leave_nothing_and_fail_nowhere(store: Database) -> None:
    """NET-09."""
    site = store.write(make_site)
    failures: list[BaseException] = []
    for _ in range(20):
        instance = new_id()
        port = store.write(lambda tx, i=instance: make_port(tx, site.network, instance_id=i, auto_for_instance=True))
        floating = store.write(lambda tx, p=port: take(tx, site, port_id=p.id, auto_for_instance=True))

        def release(tx: Tx, floating: FloatingIp = floating) -> None:
            found = floating_ip_fetch(tx, floating.id)
            if found is not None:
                floating_ip_release(tx, found)

        acts = (release, lambda tx, i=instance: instance_ports_release(tx, i))
        threads = [threading.Thread(target=tried, args=(store, act, failures)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    router_and_dhcp = 3  # the router's two legs, and the address that answers DHCP
    assert store.read(count_rows) == (0, router_and_dhcp)


def tried(store: Database, act: object, failures: list[BaseException]) -> None:
    while True:
        try:
            store.write(act)  # type: ignore[arg-type]
        except Unavailable:
            continue
        except BaseException as err:
            failures.append(err)
        return


def test_a_path_needs_a_router_to_the_external_network(store: Database) -> None:
    site = store.write(make_site)
    elsewhere = store.write(lambda tx: make_site(tx, "10.5.0.0/24", "172.25.0.0/24"))
    port = store.write(lambda tx: make_port(tx, site.network))
    with pytest.raises(NotFound) as caught:
        wanted = FloatingWanted(site.project_id, elsewhere.outside.id, port.id)
        store.write(lambda tx: floating_ip_take(tx, wanted))
    assert caught.value.code == "ExternalGatewayForFloatingIPNotFound"


def test_another_projects_port_does_not_exist_for_a_floating_address(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    with pytest.raises(NotFound) as caught:
        store.write(lambda tx: floating_ip_take(tx, FloatingWanted("other", site.outside.id, port.id)))
    assert caught.value.code == "PortNotFound"


def test_a_leg_that_a_floating_address_needs_stays(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    floating = store.write(lambda tx: take(tx, site, port_id=port.id))
    with pytest.raises(Conflict) as caught:
        store.write(lambda tx: router_interface_remove(tx, site.router, subnet_id=site.subnet.id))
    assert caught.value.code == "RouterInterfaceInUseByFloatingIP"
    store.write(lambda tx: port_delete(tx, port))
    assert store.read(lambda tx: again(tx, floating)).port_id == ""
    store.write(lambda tx: router_interface_remove(tx, site.router, subnet_id=site.subnet.id))


def test_a_port_with_two_addresses_wants_one_named(store: Database) -> None:
    site = store.write(make_site)
    both = [FixedWanted(site.subnet.id), FixedWanted(site.subnet.id, "10.0.0.77")]
    port = store.write(lambda tx: make_port(tx, site.network, fixed=both))
    with pytest.raises(BadInput, match="multiple fixed"):
        store.write(lambda tx: take(tx, site, port_id=port.id))
    floating = store.write(lambda tx: take(tx, site, port_id=port.id, fixed="10.0.0.77"))
    second = store.write(lambda tx: take(tx, site, port_id=port.id, fixed=address_of(tx, port)))
    assert (floating.fixed, second.fixed) == ("10.0.0.77", store.read(lambda tx: address_of(tx, port)))


def test_an_unplugged_port_is_down_and_its_address_with_it(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    store.write(lambda tx: port_bind(tx, port.id, "i", host_id="h"))
    floating = store.write(lambda tx: take(tx, site, port_id=port.id))
    store.write(lambda tx: floating_ip_observed(tx, floating.id, floating.fixed, True))
    store.write(lambda tx: port_unbind(tx, port.id))
    after = store.read(lambda tx: again(tx, floating))
    assert (after.port_id, status(after)) == (port.id, "DOWN")


def test_nothing_is_active_on_a_host_that_does_not_report(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    store.write(lambda tx: port_bind(tx, port.id, "i", host_id="h"))
    floating = store.write(lambda tx: take(tx, site, port_id=port.id))
    store.write(lambda tx: floating_ip_observed(tx, floating.id, floating.fixed, True, host_id="h"))
    store.write(lambda tx: instance_ports_observed(tx, "i", True))
    store.write(lambda tx: host_ports_unseen(tx, "h"))
    after = store.read(lambda tx: again(tx, floating))
    assert (after.port_id, status(after)) == (port.id, "DOWN")
    assert not store.read(lambda tx: ports_fetch(tx, [port.id]))[port.id].up


def test_a_floating_address_on_no_network_says_what_is_missing(store: Database) -> None:
    site = store.write(make_site)
    with pytest.raises(HoldfastError) as caught:
        store.write(lambda tx: floating_ip_take(tx, FloatingWanted(site.project_id, site.network.id)))
    assert caught.value.code == "BadRequest"


class Killed(BaseException):
    """The end of the process: nothing may catch it."""


def test_killed_before_any_statement_nothing_is_taken_and_the_repeat_succeeds(
    store: Database, store_url: str, clock: HeldClock
) -> None:
    """A4: an address, its port and its association are there together or not at all."""
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    before = store.read(count_rows)
    for survived in range(60):
        left = [survived]

        def count_down(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        doomed = Database(store_url, clock.now_us, count_down)
        try:
            doomed.write(lambda tx: take(tx, site, port_id=port.id, request_key="k", auto_for_instance=True))
        except Killed:
            assert store.read(count_rows) == before, f"after {survived} statements"
            continue
        finally:
            doomed.close()
        break
    else:
        raise AssertionError("it never got to its end")
    assert survived > 10
    first = store.write(lambda tx: take(tx, site, port_id=port.id, request_key="k"))
    assert store.read(lambda tx: floating_ips_of_ports(tx, [port.id])) == [first]
