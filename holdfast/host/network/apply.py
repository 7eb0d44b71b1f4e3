"""The network of one host: `apply` makes the kernel equal to a `DesiredHost`, `destroy` leaves nothing.

Level-triggered: what is in the kernel is looked at by a new process and every NETWORK_CHECK_S; rules that somebody
else changed, and public addresses that are not answered, are noticed every NETWORK_LOOK_S; in between, only what
changed in the plan is touched. One object that fails is reported and does not stop the others.
Only names with our prefix are ever changed or removed; a namespace that still holds a guest's tap is kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from holdfast.base import log as logs
from holdfast.base.clock import Clock, SystemClock
from holdfast.base.errors import HoldfastError, NotFound, Unavailable
from holdfast.base.limits import NETWORK_CHECK_S, NETWORK_LOOK_S
from holdfast.domain.desired import DesiredHost, MoveRole
from holdfast.domain.observed import FloatingReport
from holdfast.host.hypervisor.driver import Card
from holdfast.host.network import floating, flows, forward, namespace, owner, tunnel
from holdfast.host.network.dns import DnsRelay
from holdfast.host.network.dnsmasq import Dnsmasq
from holdfast.host.network.drift import Drift, drift
from holdfast.host.network.flows import Judged, Rules
from holdfast.host.network.kernel import Kernel, Made, delete_link, links_of, plug_again
from holdfast.host.network.loop import Loop
from holdfast.host.network.metadata.documents import plugged_of
from holdfast.host.network.metadata.server import Guest, MetadataServer
from holdfast.host.network.plan import values
from holdfast.host.network.plan.host import plan
from holdfast.host.network.plan.layout import (
    ALONE,
    EXTERNAL_MTU,
    FloatingPath,
    HostPlan,
    PortPlace,
    Problem,
    Reach,
    Space,
    Tunnel,
)
from holdfast.host.network.plan.names import Names
from holdfast.host.network.remains import Inventory, inventory, remove_all, spaces_here

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """What `apply` reached: everything but the problems is as desired."""

    problems: tuple[Problem, ...]
    floating: tuple[FloatingReport, ...]
    changed: tuple[str, ...]  # namespaces in which anything was done; empty when nothing was


class HostNetwork:
    """All network objects of one host that carry one prefix. One owner at a time; calls are serialised."""

    def __init__(
        self,
        prefix: str,
        state: Path,
        *,
        resolvers: Iterable[tuple[str, int]] = (),
        reach: Reach = ALONE,
        run_folder: Path = Path("/run"),
        clock: Clock | None = None,
    ) -> None:
        self._names = Names(prefix)
        asked = [(str(values.resolver(address)), port) for address, port in resolvers]
        self._relayed, self._reach = bool(asked), reach
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._kernel = Kernel(self._names)
        self._dnsmasq = Dnsmasq(run_folder / f"{prefix}-net")
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._state, self._run_folder = state.resolve(), run_folder
        self._loop = Loop()
        self._metadata = MetadataServer(self._loop, state / "metadata.json")
        self._dns = DnsRelay(self._loop, asked)
        self._plan: HostPlan | None = None
        self._places: dict[str, PortPlace] = {}
        self._up: set[FloatingPath] = set()
        self._tunnels: dict[str, Tunnel] = {}
        self._rules: dict[str, Rules] = {}  # by which the flows of a network were judged last
        self._judged = Judged(self._state / "judged.json")
        self._taken_up: set[tuple[str, str]] = set()  # (port, move)
        self._checked_s = self._looked_s = 0.0

    def claim(self) -> None:
        """Own the prefix on this machine from now on; Conflict when another state directory does."""
        owner.claim(self._names.prefix, self._state, self._run_folder)

    def resume(self) -> None:
        """Answer metadata from the saved copy in the namespaces that are there, before the control plane is heard."""
        with self._lock:
            self._metadata.load()
            for name in spaces_here(self._names):
                if self._names.is_kind(name, "n"):
                    self._metadata.listen(name)

    def apply(self, desired: DesiredHost, force: bool = False) -> NetworkReport:
        """Make the kernel as desired; `force` looks at everything even where nothing changed."""
        with self._lock:
            planned = self._planned(desired)
            now = self._clock.monotonic_s()
            if force or now - self._checked_s > NETWORK_CHECK_S:
                self._kernel.doubt_all()
                self._tunnels.clear()
                self._dnsmasq.cut_logs()
                self._checked_s = now
            if look := force or now - self._looked_s >= NETWORK_LOOK_S * 0.8:  # who asks each NETWORK_LOOK_S is heard
                self._kernel.doubt_changed()
                self._looked_s = now
            problems = list(planned.problems)
            self._places |= {place.port_id: place for place in planned.ports}
            problems.extend(self._remove_leftovers(desired))
            made: dict[str, Made] = {}
            ruled = self._kernel.rule_several([(space, self._closed(planned, space)) for space in planned.spaces])
            changed = [
                space.name
                for space in planned.spaces
                if self._make(planned, space, problems, made) or space.name in ruled
            ]
            self._judge(planned, made, problems)
            self._plan = planned
            self._take_up(desired, planned, problems)
            self._metadata.serve(_guests(desired, planned))
            lost = {name for name, done in made.items() if done.lost}
            return NetworkReport(tuple(problems), tuple(self._probe(planned, look, lost)), tuple(changed))

    def open_tap(self, card: Card) -> int:
        """Open a planned port's tap and return its descriptor; the link comes up behind its rules only.

        The tap ends with its last descriptor. NotFound for a card that is not planned, Unavailable before its
        rules are in force or when another process holds it.
        """
        place = self._place_of(card)

        def make() -> int:
            descriptor = namespace.open_tap_here(place.tap)
            try:
                namespace.attach_here(place.tap, place.bridge, place.mtu)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

        return namespace.inside(place.space, make)

    def attach(self, card: Card) -> None:
        """Plug an existing link of that name as `open_tap` plugs its tap."""
        place = self._place_of(card)
        namespace.inside(place.space, lambda: namespace.attach_here(place.tap, place.bridge, place.mtu))

    def card(self, port_id: str) -> Card:
        """What the hypervisor is told of a planned port; NotFound for another."""
        if self._plan is None or (place := self._places.get(port_id)) not in self._plan.ports or place is None:
            raise NotFound("the port is not planned on this host")
        return Card(mac=place.mac, tap=place.tap, namespace=place.space, mtu=place.mtu)

    def release(self, ident: str) -> None:
        """Delete the taps of a port or of an instance, whoever holds them; none: nothing."""
        with self._lock:
            for place in [p for p in self._places.values() if ident in (p.port_id, p.instance_id)]:
                delete_link(place.space, place.tap)
                if self._plan is None or place not in self._plan.ports:
                    del self._places[place.port_id]

    def destroy(self) -> Inventory:
        """Remove everything that carries our prefix; returns what could not be removed (usually nothing).

        Conflict, and nothing is touched, when the prefix belongs to another state directory.
        """
        owner.require(self._names.prefix, self._state, self._run_folder)
        with self._lock:
            self._loop.close()
            self._kernel = Kernel(self._names)
            self._plan = None
            remove_all(self._names, self._dnsmasq, self._state)
            owner.release(self._names.prefix, self._run_folder)
            return inventory(self._names, self._dnsmasq, self._state)

    def drift(self, desired: DesiredHost, running: Set[str]) -> list[Drift]:
        """Where the kernel differs from what is desired; nothing is changed."""
        return list(drift(self._planned(desired), self._names, self._dnsmasq, running))

    def found(self) -> Inventory:
        """Everything on this host that carries our prefix, from reality."""
        return inventory(self._names, self._dnsmasq, self._state)

    def close(self) -> None:
        """End our own thread and sockets; what was made stays."""
        self._loop.close()

    def _planned(self, desired: DesiredHost) -> HostPlan:
        return plan(desired, self._names.prefix, self._relayed, self._reach)

    def _place_of(self, card: Card) -> PortPlace:
        ports = self._plan.ports if self._plan else ()
        place = next((p for p in ports if (p.tap, p.space) == (card.tap, card.namespace)), None)
        if place is None:
            raise NotFound("the card's port is not planned on this host")
        if place.admin_up and not self._kernel.guarded(place.space, place.tap):
            raise Unavailable("the port's firewall rules are not in force yet")
        return place

    def _make(self, planned: HostPlan, space: Space, problems: list[Problem], done: dict[str, Made]) -> bool:
        """Make one namespace; report whether anything was done, and a failure as a problem."""
        try:
            made = done[space.name] = self._kernel.make(space, self._closed(planned, space))
            if made.lost:
                log.warn("network_rules_restored", space=space.name, kind=space.kind, owner=space.owner)
            if space.kind == "host" and made.changed:
                self._plug_uplink(space)
                forward.accept_forwarding(self._names.prefix, [link.name for link in space.links])
            elif space.kind == "network":
                led = self._lead(space, made)
                return self._serve_network(planned, space, made) or made.changed or led
            elif space.kind == "router":
                self._announce(planned, space, made)
            return made.changed
        except (HoldfastError, OSError) as err:
            self._kernel.forget(space.name)
            log.warn("network_space_failed", space=space.name, kind=space.kind, owner=space.owner, reason=str(err))
            problems.append(Problem(space.kind, space.owner, str(err)))
            return True

    def _plug_uplink(self, space: Space) -> None:
        """Put the link to the public networks on their bridge."""
        for link in space.links if self._reach.uplink else ():
            if not namespace.exists_here(self._reach.uplink):
                raise Unavailable(f"the uplink {self._reach.uplink} is not there")
            namespace.attach_here(self._reach.uplink, link.name, EXTERNAL_MTU)

    def _lead(self, space: Space, made: Made) -> bool:
        """Say where ports on other hosts are, where that is not known to be said."""
        if space.tunnel is None or (not made.changed and self._tunnels.get(space.name) == space.tunnel):
            return False
        led = tunnel.make(space.name, space.tunnel)
        self._tunnels[space.name] = space.tunnel
        return led

    def _serve_network(self, planned: HostPlan, space: Space, made: Made) -> bool:
        """What a network has beside links and rules: its DHCP, its metadata socket, its plugged guests."""
        if made.created:
            for router in planned.spaces:
                if any(link.peer_space == space.name for link in router.links):
                    self._kernel.forget(router.name)  # its leg went with the old namespace
        self._metadata.listen(space.name, anew=made.created)
        self._dns.listen(space.name, anew=made.created)
        if made.changed and not made.created:
            plug_again(space.name, [p for p in planned.ports if p.space == space.name and p.admin_up])
        if space.dhcp is not None:
            return self._dnsmasq.make(space.name, space.dhcp)
        return self._dnsmasq.stop(space.name)

    def _closed(self, planned: HostPlan, space: Space) -> Set[str] | None:
        """The MACs whose connections are not to be taken up in their middle any more; None: all."""
        rules = flows.rules_of(space, planned.members)
        before = self._rules.get(space.name) or (rules if self._judged.is_by(space.name, rules) else None)
        return None if before is None else flows.closed(before, rules)

    def _judge(self, planned: HostPlan, made: dict[str, Made], problems: list[Problem]) -> None:
        """End what is let through no longer, once the new rules are in force everywhere."""
        for space in planned.spaces:
            if space.kind != "network" or (done := made.get(space.name)) is None:
                continue
            rules = flows.rules_of(space, planned.members)
            before = self._rules.get(space.name) if done.known and not done.lost else None
            if before == rules:
                continue
            self._rules.pop(space.name, None)
            known = done.created or (before is None and not done.ruled and self._judged.is_by(space.name, rules))
            try:
                if not known and (cut := flows.cut_refused(space.name, rules, before)):
                    log.info("network_flows_cut", network=space.owner, flows=cut)
                self._rules[space.name] = rules
            except (HoldfastError, OSError) as err:  # it is not in `_rules`: the next application judges all
                problems.append(Problem(space.kind, space.owner, f"its tracked flows could not be judged: {err}"))
        self._judged.now_by(self._rules)

    def _take_up(self, desired: DesiredHost, planned: HostPlan, problems: list[Problem]) -> None:
        """A guest that comes here alive goes on with its connections: told once for each try of its move."""
        coming = {m.instance_id: m.move.id for m in desired.machines if m.move and m.move.role is MoveRole.RECEIVE}
        arriving = [place for place in planned.ports if place.instance_id in coming]
        self._taken_up &= {(place.port_id, coming[place.instance_id]) for place in arriving}
        for place in arriving:
            told = place.port_id, coming[place.instance_id]
            if told in self._taken_up:
                continue
            try:
                self._kernel.take_up(place.space, [place.mac])
            except (HoldfastError, OSError, KeyError) as err:
                problems.append(Problem("port", place.port_id, f"its connections are not taken up: {err}"))
            else:
                self._taken_up.add(told)

    def _announce(self, planned: HostPlan, space: Space, made: Made) -> None:
        fresh = [path for path in planned.floating if path.router_space == space.name and path.address in made.added]
        if fresh:
            floating.announce(space.name, fresh[0].link, fresh[0].mac, [path.address for path in fresh])

    def _remove_leftovers(self, desired: DesiredHost) -> Iterator[Problem]:
        """Remove our namespaces that nobody wants, but not one in which a guest is still plugged."""
        wanted = {self._names.of("n", network.id) for network in desired.networks}
        wanted |= {self._names.of("r", router.id) for router in desired.routers}
        for name in spaces_here(self._names):
            if name in wanted:
                continue
            try:
                if any(self._names.is_kind(link, "t") for link in links_of(name)):
                    yield Problem("network", name, "kept although nobody wants it: a guest is plugged in")
                    continue
                self._metadata.forget(name)
                self._dns.forget(name)
                self._dnsmasq.stop(name)
                self._kernel.remove_space(name)
                self._rules.pop(name, None)
            except (HoldfastError, OSError) as err:
                log.warn("network_leftover_kept", space=name, reason=str(err))
                yield Problem("network", name, str(err))

    def _probe(self, planned: HostPlan, look: bool, lost: set[str]) -> Iterator[FloatingReport]:
        """Say of each path whether it carries traffic; asked are those not known to, and all when it is time to look.

        A path whose rules had gone is down once, although they are back: nobody can say since when it was.
        """
        asked = [path for path in planned.floating if look or path not in self._up]
        silent = self._silent(planned, asked)
        up = set()
        for path in planned.floating:
            here = {path.router_space, *([path.port.space] if path.port else [])}
            translated = self._kernel.holds(path.router_space, f"{path.address} : {path.fixed}")
            reason = floating.broken_hop(path, silent, translated)
            if not reason and path in self._up and lost & here:
                reason = "the rules of its path had been taken out, and were put back"
            if not reason:
                up.add(path)
            elif path in self._up:
                log.warn("floating_path_broken", address=path.address, fixed=path.fixed, reason=reason)
                self._kernel.doubt(path.router_space)
            yield FloatingReport(path.id, path.fixed, not reason, reason)
        self._up = up

    def _silent(self, planned: HostPlan, asked: Iterable[FloatingPath]) -> set[str]:
        """The addresses that are not answered from outside, asked twice: one answer is easily late on a busy host."""
        nobody = ("0.0.0.0",)  # an address of ours where the gateway is elsewhere: ARP is answered to none too
        gateways = {
            link.name: (link.mac, (link.addresses or nobody)[0].partition("/")[0]) for link in planned.spaces[0].links
        }
        silent: set[str] = set()
        for bridge in sorted({path.external_bridge for path in asked}):
            owners = {path.address: path.mac for path in asked if path.external_bridge == bridge}
            first = floating.unanswered(bridge, *gateways[bridge], owners)
            silent |= floating.unanswered(bridge, *gateways[bridge], {address: owners[address] for address in first})
        return silent


def _guests(desired: DesiredHost, planned: HostPlan) -> Iterator[Guest]:
    """Who is told what about itself, by namespace and address."""
    machines = {machine.instance_id: machine.metadata for machine in desired.machines}
    plugged = plugged_of(desired)
    instance_of = {port.id: port.instance_id for network in desired.networks for port in network.ports}
    for space, address, port_id in planned.sources:
        if (metadata := machines.get(instance_of[port_id])) is not None:
            yield Guest(space, address, metadata, plugged[instance_of[port_id]])
