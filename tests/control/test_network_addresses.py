"""Addresses: one holder each, rested before they come back, and the longest released first (seeds 000 and 001)."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update

from holdfast.base.errors import Conflict, NoCapacity, Unavailable
from holdfast.base.limits import ADDRESS_COOL_DOWN_S
from holdfast.control.operations.network.network import network_create, subnet_create, subnet_update
from holdfast.control.operations.network.port import port_create, port_delete
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.network.port import port as port_table
from holdfast.control.store.network.subnet_address import addresses_of_ports, subnet_address, subnet_pool
from holdfast.domain.network import Network, NetworkWanted, Subnet, SubnetWanted
from holdfast.domain.port import FixedWanted, Port, PortWanted
from tests.conftest import HeldClock
from tests.control.networks import address_of, make_network, make_port

SIZE = 4  # addresses in the pool of the property test
ACTS = st.lists(
    st.one_of(
        st.just(("take", 0)),
        st.tuples(st.just("release"), st.integers(0, SIZE)),
        st.tuples(st.just("wait"), st.integers(0, 2 * ADDRESS_COOL_DOWN_S)),
        st.tuples(st.just("exactly"), st.integers(0, SIZE - 1)),
    ),
    max_size=30,
)


class Model:
    """What should happen, in the plainest words."""

    def __init__(self) -> None:
        self.pool = [f"10.9.0.{n}" for n in range(10, 10 + SIZE)]
        self.held: dict[str, str] = {}  # address -> port id
        self.released: dict[str, int] = {}  # address -> instant

    def next(self) -> str:
        """Fresh ones in order, then the longest released."""
        fresh = [a for a in self.pool if a not in self.held and a not in self.released]
        if fresh:
            return fresh[0]
        return min(self.released, key=lambda a: (self.released[a], a), default="")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_no_address_has_two_holders_and_the_longest_released_comes_first(
    store: Database, clock: HeldClock, acts: list[tuple[str, int]]
) -> None:
    pools = [("10.9.0.10", f"10.9.0.{9 + SIZE}")]
    network, subnet = store.write(lambda tx: make_network(tx, "p", "10.9.0.0/24", dhcp=False, pools=pools))
    model, ports = Model(), dict[str, Port]()
    for act, number in acts:
        clock.advance_s(1)
        if act == "wait":
            clock.advance_s(number)
        elif act == "release" and number < len(model.held):
            address = list(model.held)[number]
            port = ports[model.held.pop(address)]
            store.write(lambda tx, port=port: port_delete(tx, port))
            model.released[address] = clock.now_us()
        elif act == "exactly" or act == "take":
            wanted = model.pool[number] if act == "exactly" else model.next()
            fixed = [FixedWanted(subnet.id, wanted)] if act == "exactly" else None
            if not wanted or wanted in model.held:
                with pytest.raises((NoCapacity, Conflict)):
                    store.write(lambda tx, fixed=fixed: make_port(tx, network, fixed=fixed))
                continue
            port = store.write(lambda tx, fixed=fixed: make_port(tx, network, fixed=fixed))
            assert store.read(lambda tx, port=port: address_of(tx, port)) == wanted
            ports[port.id] = port
            model.held[wanted] = port.id
            model.released.pop(wanted, None)
    rows = store.read(
        lambda tx: tx.all(
            select(subnet_address.c.address, subnet_address.c.port_id).where(subnet_address.c.subnet_id == subnet.id)
        )
    )
    assert {address: port_id for address, port_id in rows if port_id} == model.held
    assert {address for address, port_id in rows if port_id is None} == set(model.released)


def small(tx: Tx, count: int) -> tuple[Network, Subnet]:
    pools = [("10.9.0.10", f"10.9.0.{9 + count}")]
    return make_network(tx, "p", "10.9.0.0/24", dhcp=False, pools=pools)


def test_a_released_address_rests_while_a_fresh_one_is_there(store: Database, clock: HeldClock) -> None:
    network, _ = store.write(lambda tx: small(tx, 3))
    first = store.write(lambda tx: make_port(tx, network))
    store.write(lambda tx: port_delete(tx, first))
    clock.advance_s(10 * ADDRESS_COOL_DOWN_S)
    taken = [store.write(lambda tx: address_of(tx, make_port(tx, network))) for _ in range(3)]
    assert taken == ["10.9.0.11", "10.9.0.12", "10.9.0.10"]


def test_a_rested_address_of_another_subnet_is_preferred_to_one_that_has_not(store: Database, clock: HeldClock) -> None:
    network, _ = store.write(lambda tx: small(tx, 1))
    other = SubnetWanted("p", network.id, "10.8.0.0/24", dhcp=False, pools=[("10.8.0.10", "10.8.0.10")])
    store.write(lambda tx: subnet_create(tx, other))
    ports = [store.write(lambda tx: make_port(tx, network)) for _ in range(2)]
    held = [store.read(lambda tx, port=port: address_of(tx, port)) for port in ports]
    store.write(lambda tx: port_delete(tx, ports[1]))
    clock.advance_s(ADDRESS_COOL_DOWN_S + 1)
    store.write(lambda tx: port_delete(tx, ports[0]))
    assert [store.write(lambda tx: address_of(tx, make_port(tx, network))) for _ in range(2)] == held[::-1]


def test_an_address_that_is_reused_early_is_the_longest_released_and_the_log_says_so(
    store: Database, clock: HeldClock, capfd: pytest.CaptureFixture[str]
) -> None:
    network, _ = store.write(lambda tx: small(tx, 2))
    ports = [store.write(lambda tx: make_port(tx, network)) for _ in range(2)]
    store.write(lambda tx: port_delete(tx, ports[1]))
    clock.advance_s(1)
    store.write(lambda tx: port_delete(tx, ports[0]))
    clock.advance_s(1)
    assert store.write(lambda tx: address_of(tx, make_port(tx, network))) == "10.9.0.11"
    written = capfd.readouterr().err
    assert "address_reused_early" in written
    assert "address=10.9.0.11" in written
    assert "rested_s=2" in written


def test_a_full_subnet_is_refused_and_nothing_is_left_behind(store: Database) -> None:
    network, _ = store.write(lambda tx: small(tx, 2))
    for _ in range(2):
        store.write(lambda tx: make_port(tx, network))
    before = store.read(rows_of_everything)
    with pytest.raises(NoCapacity) as caught:
        store.write(lambda tx: make_port(tx, network))
    assert caught.value.code == "IpAddressGenerationFailure"
    assert store.read(rows_of_everything) == before


def rows_of_everything(tx: Tx) -> list[Any]:
    count = select(func.count())
    tables = (port_table, subnet_address, subnet_pool)
    return [tx.value(count.select_from(table)) for table in tables] + [tuple(r) for r in tx.all(select(subnet_pool))]


def test_the_store_itself_refuses_a_second_holder(store: Database) -> None:
    network, subnet = store.write(lambda tx: small(tx, 2))
    port = store.write(lambda tx: make_port(tx, network))
    row = {"subnet_id": subnet.id, "address": "10.9.0.10", "port_id": port.id, "position": 0, "recycled": True}
    with pytest.raises(Exception, match=r"(?i)unique|busy"):
        store.write(lambda tx: tx.run(insert(subnet_address), {**row, "released_us": None}))
    with pytest.raises(Exception, match=r"(?i)unique|busy"):
        other = store.write(lambda tx: make_port(tx, network))
        store.write(lambda tx: tx.run(update(port_table).where(port_table.c.id == other.id).values(mac=port.mac)))


def test_pools_that_change_keep_what_is_held_and_forget_what_is_outside(store: Database, clock: HeldClock) -> None:
    network, subnet = store.write(lambda tx: small(tx, 3))
    ports = [store.write(lambda tx: make_port(tx, network)) for _ in range(3)]
    store.write(lambda tx: port_delete(tx, ports[0]))
    store.write(lambda tx: subnet_update(tx, subnet, {}, [("10.9.0.11", "10.9.0.13")]))
    taken = store.write(lambda tx: address_of(tx, make_port(tx, network)))
    assert taken == "10.9.0.13"
    with pytest.raises(NoCapacity):
        store.write(lambda tx: make_port(tx, network))
    store.write(lambda tx: port_delete(tx, ports[2]))
    clock.advance_s(ADDRESS_COOL_DOWN_S)
    assert store.write(lambda tx: address_of(tx, make_port(tx, network))) == "10.9.0.12"


def test_two_hundred_parallel_ports_fill_a_small_range_without_a_double(store: Database) -> None:
    """NET-07. PostgreSQL may ask a client to try again; nobody gets an address that another one has."""
    network, _ = store.write(lambda tx: make_network(tx, "p", "10.9.0.0/25"))
    wins: list[Port] = []
    refused: list[str] = []

    def work() -> None:
        for _ in range(200 // 8):
            while True:
                try:
                    wins.append(store.write(lambda tx: make_port(tx, network)))
                except NoCapacity:
                    refused.append("full")
                except Unavailable:
                    if store.is_sqlite:
                        raise
                    continue
                break

    run_together(work, 8)
    held = store.read(lambda tx: addresses_of_ports(tx, [port.id for port in wins]))
    addresses = {fixed.address for each in held.values() for fixed in each}
    assert len(wins) == len(addresses) == len({port.mac for port in wins}) == 124  # .1 is the gateway, .2 DHCP's
    assert len(refused) == 200 - 124


def run_together(work: Any, count: int) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_the_work_for_an_address_does_not_grow_with_the_range_nor_with_what_is_taken(
    store: Database, store_url: str, clock: HeldClock
) -> None:
    statements: list[str] = []
    counting = Database(store_url, clock.now_us, statements.append)

    def cost(network: Network) -> int:
        statements.clear()
        counting.write(lambda tx: make_port(tx, network))
        return len([s for s in statements if s.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")])

    network, _ = store.write(lambda tx: make_network(tx, "p", "10.9.0.0/24"))
    large, _ = store.write(lambda tx: make_network(tx, "p", "10.64.0.0/10"))
    cost(network)
    first = cost(network)
    for _ in range(100):
        counting.write(lambda tx: make_port(tx, large))
    after = cost(large)
    counting.close()
    assert after <= first <= 16


def test_a_guest_that_makes_its_own_ipv6_address_gets_the_one_that_it_will_make(store: Database) -> None:
    def change(tx: Tx) -> tuple[Port, list[str]]:
        network = network_create(tx, NetworkWanted("p"))
        wanted = SubnetWanted("p", network.id, "2001:db8::/64", ip_version=6, ipv6_address_mode="slaac")
        subnet_create(tx, wanted)
        subnet_create(tx, SubnetWanted("p", network.id, "2001:db8:1::/64", ip_version=6))
        port = port_create(tx, PortWanted("p", network.id, mac="fa:16:3e:00:00:01"))
        return port, [fixed.address for fixed in addresses_of_ports(tx, [port.id])[port.id]]

    _, held = store.write(change)
    assert held == ["2001:db8:1::2", "2001:db8::f816:3eff:fe00:1"]


def test_ports_are_made_at_a_bounded_cost(store: Database) -> None:
    network, _ = store.write(lambda tx: make_network(tx, "p", "10.0.0.0/16"))
    began = time.process_time()
    for _ in range(200):
        store.write(lambda tx: make_port(tx, network))
    spent_s = time.process_time() - began
    assert spent_s < 200 / 60, f"{200 / spent_s:.0f} ports per second of processor"
