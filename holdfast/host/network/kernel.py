"""One namespace made equal to its plan: look, then touch only what differs.

`Kernel` remembers what it has seen to be in place, per layer, so that an unchanged plan costs nothing and a
new port costs one nft transaction. A new process remembers nothing and looks; what is doubted is looked at again.
The kernel numbers the transactions of a namespace's rules: where the number is not the one after our own last,
somebody else changed them, which costs no more to notice than one question.
Rules come before links: a link is brought up only when the rules that guard it are in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import NETWORK_COMMAND_S, NETWORK_LOADS, TUNNEL_PORT
from holdfast.base.run import CommandFailed, run
from holdfast.host.network import conntrack, namespace, nft
from holdfast.host.network.plan.firewall import ARRIVED
from holdfast.host.network.plan.layout import Link, PortPlace, Space
from holdfast.host.network.plan.names import Names, mac_of
from holdfast.host.network.plan.ruleset import Table, change, remove, replace


@dataclass(slots=True)
class Seen:
    """What is known to be in place in one namespace."""

    links: tuple[object, ...] | None = None
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    generation: int = 0  # of the rules, when they were as in `tables`; 0: not known
    doubted: bool = False
    has_arrived: bool = False  # connections of some MAC are taken up in their middle, perhaps


@dataclass(frozen=True, slots=True)
class Made:
    """What `make` had to do."""

    created: bool  # the namespace is new
    changed: bool  # anything was done, or had to be looked at
    known: bool = True  # what was in place before is what was made then
    ruled: bool = False  # rules were changed
    lost: bool = False  # rules that were in place had gone without our doing, and are back
    added: frozenset[str] = frozenset()  # addresses, without prefix length, that this host has from now on


class Kernel:
    """The namespaces, links and rules of one prefix."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._seen: dict[str, Seen] = {}

    def forget(self, space: str) -> None:
        """Look at this namespace anew at the next chance."""
        self._seen.pop(space, None)

    def doubt(self, space: str) -> None:
        """Look at this namespace anew at the next chance, and know what was there before."""
        if seen := self._seen.get(space):
            seen.links, seen.doubted = None, True

    def doubt_all(self) -> None:
        """Look at everything anew."""
        for space in self._seen:
            self.doubt(space)

    def doubt_changed(self) -> None:
        """Look anew at the namespaces whose rules somebody else changed, or that are gone."""
        for space, seen in self._seen.items():
            seen.doubted |= nft.generation(space) != seen.generation

    def guarded(self, space: str, link: str) -> bool:
        """Whether the rules in force in a namespace name the link: only then may it come up."""
        tables = self._seen[space].tables.values() if space in self._seen else ()
        return any(
            f'"{link}"' in item.elements for table in tables if table.family == "bridge" for item in table.collections
        )

    def holds(self, space: str, element: str) -> bool:
        """Whether the rules in force in a namespace have that element."""
        tables = self._seen[space].tables.values() if space in self._seen else ()
        return any(element in item.elements for table in tables for item in table.collections)

    def make(self, space: Space, closed: Set[str] | None = frozenset()) -> Made:
        """Make one namespace as planned; raises CommandFailed or Unavailable, and the next call goes on from there.

        `closed` are MACs (None: all) whose connections are not taken up in their middle any more, from the same
        transaction on.
        """
        created = bool(space.name) and not (namespace.RUN / space.name).exists()
        known = self._seen.get(space.name)
        looked = created or known is None or known.doubted
        seen = known if known and not looked else self._looked(space, created, known)
        lost = known is not None and not known.tables.keys() <= seen.tables.keys()
        self._seen[space.name] = seen
        links = (space.links, space.routes)
        if seen.links == links:
            ruled = self._rule(space, seen, closed)
            return Made(False, ruled or looked, known is not None, ruled, lost)
        failures: list[HoldfastError] = []
        found = self._create(space, created, failures)
        namespace.inside(space.name, lambda: _prepare(space))
        ruled = self._rule(space, seen, closed)
        added = self._configure(space, found, failures)
        if failures:
            raise failures[0]
        seen.links = links
        return Made(created, True, known is not None, ruled, lost, added)

    def rule_several(self, spaces: Sequence[tuple[Space, Set[str] | None]]) -> set[str]:
        """Load new rules where nothing else is known to differ, several namespaces at once; returns which it did.

        A rule of a group with ports in many networks is in force sooner. Whatever fails here `make` tries again.
        """

        def loaded(space: Space, closed: Set[str] | None) -> bool:
            seen = self._seen[space.name]
            try:
                return self._rule(space, seen, closed)
            except (HoldfastError, OSError):
                seen.doubted = True
                return False

        known = [(space, closed) for space, closed in spaces if self._differs_in_rules(space)]
        if len(known) < 2:
            return set()
        with ThreadPoolExecutor(NETWORK_LOADS) as pool:
            done = list(pool.map(lambda each: loaded(*each), known))
        return {space.name for (space, _), did in zip(known, done, strict=True) if did}

    def _differs_in_rules(self, space: Space) -> bool:
        seen = self._seen.get(space.name)
        if seen is None or seen.doubted or seen.links != (space.links, space.routes):
            return False
        tables = {(table.family, table.name): table.digest for table in space.tables}
        return tables != {key: table.digest for key, table in seen.tables.items()}

    def remove_space(self, name: str) -> None:
        """Remove one of our namespaces and all that is in it; not there: nothing."""
        self.forget(name)
        if (namespace.RUN / name).exists():
            run(["ip", "netns", "delete", name], timeout_s=NETWORK_COMMAND_S)

    def _create(self, space: Space, created: bool, failures: list[HoldfastError]) -> dict[str, Any]:
        """Create what is missing and delete what is no longer planned; return the links that were there."""
        found = {} if created else links_of(space.name)
        planned = {link.name for link in space.links}
        stale = [name for name in found if name not in planned and self._is_made_here(name)]
        stale += [link.name for link in space.links if link.name in found and not _leads_where_it_should(link, found)]
        delete_links(space.name, stale)
        for link in space.links:  # the far end of one that went with a namespace, which something keeps alive
            with _later(failures):
                if link.kind == "veth" and link.name not in found and _is_there(link):
                    delete_links(link.peer_space, [link.peer])
        found = {name: link for name, link in found.items() if name not in stale}
        lines = [f"netns add {space.name}"] if created else []
        lines.extend(_creation(space.name, link) for link in space.links if link.name not in found)
        with _later(failures):
            _batch("", lines)
        return found

    def _is_made_here(self, link: str) -> bool:
        """Taps end with their QEMU and the far ends of legs with the near ones; the rest is made by `make`."""
        return any(self._names.is_kind(link, kind) for kind in "bixev")

    def _configure(self, space: Space, found: dict[str, Any], failures: list[HoldfastError]) -> frozenset[str]:
        """Addresses, routes and up: after the rules. Returns the addresses that are new here."""
        before = set().union(*(_addresses(found.get(link.name, {})) for link in space.links))
        after = {address for link in space.links for address in link.addresses}
        with _later(failures):
            conntrack.delete_address(space.name, {_bare(address) for address in before - after})
        lines = ["link set dev lo up"] if space.name and "UP" not in found.get("lo", {}).get("flags", ()) else []
        for link in space.links:
            lines.extend(link_settings(link, found.get(link.name, {})))
        if space.name:
            lines.extend(_routes(space, routes_of(space.name) if found else set()))
        for link in space.links:
            with _later(failures):
                _plug(link)
        with _later(failures):
            _batch(space.name, lines)
        return frozenset(_bare(address) for address in after - before)

    def take_up(self, space: str, macs: Iterable[str]) -> None:
        """Take up connections of these MACs in their middle from now on, until ARRIVED_S are over or it is `closed`."""
        where, seen = f"inet {self._names.prefix} {ARRIVED}", self._seen[space]
        seen.has_arrived = True
        self._load(space, seen, f"add element {where} {{ {', '.join(sorted(macs))} }}\n")

    def _rule(self, space: Space, seen: Seen, closed: Set[str] | None) -> bool:
        """Load the difference in one transaction; return whether there was any."""
        wanted = {(table.family, table.name): table for table in space.tables}
        stale = [key for key in seen.tables if key not in wanted]
        script = "".join(remove(*key) for key in stale)
        script += "".join(change(seen.tables[k], t) if k in seen.tables else replace(t) for k, t in wanted.items())
        if seen.has_arrived and ("inet", self._names.prefix) in seen.tables:
            where = f"inet {self._names.prefix} {ARRIVED}"
            script = (f"flush set {where}\n" if closed is None else nft.removal(where, closed)) + script
            seen.has_arrived = closed is not None
        if not script:
            return False
        try:
            self._load(space.name, seen, script)
        except CommandFailed:
            self._load(space.name, seen, "".join(replace(table) for table in wanted.values()))
        seen.tables = wanted
        return True

    def _load(self, space: str, seen: Seen, script: str) -> None:
        """One transaction, and the number that it has if nobody else had one meanwhile."""
        before = nft.generation(space)
        nft.load(space, script)
        after = nft.generation(space)
        seen.generation = after if after == before + 1 else 0  # else: look again

    def _looked(self, space: Space, created: bool, known: Seen | None) -> Seen:
        """What is in place of what was known to be, or of what is planned; other tables of ours are removed."""
        if created:
            return Seen()
        seen = Seen(known.links if known else None, generation=nft.generation(space.name))
        held = nft.tables_of(space.name, self._names)
        wanted = known.tables if known else {(table.family, table.name): table for table in space.tables}
        seen.tables = {key: wanted[key] for key in held.keys() & wanted.keys() if nft.is_whole(held[key], wanted[key])}
        seen.has_arrived = not nft.is_empty(held.get(("inet", self._names.prefix), []), ARRIVED)
        if strange := held.keys() - wanted.keys():
            nft.load(space.name, "".join(remove(*key) for key in sorted(strange)))
            seen.generation = 0
        return seen


def links_of(space: str) -> dict[str, Any]:
    """Every link of a namespace by name, as iproute2 shows it."""
    text = namespace.inside(space, lambda: run(["ip", "-j", "-d", "addr", "show"], timeout_s=NETWORK_COMMAND_S))
    return {item["ifname"]: item for item in json.loads(text or b"[]") if "ifname" in item}


def routes_of(space: str) -> set[tuple[str, str]]:
    """(destination, next hop) of the routes that the kernel did not make itself."""
    text = namespace.inside(space, lambda: run(["ip", "-j", "route", "show"], timeout_s=NETWORK_COMMAND_S))
    found = (item for item in json.loads(text or b"[]") if item.get("protocol") != "kernel")
    return {(item["dst"], item.get("gateway", "")) for item in found}


def delete_link(space: str, name: str) -> None:
    """Delete a link of a namespace; not there: nothing."""
    if not space or (namespace.RUN / space).exists():
        delete_links(space, [name] if name in links_of(space) else [])


def delete_links(space: str, names: Sequence[str]) -> None:
    """Delete links; one that went by itself meanwhile is no failure."""
    try:
        _batch(space, [f"link del dev {name}" for name in names])
    except CommandFailed:
        if not links_of(space).keys().isdisjoint(names):
            raise


def plug_again(space: str, places: Sequence[PortPlace]) -> None:
    """Put taps that are there on their bridge again, should something have taken them off."""

    def plug() -> None:
        for place in places:
            if namespace.exists_here(place.tap):
                namespace.attach_here(place.tap, place.bridge, place.mtu)

    namespace.inside(space, plug)


def _batch(space: str, lines: list[str]) -> None:
    """Several ip commands in one process; one that fails does not stop the others, and is raised at the end."""
    if lines:
        text = "".join(f"{line}\n" for line in lines).encode()
        namespace.inside(space, lambda: run(["ip", "-force", "-batch", "-"], timeout_s=NETWORK_COMMAND_S, stdin=text))


def _prepare(space: Space) -> None:
    """What needs no process: settings, and frames that a guest's DHCP client finds whole."""
    namespace.sysctl_here(space.sysctls)
    for link in space.links:
        if link.kind == "bridge":
            namespace.whole_checksums_here(link.name)


def _creation(space: str, link: Link) -> str:
    where = f" netns {space}" if space else ""
    if link.kind == "vxlan":  # made from the host's own namespace, where its tunnel begins and stays
        head = f"link add name {link.name} mtu {link.mtu} address {link.mac}{where} type vxlan id {link.vni}"
        return f"{head} local {link.local} dstport {TUNNEL_PORT} nolearning"
    if link.kind != "veth":  # its MTU comes after: a bridge follows its ports' until it is told another than its own
        return f"link add name {link.name} address {link.mac}{where} type {link.kind}"
    head = f"link add name {link.name} mtu {link.mtu} address {link.mac}{where} type {link.kind}"
    return f"{head} peer name {link.peer} mtu {link.mtu} address {mac_of(link.peer)}" + (
        f" netns {link.peer_space}" if link.peer_space else ""
    )


def link_settings(link: Link, found: dict[str, Any]) -> list[str]:
    """What is to be set on a link to be as planned, for ip; an empty `found` is a link just created."""
    lines = []
    if found and found.get("address") != link.mac:
        lines.append(f"link set dev {link.name} address {link.mac}")
    if found.get("mtu") != link.mtu:
        lines.append(f"link set dev {link.name} mtu {link.mtu}")
    here = _addresses(found)
    lines.extend(f"addr del {address} dev {link.name}" for address in sorted(here - set(link.addresses)))
    lines.extend(f"addr add {address} dev {link.name}" for address in link.addresses if address not in here)
    if link.kind == "vxlan":
        lines.extend(_bridged(link, found))
    if "UP" not in found.get("flags", ()):
        lines.append(f"link set dev {link.name} up")
    return lines


def _bridged(link: Link, found: dict[str, Any]) -> list[str]:
    """A tunnel's place on its bridge, which learns nothing from it and asks nothing through it that it knows."""
    port = found.get("linkinfo", {}).get("info_slave_data", {})
    lines = [f"link set dev {link.name} master {link.peer_master}"] if found.get("master") != link.peer_master else []
    if lines or port.get("learning") is not False or port.get("neigh_suppress") is not True:
        lines.append(f"link set dev {link.name} type bridge_slave learning off neigh_suppress on")
    return lines


def _addresses(found: dict[str, Any]) -> set[str]:
    infos = found.get("addr_info", ())
    return {f"{item['local']}/{item['prefixlen']}" for item in infos if item.get("family") == "inet"}


def _bare(address: str) -> str:
    return address.partition("/")[0]


def _leads_where_it_should(link: Link, found: dict[str, Any]) -> bool:
    """Whether a tunnel has the right number and beginning, and a leg's other end is where it should be.

    That goes with its namespace, perhaps before its name does.
    """
    if link.kind == "vxlan":
        data = found[link.name].get("linkinfo", {}).get("info_data", {})
        return (data.get("id"), data.get("local"), data.get("port")) == (link.vni, link.local, TUNNEL_PORT)
    return link.kind != "veth" or _is_there(link)


def _is_there(link: Link) -> bool:
    """Whether a leg has its other end."""
    return namespace.inside(link.peer_space, lambda: namespace.exists_here(link.peer))


@contextmanager
def _later(failures: list[HoldfastError]) -> Iterator[None]:
    """Keep a failure and go on: one leg or address that cannot be made stops no other."""
    try:
        yield
    except HoldfastError as err:
        failures.append(err)


def _plug(link: Link) -> None:
    if link.kind == "veth":
        namespace.inside(link.peer_space, lambda: namespace.attach_here(link.peer, link.peer_master, link.mtu))


def _routes(space: Space, found: set[tuple[str, str]]) -> list[str]:
    wanted = {(to.removesuffix("/32"), hop): link for to, hop, link in space.routes}
    lines = [f"route del {to} via {hop}" if hop else f"route del {to}" for to, hop in sorted(found - wanted.keys())]
    for (to, hop), link in wanted.items():
        if (to, hop) not in found:
            lines.append(f"route replace {to}" + (f" via {hop}" if hop else "") + (f" dev {link}" if link else ""))
    return lines
