"""What hosts are told of the network: everything they need, nothing that they do not, in few queries."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.base.errors import Conflict, HoldfastError
from holdfast.base.ids import new_id
from holdfast.control.operations.host_desired import host_update_since
from holdfast.control.operations.host_report import host_report_apply
from holdfast.control.operations.network.bootstrap import network_bootstrap
from holdfast.control.operations.network.floating_ip import floating_ip_associate, floating_ip_take
from holdfast.control.operations.network.hosts import machine_interfaces, network_state, tunnel_ends
from holdfast.control.operations.network.network import (
    default_network_for,
    network_create,
    network_update,
    subnet_create,
)
from holdfast.control.operations.network.port import port_delete, port_update
from holdfast.control.operations.network.port_instance import (
    instance_ports_move,
    instance_ports_observed,
    instance_ports_release,
    port_bind,
)
from holdfast.control.operations.network.router import (
    router_create,
    router_gateway_set,
    router_interface_add,
    router_interface_add_port,
    router_update,
)
from holdfast.control.operations.network.security_group import (
    security_group_create,
    security_group_default,
    security_group_delete,
    security_group_rule_create,
    security_group_rule_delete,
    security_groups_resolve,
)
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.host import host_insert
from holdfast.control.store.network.port import port_fetch, ports_of_instance_ids
from holdfast.control.store.revision import revision_now
from holdfast.domain.desired import NetworkState
from holdfast.domain.floating_ip import FloatingWanted
from holdfast.domain.network import Network, NetworkWanted, SubnetWanted
from holdfast.domain.observed import Capabilities, HostReport
from holdfast.domain.port import FixedWanted
from holdfast.domain.security_group import RuleWanted
from tests.conftest import HeldClock
from tests.control.networks import Site, address_of, make_network, make_port, make_site


def plugged(tx: Tx, site: Site, host_id: str, **more: object) -> str:
    """The id of a port on a host."""
    return make_port(tx, site.network, instance_id=new_id(), host_id=host_id, auto_for_instance=True, **more).id


def test_a_host_gets_its_networks_with_what_answers_dhcp(store: Database) -> None:
    site = store.write(make_site)
    store.write(lambda tx: make_network(tx, site.project_id, "10.1.0.0/24"))  # nothing of it is here
    store.write(lambda tx: plugged(tx, site, "h1"))
    state = store.read(lambda tx: network_state(tx, "h1"))
    (network,) = state.networks
    assert (network.id, network.vni, network.mtu, network.ports) == (site.network.id, site.network.vni, 1450, ())
    (subnet,) = network.subnets
    assert (subnet.cidr, subnet.gateway, subnet.dhcp) == ("10.0.0.0/24", "10.0.0.1", True)
    assert subnet.dhcp_address == "10.0.0.2"
    assert store.read(lambda tx: network_state(tx, "h2")) == NetworkState((), (), (), ())


def test_a_host_gets_the_routers_of_its_networks_and_the_networks_behind_them(store: Database) -> None:
    site = store.write(make_site)

    def behind(tx: Tx) -> str:
        network, subnet = make_network(tx, site.project_id, "10.1.0.0/24")
        router_interface_add(tx, site.router, subnet.id)
        further, last = make_network(tx, site.project_id, "10.2.0.0/24")
        second = router_create(tx, site.project_id, "second")
        port = make_port(tx, network)
        router_interface_add_port(tx, second, port)
        router_interface_add(tx, second, last.id)
        return further.id

    last_network = store.write(behind)
    store.write(lambda tx: plugged(tx, site, "h1"))
    state = store.read(lambda tx: network_state(tx, "h1"))
    assert len(state.networks) == 3
    assert last_network in {network.id for network in state.networks}
    first = next(router for router in state.routers if router.id == site.router.id)
    assert {leg.cidr for leg in first.interfaces} == {"10.0.0.0/24", "10.1.0.0/24"}
    assert (first.external_network_id, first.external_address, first.snat) == (site.outside.id, "172.24.4.2", True)
    (external,) = state.externals
    assert (external.cidr, external.gateway) == ("172.24.4.0/24", "172.24.4.1")


def test_a_floating_address_is_told_to_the_host_of_its_port_only(store: Database) -> None:
    site = store.write(make_site)
    here = store.write(lambda tx: plugged(tx, site, "h1"))
    store.write(lambda tx: plugged(tx, site, "h2"))
    wanted = FloatingWanted(site.project_id, site.outside.id, here)
    floating = store.write(lambda tx: floating_ip_take(tx, wanted))
    (router,) = store.read(lambda tx: network_state(tx, "h1")).routers
    assert [(f.address, f.fixed, f.network_id) for f in router.floating] == [
        (floating.address, floating.fixed, site.network.id)
    ]
    assert store.read(lambda tx: network_state(tx, "h2")).routers[0].floating == ()
    port = store.read(lambda tx: port_fetch(tx, here))
    assert port is not None
    cards = store.read(lambda tx: machine_interfaces(tx, [port.instance_id]))
    assert cards[port.instance_id][0].port.addresses[0].floating == floating.address


def test_cards_carry_what_the_anti_spoofing_needs(store: Database) -> None:
    site, instance = store.write(make_site), new_id()
    pairs = [("", "10.0.0.200"), ("fa:16:3e:00:00:09", "10.0.0.0/28")]
    port = store.write(lambda tx: make_port(tx, site.network, instance_id=instance, allowed_pairs=pairs))
    open_port = store.write(lambda tx: make_port(tx, site.network, instance_id=instance, port_security=False))
    cards = {c.port.id: c for c in store.read(lambda tx: machine_interfaces(tx, [instance]))[instance]}
    card = cards[port.id]
    assert (card.network_id, card.mtu, card.port.mac) == (site.network.id, 1450, port.mac)
    assert card.port.allowed_pairs == ((port.mac, "10.0.0.200"), ("fa:16:3e:00:00:09", "10.0.0.0/28"))
    assert card.port.filtered
    assert card.port.security_groups
    address = card.port.addresses[0].address
    assert card.port.hostname == "host-" + address.replace(".", "-")
    assert not cards[open_port.id].port.filtered
    assert store.read(lambda tx: machine_interfaces(tx, ["nobody"])) == {"nobody": ()}


def test_members_of_a_group_are_those_of_every_host_but_never_a_range(store: Database) -> None:
    """LP 1867119: a pair of 0.0.0.0/0 must not open the group to everybody."""
    site = store.write(make_site)
    ids = [store.write(lambda tx, h=h: plugged(tx, site, h)) for h in ("h1", "h2")]
    pairs = [("", "0.0.0.0/0"), ("", "10.0.0.250")]
    ids.append(store.write(lambda tx: plugged(tx, site, "h3", allowed_pairs=pairs)))
    state = store.read(lambda tx: network_state(tx, "h1"))
    (group,) = state.security_groups
    held = {store.read(lambda tx, i=i: address_of(tx, port_fetch(tx, i))) for i in ids}  # type: ignore[arg-type]
    assert set(group.members) == {*held, "10.0.0.250"}
    assert {(rule.direction, rule.ethertype, rule.remote_group) for rule in group.rules} == {
        ("egress", "IPv4", ""),
        ("egress", "IPv6", ""),
        ("ingress", "IPv4", group.id),
        ("ingress", "IPv6", group.id),
    }


def test_a_group_that_a_rule_names_is_told_too(store: Database) -> None:
    site = store.write(make_site)

    def change(tx: Tx) -> str:
        web = security_group_create(tx, site.project_id, "web")
        base = security_group_create(tx, site.project_id, "base")
        rule = RuleWanted(base.id, "ingress", protocol="tcp", port_min=5432, port_max=5432, remote_group=web.id)
        security_group_rule_create(tx, site.project_id, rule)
        plugged(tx, site, "h1", security_groups=[base.id])
        plugged(tx, site, "h2", security_groups=[web.id])
        return web.id

    web_id = store.write(change)
    groups = {group.id: group for group in store.read(lambda tx: network_state(tx, "h1")).security_groups}
    assert len(groups[web_id].members) == 1


class Told:
    """Which hosts are told of the network anew by what is done."""

    def __init__(self, store: Database, *host_ids: str) -> None:
        self.store, self.seen = store, dict.fromkeys(host_ids, 0)
        self.now()

    def now(self) -> set[str]:
        """Those since the last time."""
        before, tell = dict(self.seen), self.store.read
        self.seen = {host_id: tell(lambda tx, h=host_id: revision_now(tx, h))[1] for host_id in before}
        return {host_id for host_id, number in self.seen.items() if number > before[host_id]}


def several(tx: Tx, *names: str) -> None:
    for name in names:
        host_insert(tx, name, name, "nova", "")


def test_what_a_host_must_learn_moves_its_network_revision(store: Database) -> None:
    site = store.write(make_site)
    told = Told(store, "h1", "h2")
    port = store.write(lambda tx: make_port(tx, site.network))
    assert told.now() == set(), "a port that is nowhere concerns no host"
    store.write(lambda tx: port_bind(tx, port.id, "i1", host_id="h1"))
    assert told.now() == {"h1"}, "the network is new on that host"
    lone = store.write(lambda tx: make_port(tx, site.network, security_groups=[]))
    store.write(lambda tx: port_bind(tx, lone.id, "i2", host_id="h1"))
    assert told.now() == set(), "travels with the machine alone"
    member = store.write(lambda tx: make_port(tx, site.network))
    store.write(lambda tx: port_bind(tx, member.id, "i3", host_id="h1"))
    assert told.now() == {"h1"}, "a member of a group that a rule lets in"
    store.write(lambda tx: router_update(tx, site.router, {"admin_state_up": False}))
    assert told.now() == {"h1", "h2"}, "routers are rare: everybody looks"
    assert store.read(lambda tx: network_state(tx, "h1")).routers == ()
    store.write(lambda tx: port_delete(tx, member))
    assert told.now() == {"h1"}
    rule = RuleWanted(security_group_id(store, site), "ingress", protocol="tcp", port_min=1, port_max=2)
    made = store.write(lambda tx: security_group_rule_create(tx, site.project_id, rule))
    assert told.now() == {"h1"}, "only where a port is in the group"
    store.write(lambda tx: security_group_rule_delete(tx, made))
    assert told.now() == {"h1"}


def test_a_port_concerns_the_hosts_that_reach_its_network_and_no_other(store: Database) -> None:
    """A thousand hosts must not fetch because one guest started."""
    site, other = store.write(make_site), store.write(lambda tx: make_site(tx, "10.9.0.0/24", "172.24.9.0/24"))
    store.write(lambda tx: several(tx, "h1", "h2", "h3", "h4"))

    def behind(tx: Tx) -> Network:
        network, subnet = make_network(tx, site.project_id, "10.1.0.0/24")
        router_interface_add(tx, site.router, subnet.id)
        return network

    joined = store.write(behind)
    bare: dict[str, object] = {"security_groups": []}
    store.write(lambda tx: plugged(tx, site, "h2", **bare))
    store.write(lambda tx: make_port(tx, joined, instance_id=new_id(), host_id="h3", **bare).id)
    store.write(lambda tx: plugged(tx, other, "h4", **bare))
    told = Told(store, "h1", "h2", "h3", "h4")
    first = store.write(lambda tx: make_port(tx, site.network, instance_id="i1", host_id="h1", **bare))
    assert told.now() == {"h1", "h2", "h3"}, "new here, and a neighbour there, and behind a router"
    second = store.write(lambda tx: make_port(tx, site.network, instance_id="i2", host_id="h1", **bare))
    assert told.now() == {"h2", "h3"}, "its own host learns it with the machine"
    fixed = [FixedWanted(site.subnet.id)]
    store.write(lambda tx: port_update(tx, second, {}, fixed=[*fixed, *fixed]))
    assert told.now() == {"h2", "h3"}, "it has other addresses"
    store.write(lambda tx: instance_ports_move(tx, "i2", "h4"))
    assert told.now() == {"h1", "h2", "h3", "h4"}, "who had it is a neighbour by now, and the network is new there"
    store.write(lambda tx: instance_ports_move(tx, "i2", "h2"))
    assert told.now() == {"h1", "h2", "h3", "h4"}
    floating = store.write(lambda tx: floating_ip_take(tx, FloatingWanted(site.project_id, site.outside.id, first.id)))
    assert told.now() == {"h1"}, "only its host translates a public address"
    store.write(lambda tx: floating_ip_associate(tx, floating, second.id, address_of(tx, second), move=True))
    assert told.now() == {"h1", "h2"}
    store.write(lambda tx: port_delete(tx, first))
    assert told.now() == {"h1", "h2", "h3"}


def test_a_member_concerns_the_hosts_where_a_rule_lets_it_in(store: Database) -> None:
    site = store.write(make_site)
    store.write(lambda tx: several(tx, "h1", "h2", "h3"))

    def groups(tx: Tx) -> tuple[str, str]:
        web, base = (security_group_create(tx, site.project_id, name).id for name in ("web", "base"))
        security_group_rule_create(tx, site.project_id, RuleWanted(base, "ingress", remote_group=web))
        return web, base

    web, base = store.write(groups)
    lone, _ = store.write(lambda tx: make_network(tx, site.project_id, "10.1.0.0/24"))
    store.write(lambda tx: make_port(tx, lone, instance_id=new_id(), host_id="h2", security_groups=[base]))
    told = Told(store, "h1", "h2", "h3")
    store.write(lambda tx: plugged(tx, site, "h1", security_groups=[web]))
    assert told.now() == {"h1", "h2"}
    unused = store.write(lambda tx: security_group_create(tx, site.project_id, "unused"))
    told.now()
    rule = RuleWanted(base, "ingress", remote_group=unused.id)
    store.write(lambda tx: security_group_rule_create(tx, site.project_id, rule))
    assert told.now() == {"h2"}
    store.write(lambda tx: security_group_delete(tx, unused))
    assert told.now() == {"h2"}, "the rules that named it went with it"


def report(store: Database, host_id: str, address: str) -> None:
    """As a host does that is there."""
    has = Capabilities(1, 1, 1, "tcg", "", "qemu", "7", "h", address)
    store.write(lambda tx: host_report_apply(tx, host_id, HostReport(True, 0, has, (), (), (), 1, ())))


def test_a_host_whose_tunnels_end_elsewhere_is_told_to_those_that_reach_its_ports(store: Database) -> None:
    site = store.write(make_site)
    store.write(lambda tx: several(tx, "h1", "h2", "h3"))
    told = Told(store, "h1", "h2", "h3")
    report(store, "h2", "192.0.2.1")
    assert told.now() == set(), "there is nothing to be reached"
    store.write(lambda tx: plugged(tx, site, "h1"))
    store.write(lambda tx: plugged(tx, site, "h2"))
    told.now()
    report(store, "h2", "192.0.2.2")
    assert told.now() == {"h1", "h2"}
    report(store, "h2", "192.0.2.2")
    assert told.now() == set()
    assert store.read(lambda tx: tunnel_ends(tx, ["h1", "h2"])) == {"h2": "192.0.2.2"}
    update = store.read(lambda tx: host_update_since(tx, "h1", 0))
    assert update is not None and update.network is not None
    (network,) = update.network.networks
    assert [end for _, _, end in network.remote] == ["192.0.2.2"]
    report(store, "h2", "127.0.0.1")
    ends = store.read(lambda tx: tunnel_ends(tx, ["h1", "h2"]))
    assert ends == {}, "what it calls itself leads nobody to it"


def security_group_id(store: Database, site: Site) -> str:
    return store.write(lambda tx: security_group_default(tx, site.project_id)).id


def test_ports_elsewhere_are_told_with_the_tunnel_of_their_host(store: Database) -> None:
    site = store.write(make_site)
    store.write(lambda tx: plugged(tx, site, "h1"))
    there = store.write(lambda tx: plugged(tx, site, "h2"))
    store.write(lambda tx: several(tx, "h1", "h2"))
    report(store, "h2", "192.0.2.2")
    (network,) = store.read(lambda tx: network_state(tx, "h1")).networks
    port = store.read(lambda tx: port_fetch(tx, there))
    assert port is not None
    assert network.remote == ((port.mac, store.read(lambda tx: address_of(tx, port)), "192.0.2.2"),)


def test_queries_do_not_grow_with_what_there_is(store: Database, store_url: str, clock: HeldClock) -> None:
    statements: list[str] = []
    counting = Database(store_url, clock.now_us, statements.append)
    site = store.write(make_site)

    def cost() -> tuple[int, int]:
        statements.clear()
        state = counting.read(lambda tx: network_state(tx, "h1"))
        first = len(statements)
        assert state.networks
        statements.clear()
        counting.read(lambda tx: machine_interfaces(tx, instances))
        return first, len(statements)

    instances: list[str] = []

    def add(count: int) -> None:
        for _ in range(count):
            instance = new_id()
            instances.append(instance)
            store.write(lambda tx, i=instance: make_port(tx, site.network, instance_id=i, host_id="h1"))

    add(2)
    cost()  # the first one also pays for the connection
    before = cost()
    add(30)
    for n in range(5):
        store.write(lambda tx, n=n: make_network(tx, site.project_id, f"10.{n + 10}.0.0/24"))
    after = cost()
    counting.close()
    assert after == before
    if store.is_sqlite:  # PostgreSQL's two engines share their hooks: there each statement is counted twice
        assert before[0] <= 20
        assert before[1] <= 6


def test_the_first_networks_are_made_once_and_repaired_when_half_there(store: Database) -> None:
    def bootstrap(tx: Tx) -> None:
        network_bootstrap(
            tx,
            admin_project_id="admin",
            demo_project_id="demo",
            public_cidr="172.24.4.0/24",
            private_cidr="10.77.0.0/24",
        )

    store.write(bootstrap)
    store.write(bootstrap)

    def plug(tx: Tx) -> None:
        network = default_of(tx)
        port = make_port(tx, network, instance_id="i", host_id="h1")
        assert address_of(tx, port) == "10.77.0.3"

    store.write(plug)
    state = store.read(lambda tx: network_state(tx, "h1"))
    assert [network.subnets[0].dhcp_address for network in state.networks] == ["10.77.0.2"]
    assert [router.external_address for router in state.routers] == ["172.24.4.2"]


def default_of(tx: Tx) -> Network:
    network = default_network_for(tx, "demo")
    assert network is not None
    assert network.name == "private"
    return network


def test_a_server_without_networks_gets_the_only_one_and_its_own_before_a_shared_one(
    store: Database, clock: HeldClock
) -> None:
    assert store.read(lambda tx: default_network_for(tx, "p")) is None
    store.write(lambda tx: network_create(tx, NetworkWanted("operators", "public", external=True)))
    shared = store.write(lambda tx: network_create(tx, NetworkWanted("operators", "shared", shared=True)))
    assert store.read(lambda tx: default_network_for(tx, "p")) == shared
    own = store.write(lambda tx: network_create(tx, NetworkWanted("p", "own")))
    assert store.read(lambda tx: default_network_for(tx, "p")) == own
    clock.advance_s(1)
    store.write(lambda tx: network_create(tx, NetworkWanted("p", "second")))
    with pytest.raises(Conflict, match=r"own.*second") as caught:
        store.read(lambda tx: default_network_for(tx, "p"))
    assert "shared" not in caught.value.message


def test_binding_again_is_nothing_and_another_device_is_refused(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network))
    bound = store.write(lambda tx: port_bind(tx, port.id, "i1", host_id="h1"))
    assert store.write(lambda tx: port_bind(tx, port.id, "i1", host_id="h1")) == bound
    with pytest.raises(Conflict) as caught:
        store.write(lambda tx: port_bind(tx, port.id, "i2"))
    assert caught.value.code == "PortInUse"
    with pytest.raises(Conflict) as caught:
        store.write(lambda tx: port_update(tx, bound, {"device_id": "i2"}))
    assert caught.value.code == "PortBound"


def test_ports_follow_their_instance_and_are_up_when_it_runs(store: Database) -> None:
    site = store.write(make_site)
    port = store.write(lambda tx: make_port(tx, site.network, instance_id="i", auto_for_instance=True))
    store.write(lambda tx: instance_ports_move(tx, "i", "h1"))
    store.write(lambda tx: instance_ports_observed(tx, "i", True))
    now = store.read(lambda tx: ports_of_instance_ids(tx, ["i"]))[0]
    assert (now.host_id, now.up) == ("h1", True)
    store.write(lambda tx: instance_ports_move(tx, "i", "h2"))
    now = store.read(lambda tx: ports_of_instance_ids(tx, ["i"]))[0]
    assert (now.host_id, now.up) == ("h2", False)
    store.write(lambda tx: instance_ports_release(tx, "i"))
    assert store.read(lambda tx: port_fetch(tx, port.id)) is None


def test_a_device_id_that_a_tenant_wrote_never_plugs_a_port(store: Database) -> None:
    """OSSA-2014-008: what the API shows as device_id is not what decides."""
    site = store.write(make_site)
    store.write(lambda tx: make_port(tx, site.network, device_id="victim", device_owner="compute:nova"))
    assert store.read(lambda tx: machine_interfaces(tx, ["victim"])) == {"victim": ()}
    assert store.read(lambda tx: ports_of_instance_ids(tx, ["victim"])) == []


def test_two_tenants_may_have_the_same_range_and_numbers_of_their_own(store: Database) -> None:
    """NET-22."""
    one, two = (store.write(lambda tx, p=p: make_network(tx, p, "10.0.0.0/24")) for p in ("p1", "p2"))
    for network, _ in (one, two):
        store.write(lambda tx, n=network: make_port(tx, n, instance_id=new_id(), host_id="h"))
    state = store.read(lambda tx: network_state(tx, "h"))
    assert len({network.vni for network in state.networks}) == 2
    assert {network.subnets[0].cidr for network in state.networks} == {"10.0.0.0/24"}


def test_groups_are_found_by_name_or_id_and_a_double_name_is_refused(store: Database) -> None:
    def change(tx: Tx) -> None:
        web = security_group_create(tx, "p", "web")
        assert [g.id for g in security_groups_resolve(tx, "p", ["web", web.id])] == [web.id]
        assert [g.name for g in security_groups_resolve(tx, "new", ["default"])] == ["default"]
        security_group_create(tx, "p", "web")
        for names, code in ((["web"], "NoUniqueMatch"), (["nosuch"], "SecurityGroupNotFound")):
            with pytest.raises(HoldfastError) as caught:
                security_groups_resolve(tx, "p", names)
            assert caught.value.code == code

    store.write(change)


def test_a_network_with_another_mtu_sends_its_machines_again(store: Database) -> None:
    site = store.write(make_site)
    store.write(lambda tx: make_port(tx, site.network, instance_id="i", host_id="h"))
    store.write(lambda tx: network_update(tx, site.network, {"mtu": 1300, "admin_state_up": False}))
    (card,) = store.read(lambda tx: machine_interfaces(tx, ["i"]))["i"]
    assert (card.mtu, card.port.admin_up) == (1300, False)
    assert msgspec.json.encode(card)


def test_ipv6_is_not_sent_to_hosts_that_do_not_carry_it(store: Database) -> None:
    site = store.write(make_site)
    six = SubnetWanted(site.project_id, site.network.id, "2001:db8::/64", ip_version=6, ipv6_address_mode="slaac")
    store.write(lambda tx: subnet_create(tx, six))
    store.write(lambda tx: make_port(tx, site.network, instance_id="i", host_id="h"))
    (card,) = store.read(lambda tx: machine_interfaces(tx, ["i"]))["i"]
    assert [":" in address.address for address in card.port.addresses] == [False]
    assert len(store.read(lambda tx: network_state(tx, "h")).networks[0].subnets) == 1


def test_a_router_without_a_way_out_has_none(store: Database) -> None:
    site = store.write(make_site)
    store.write(lambda tx: plugged(tx, site, "h1"))
    store.write(lambda tx: router_gateway_set(tx, site.router, None))
    (router,) = store.read(lambda tx: network_state(tx, "h1")).routers
    assert (router.external_network_id, router.external_address, router.external_mac) == ("", "", "")
    assert store.read(lambda tx: network_state(tx, "h1")).externals == ()
